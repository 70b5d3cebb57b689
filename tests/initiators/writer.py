# SPDX-License-Identifier: Apache-2.0
"""A host that writes all the time, and holds the storage to each answer.

It does what initiators do: a connection that ends is made again, what was not answered is sent again, and
what the target asks to repeat is repeated. A command that fails otherwise is a failure.
"""

import collections
import threading
import time
from collections.abc import Callable

from tests.initiators.ledger import BLOCK, Ledger, Stamp, make_block
from tests.initiators.session import (
    ABORTED,
    BUSY,
    CHECK,
    FULL,
    GOOD,
    SECTOR,
    UNIT_ATTENTION,
    Result,
    Session,
    encode_write,
)
from tests.initiators.wire import Claim, ConnectionEnded, Login, LoginRefused
from tests.testbed.polling import wait_until

_PER_BLOCK = BLOCK // SECTOR
_BACKOFF = (0.02, 0.5)  # s, the first and the longest between two logins
_BREATH = 0.002  # s before what the target was too busy for


class WriteFailed(Exception):
    """A command ended as none may."""


class Writer:
    """Writes stamped blocks, round and round, from a thread of its own.

    :param claim: who it says it is, or its login, which may have been held half-way.
    :param first: number of the first of its blocks of 4 KiB.
    :param count: how many blocks it has.
    :param depth: how many writes are without an answer at a time.
    :param comes_back: log in again when the connection ends; else that is its end.
    :param give_up: stop when no login succeeded for so long, seconds; None for never.
    :param stamp: name in its stamps, None for that of its initiator.
    :param pause: seconds between two writes, for one that shall not take all there is.
    :param renumber: give a new number to what is sent again, so that its stamp tells when it went out.
    """

    def __init__(
        self,
        claim: Claim | Login,
        *,
        first: int = 0,
        count: int = 256,
        depth: int = 32,
        comes_back: bool = True,
        give_up: float | None = 30.0,
        stamp: str | None = None,
        pause: float = 0.0,
        renumber: bool = False,
    ) -> None:
        assert depth <= count
        self._login: Login | None = claim if isinstance(claim, Login) else None
        self.claim = claim.claim if isinstance(claim, Login) else claim
        self.ledger = Ledger(stamp or self.claim.initiator)
        self._numbers = collections.deque(range(first, first + count))
        self._again: collections.deque[tuple[int, int]] = collections.deque()
        self._depth = depth
        self._comes_back = comes_back
        self._give_up = give_up
        self._pause = pause
        self._renumber = renumber
        self._sequence = 0
        self._ends = threading.Event()
        self._session: Session | None = None
        self._thread = threading.Thread(target=self._run, name='writer', daemon=True)
        #: how often it is logged in, and how often it was refused
        self.logins = 0
        self.refusals = 0
        #: why it ended, None while all is well
        self.error: Exception | None = None

    # -- for those who watch -------------------------------------------------------------------

    def start(self) -> 'Writer':
        """Log in, here, and begin.

        :raises LoginRefused: the first login is refused.
        """
        self._session = self._enter()
        self._thread.start()
        return self

    def stop(self, timeout: float = 60.0) -> 'Writer':
        """End, once what is without an answer has one, and log out.

        :param timeout: how long that may take, seconds.
        """
        self._ends.set()
        self._thread.join(timeout)
        assert not self._thread.is_alive(), 'the writer does not end'
        return self

    def is_alive(self) -> bool:
        """Tell whether it goes on."""
        return self._thread.is_alive()

    def join(self, timeout: float | None = None) -> None:
        """Wait until it ends by itself.

        :param timeout: how long, seconds.
        """
        self._thread.join(timeout)

    def await_more(self, number: int, timeout: float = 30.0) -> None:
        """Wait until so many further writes are acknowledged.

        :param number: how many.
        :param timeout: how long, seconds.
        """
        wanted = len(self.ledger) + number

        def has_written() -> bool:
            assert self.error is None, f'the writer ended: {self.error!r}'
            return len(self.ledger) >= wanted

        wait_until(has_written, timeout, lambda: f'{len(self.ledger)} of {wanted} writes', 0.01)

    @property
    def longest_pause(self) -> float:
        """The longest time in which nothing was acknowledged, seconds."""
        return self.ledger.pause(time.monotonic() if self._thread.is_alive() else None)[0]

    def verify(self, read: Callable[[int], bytes] | None = None) -> list[str]:
        """Read every acknowledged block back, after the end.

        :param read: returns the block of a number; None to ask the target, logged in anew.
        :returns: what is wrong: blocks, and why it ended if it should not have.
        """
        assert not self._thread.is_alive()
        wrong = [f'{self.ledger.writer} ended: {self.error!r}'] if self.error else []
        if read is not None:
            return wrong + self.ledger.verify(read)
        with Session(self.claim) as session:
            return wrong + self.ledger.verify(lambda number: session.read(number * _PER_BLOCK, _PER_BLOCK))

    # -- its thread ----------------------------------------------------------------------------

    def _enter(self) -> Session:
        login, self._login = self._login, None
        session = Session(login or Login(self.claim))
        self.logins += 1
        return session

    def _run(self) -> None:
        flying: dict[int, tuple[int, int]] = {}
        try:
            while not self._ends.is_set() or flying or self._again:
                try:
                    self._step(flying)
                except (ConnectionEnded, TimeoutError):
                    if not self._comes_back:
                        raise
                    # In the order in which they went out: none is lost, and none is done twice at a time.
                    self._again.extendleft(reversed(flying.values()))
                    flying.clear()
                    self._return()
                    if self._session is None:
                        return
        except Exception as exc:
            self.error = exc
        finally:
            if self._session is not None:
                if self.error is None:
                    self._session.close()
                self._session.hang_up()

    def _step(self, flying: dict[int, tuple[int, int]]) -> None:
        assert self._session is not None
        while len(flying) < self._depth and (write := self._choose()):
            number, sequence = write
            self.ledger.send(number, sequence)
            data = make_block(Stamp(self.ledger.writer, sequence, number))
            try:
                flying[self._session.submit(encode_write(number * _PER_BLOCK, _PER_BLOCK), data)] = write
            except (ConnectionEnded, TimeoutError):
                self._again.appendleft(write)
                raise
        if flying:
            self._take(flying, self._session.wait())
        if self._pause:
            self._ends.wait(self._pause)

    def _choose(self) -> tuple[int, int] | None:
        if self._again and not self._renumber:
            return self._again.popleft()
        if self._again:
            self._sequence += 1
            return self._again.popleft()[0], self._sequence
        if self._ends.is_set():
            return None
        self._sequence += 1
        return self._numbers.popleft(), self._sequence

    def _take(self, flying: dict[int, tuple[int, int]], result: Result) -> None:
        write = flying.pop(result.tag)
        if result.status == GOOD:
            self.ledger.acknowledge(*write)
            self._numbers.append(write[0])
        elif result.status in (BUSY, FULL, ABORTED):
            time.sleep(_BREATH)
            self._again.append(write)
        elif result.status == CHECK and result.key == UNIT_ATTENTION:
            self._again.append(write)
        else:
            raise WriteFailed(f'write {write[1]} of block {write[0]}: {result.describe()}')

    def _return(self) -> None:
        assert self._session is not None
        self._session.hang_up()
        self._session = None
        wait, longest = _BACKOFF
        began = time.monotonic()
        while True:
            try:
                self._session = self._enter()
                return
            except (LoginRefused, OSError) as exc:
                self.refusals += isinstance(exc, LoginRefused)
                if self._give_up is not None and time.monotonic() - began > self._give_up:
                    raise
            # Who is told to end while it is shut out has nothing to come back for.
            if self._ends.wait(wait):
                return
            wait = min(wait * 2, longest)
