# SPDX-License-Identifier: Apache-2.0
"""What this process knows of the targets of one tgtd, so that a step need not ask for the list of all of them.

tgtd has no list of one target, and that of all takes longer with each. So what a step leaves a target as is kept, and
the next step begins there, if nothing says that somebody else was at it:

- the same tgtd process answers, and has a target of that number,
- no other process of ours has held the target since: each leaves a mark of its own under the lock
  (:mod:`multiattach.drivers.targets.exclusion`) before it changes anything, so one that is killed on the way does, too,
- before accounts come off: tgtd has no account whose name is not known here, and the target's own came in the order of
  its slots. (An account that is made again is the newest in tgtd's list, and was bound last.) With a wrong idea of the
  slots a hole would be left: :mod:`multiattach.drivers.targets.tgt.accounts`.

Each list that is read for whatever reason is compared with what is kept; what differs is forgotten. That is how changes
by hand come out that leave no trace in the answers to a step.
"""

import dataclasses
import re
import secrets
import threading
from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol

from multiattach.drivers.errors import TargetError
from multiattach.drivers.targets.base import ACCOUNT_LENGTH
from multiattach.drivers.targets.exclusion import Mark
from multiattach.drivers.targets.tgt.parse import Listing, ShownTarget, parse_body

# As account_name derives them: nobody else gives such names, nor one of them to several targets.
_OURS = re.compile(f'[a-z2-7]{{{ACCOUNT_LENGTH}}}')


@dataclasses.dataclass(eq=False)
class Entry:
    """A target as a step left it.

    :param mark: what that step wrote under the lock.
    :param text: what the last list said of it, if that was the same.
    :param seen: number of that list, 0 for none.
    """

    target: ShownTarget
    generation: int
    mark: bytes
    text: str = ''
    seen: int = 0


@dataclasses.dataclass
class Turn:
    """One stretch in which a thread alone changes a target.

    :param entry: what was known at its beginning.
    :param mark: what it wrote under the lock; empty if it could not.
    :param foreign: how often foreign accounts had been taken note of when it began.
    """

    iqn: str
    entry: Entry | None
    mark: bytes
    foreign: int
    view: 'View | None' = None


class Ledger:
    """Safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._generation = 0
        self._entries: dict[str, Entry] = {}
        self._accounts: set[str] = set()
        self._foreign = 0
        self._lists = 0

    def begin(self, iqn: str, mark: Mark | None) -> Turn:
        """Begin a turn; what was known is in it, and nowhere else until it ends well."""
        before = mark.read() if mark is not None else b''
        with self._lock:
            entry = self._entries.pop(iqn, None)
            foreign = self._foreign
        if entry is not None and entry.mark != before:
            entry = None
        own = secrets.token_bytes(Mark.SIZE)
        if mark is None or not mark.write(own):
            own = b''
        return Turn(iqn, entry, own, foreign)

    def end(self, turn: Turn, generation: int) -> None:
        """End a turn that came to its end; of another nothing is known."""
        if turn.view is None:
            entry = turn.entry
            if entry is not None:  # it has changed nothing
                entry = dataclasses.replace(entry, mark=turn.mark)
        else:
            target = turn.view.left
            entry = Entry(target, generation, turn.mark) if target is not None else None
        if entry is None or not turn.mark:
            return
        with self._lock:
            self._turn_to(entry.generation)
            if turn.foreign == self._foreign:
                self._entries[turn.iqn] = entry

    def _turn_to(self, generation: int) -> None:
        if generation != self._generation:
            self._generation = generation
            self._entries.clear()
            self._accounts.clear()

    # Accounts ---------------------------------------------------------------------------

    def expect(self, user: str, generation: int) -> None:
        """Know of an account that is about to be made."""
        with self._lock:
            self._turn_to(generation)
            self._accounts.add(user)

    def forget(self, user: str) -> None:
        """Know of an account no more: it is deleted."""
        with self._lock:
            self._accounts.discard(user)

    def has_all(self, users: Collection[str], turn: Turn, generation: int) -> bool:
        """Tell whether there is no account that came from elsewhere, as far as a turn has to know."""
        with self._lock:
            self._turn_to(generation)
            return turn.foreign == self._foreign and self._accounts.issuperset(users)

    def learn(self, users: Collection[str], turn: Turn, generation: int, read: Callable[[], Listing]) -> Listing:
        """Take note of accounts that are there, and read all targets, of which one may have got them.

        What was not compared with that list is forgotten.
        """
        with self._lock:
            lists, foreign = self._lists, self._foreign
        listing = read()
        with self._lock:
            self._turn_to(generation)
            turn.foreign = foreign
            if not self._accounts.issuperset(users):
                self._accounts = {*users}  # not those that others have deleted since; one that is just made is unknown
                self._entries = {iqn: entry for iqn, entry in self._entries.items() if entry.seen > lists}
                self._foreign += 1
                if self._foreign == foreign + 1:  # else others came since, that this list may not have
                    turn.foreign += 1
        return listing

    # Lists ------------------------------------------------------------------------------

    def begin_list(self) -> tuple[int, Mapping[str, Entry]]:
        """Number a list that is about to be asked for, and tell what is known before."""
        with self._lock:
            self._lists += 1
            return self._lists, dict(self._entries)

    def compare(self, listing: Listing, generation: int, number: int, known: Mapping[str, Entry]) -> None:
        """Forget what a list contradicts, unless it has been changed since the list was asked for."""
        if not known:
            return
        texts, wrong = listing.texts(), []
        for iqn, entry in known.items():
            text = texts.get(iqn, '')
            if text and entry.generation == generation and (text == entry.text or _is_same(entry.target, text)):
                entry.text, entry.seen = text, number
            else:
                wrong.append(iqn)
        with self._lock:
            for iqn in wrong:
                if self._entries.get(iqn) is known[iqn]:
                    del self._entries[iqn]


class Asked(Protocol):
    """Whoever answers the questions of a step."""

    @property
    def pinned_generation(self) -> int: ...

    def show_targets(self) -> Listing: ...

    def show_accounts(self) -> list[str]: ...


class View:
    """What a step begins from: its own target, and all others only if it has to know of them.

    :param target: what is known of it; None to read it.
    """

    def __init__(self, asked: Asked, ledger: Ledger, turn: Turn, target: ShownTarget | None = None) -> None:
        self._asked = asked
        self._ledger = ledger
        self._turn = turn
        self._target = target
        self._listing: Listing | None = None
        self._is_remembered = target is not None
        self._is_made = False
        self._is_gone = False
        # Accounts that are no other target's, and all that tgtd has.
        self._own = set(target.accounts) if target is not None else set()
        self._accounts: Collection[str] | None = None

    @property
    def iqn(self) -> str:
        return self._turn.iqn

    @property
    def is_remembered(self) -> bool:
        """Whether nobody has looked at the target in this step."""
        return self._is_remembered

    @property
    def target(self) -> ShownTarget | None:
        """The target, brought up to date by whoever changes it; None when there is none."""
        if self._target is None and not self._is_gone and self._listing is None:
            self.read()
        return self._target

    @property
    def listing(self) -> Listing:
        if self._listing is None:
            self.read()
        assert self._listing is not None
        return self._listing

    def read(self) -> None:
        """Read all targets; the target is what they say from now on.

        :raises TargetError: it was known, and is gone.
        """
        self._note(self._asked.show_targets())

    def _note(self, listing: Listing) -> None:
        self._listing, self._is_remembered = listing, False
        if self._is_gone:
            return
        found = listing.find(self._turn.iqn)
        if self._target is None:
            self._target = found
        elif found is None or found.tid != self._target.tid:
            raise TargetError(f'somebody removed target {self._turn.iqn} just now')
        else:  # in place: the step has it in its hands
            vars(self._target).update(vars(found))

    def note_account(self, user: str) -> None:
        """Know of an account that this step made: nobody else has bound it."""
        self._own.add(user)

    def note_made(self, target: ShownTarget) -> None:
        """Know of a target that this step made: nobody else has put anything in it."""
        self._target, self._is_made, self._is_gone = target, True, False

    def note_removed(self) -> None:
        """Know that there is no such target any more."""
        self._target, self._is_made, self._is_gone = None, False, True

    def confirm_accounts(self) -> None:
        """See that accounts may come off the target; read all targets if what is remembered does not tell."""
        if not self._is_remembered or self._accounts is not None:
            return
        assert self._target is not None
        found = self._asked.show_accounts()
        generation = self._asked.pinned_generation
        if not self._ledger.has_all(found, self._turn, generation):
            self._note(self._ledger.learn(found, self._turn, generation, self._asked.show_targets))
        elif [user for user in reversed(found) if user in self._target.accounts] != self._target.accounts:
            self.read()
        self._accounts = frozenset(found)

    def bound_elsewhere(self, user: str) -> bool:
        """Return whether an account belongs to another target too."""
        if self._listing is None and (self._is_remembered or self._is_made or self._is_gone):
            if user in self._own:
                return False
            if self._accounts is None:
                self._accounts = frozenset(self._asked.show_accounts())
            if user not in self._accounts:
                return False
        return self.listing.bound_elsewhere(user, self._turn.iqn)

    @property
    def left(self) -> ShownTarget | None:
        """The target as this step leaves it; None if that must not be remembered.

        An account that others give, as Cinder does, may be bound to another target at any time. Taking it off here
        would leave a hole there.
        """
        target = self._target
        if target is None or self._is_gone or target.strangers:
            return None
        if not all(map(_OURS.fullmatch, target.accounts)):
            return None
        if self._listing is not None and any(self.bound_elsewhere(user) for user in target.accounts):
            return None
        return target


def _is_same(target: ShownTarget, text: str) -> bool:
    number, line_end, body = text.partition('\n')
    try:
        found = parse_body(int(number), target.iqn, line_end + body)
    except (TargetError, ValueError):
        return False
    return _essence(found) == _essence(target)


def _essence(target: ShownTarget) -> tuple[Any, ...]:
    luns = {one.number: (one.path, one.online, one.scsi_id) for one in target.luns.values() if one.number}
    return target.tid, luns, target.accounts, set(target.initiators), set(target.addresses), target.is_open
