# SPDX-License-Identifier: Apache-2.0
"""Which targets tgtd has, whatever initiators say in its list.

Every target is in the list under a heading, and between the headings initiators may have written
more of them (:mod:`multiattach.drivers.targets.tgt.parse`). What tells them apart:

- a number that tgtd does not know, and did not know before it was asked for the list, is nobody's heading. (One that
  it does not know any more may be of a target that another worker has removed since: the list is read again, or what it
  says of that one would pass for what it says of the one before it.)
- a number that stands in the list once is that target's: the real heading is always there,
- of several with one number it is the one whose name was known before.

What is left, a copy of a heading down to its name, or a number claimed twice before any was known,
cannot be told apart. The sessions that may have written it are named, to be ended.
"""

import threading
from collections.abc import Callable, Sequence

from oslo_log import log

from multiattach.drivers.targets.tgt.parse import Head, find_heads

LOG = log.getLogger(__name__)


class Roster:
    """The targets that are known of one tgtd process. Safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pid = 0
        self._names: dict[int, str] = {}
        self._told: set[tuple[int, str]] = set()
        self._absent: frozenset[tuple[int, str]] = frozenset()

    def put(self, pid: int, tid: int, iqn: str | None) -> None:
        """Remember that a target was made, or (*iqn* is None) deleted."""
        with self._lock:
            self._turn_to(pid)
            if iqn is None:
                self._names.pop(tid, None)
            else:
                self._names[tid] = iqn

    def find(self, pid: int, iqn: str) -> int | None:
        """Return the number that a target has, or had until somebody else deleted it; none is used twice."""
        with self._lock:
            found = [tid for tid, name in self._names.items() if name == iqn] if pid == self._pid else []
        return found[0] if len(found) == 1 else None

    def has_name(self, iqn: str) -> bool:
        with self._lock:
            return iqn in self._names.values()

    def list_absent(self) -> frozenset[tuple[int, str]]:
        """List the headings, as number and name, of the last list for which tgtd has no target."""
        with self._lock:
            return self._absent

    def resolve(
        self, text: str, pid: int, exists: Callable[[int], bool], absent: frozenset[tuple[int, str]]
    ) -> tuple[list[Head], set[int], set[int]]:
        """Tell which headings of a list are tgtd's own.

        :param exists: asks tgtd whether it has a target of a number.
        :param absent: what :meth:`list_absent` told before the list was asked for.
        :returns: the headings; numbers of targets with sessions that have to be ended before it can be told, empty if
            it can; and such numbers for the case that a list that is read again does not help, empty if it need not be.
        """
        heads = find_heads(text)
        with self._lock:
            if pid != self._pid:
                absent = frozenset()  # of another tgtd
            self._turn_to(pid)
            names = dict(self._names)
        claims: dict[int, list[Head]] = {}
        for head in heads:
            claims.setdefault(head.tid, []).append(head)
        real, doubted, gone = set(), set(), set()
        for tid, its in claims.items():
            # Something else under a number that was known before: whether it is still there is asked.
            named = [head for head in its if head.iqn == names.get(tid)]
            if not named and not exists(tid):
                gone |= {(tid, head.iqn) for head in its}
                continue
            choice = named or its
            if len(choice) == 1:
                real.add(choice[0])
            else:
                doubted.add(tid)
        with self._lock:
            self._turn_to(pid)
            self._absent = frozenset(gone)
        if unheard := {tid for tid, _ in gone - absent}:
            return [], set(), _find_writers(heads, real, doubted | unheard)
        self._tell(heads, real, doubted)
        if doubted:
            return [], _find_writers(heads, real, doubted), set()
        found = [head for head in heads if head in real]
        with self._lock:
            self._turn_to(pid)
            # A number that was not in this list may have been taken after it was read.
            self._names |= {head.tid: head.iqn for head in found}
        return found, set(), set()

    def _turn_to(self, pid: int) -> None:
        if pid != self._pid:
            self._pid = pid
            self._names.clear()
            self._told.clear()
            self._absent = frozenset()

    def _tell(self, heads: Sequence[Head], real: set[Head], doubted: set[int]) -> None:
        """Warn once of each heading that an initiator wrote."""
        before: Head | None = None
        for head in heads:
            if head in real:
                before = head
            elif head.tid not in doubted and (head.tid, head.iqn) not in self._told:
                if len(self._told) < 1000:
                    self._told.add((head.tid, head.iqn))
                LOG.warning(
                    'An initiator that is logged in at target %s has an alias that imitates a target of '
                    'number %s: look who it is (tgtadm --op show --mode conn), and fence it',
                    before.iqn if before else '?',
                    head.tid,
                )


def _find_writers(heads: Sequence[Head], real: set[Head], doubted: set[int]) -> set[int]:
    """Find the targets whose sessions can have written headings of these numbers."""
    found = set(doubted)
    before: int | None = None  # the last one that surely is a target's own
    for head in heads:
        if head in real:
            before = head.tid
        elif head.tid in doubted and before is not None:
            found.add(before)
    return found
