# SPDX-License-Identifier: Apache-2.0
"""Calls into librados and librbd: each in a real thread of its own, and waited for no longer than it may take.

They block in C, which would stop every green thread, and some wait for others without a limit of their own.
"""

import dataclasses
import errno
import time
from collections.abc import Callable
from typing import Any, TypeVar

from multiattach import concurrency, signals
from multiattach.drivers.errors import DriverError, StorageUnavailable

threading: Any = concurrency.native('threading')
R = TypeVar('R')

MOST_OVERDUE = 16  # threads that hang; a Ceph that answers again lets them go
_LOOK = 0.5  # s between two questions whether to go on


class Cancelled(Exception):
    """Whoever asked for a call does not want it any more."""


_OUTCOMES = ((StorageUnavailable, 'unknown'), (Cancelled, 'stopped'), (DriverError, 'refused'))


@dataclasses.dataclass(eq=False)
class Progress:
    """What a long call tells of itself; librbd calls it from a thread of its own, where nothing else may be asked."""

    moved: float = dataclasses.field(default_factory=time.monotonic)
    is_cancelled: bool = False

    def __call__(self, _done: int, _total: int) -> int:
        """Note that it goes on.

        :returns: what makes librbd end it, or 0.
        """
        self.moved = time.monotonic()
        return -errno.ECANCELED if self.is_cancelled else 0


@dataclasses.dataclass(eq=False)
class _Call:
    what: str
    progress: Progress
    began: float = dataclasses.field(default_factory=time.monotonic)
    ended: Any = dataclasses.field(default_factory=lambda: threading.Event())
    result: Any = None
    error: BaseException | None = None


class Calls:
    """The calls of one backend.

    :param timeout: seconds for a call, or without news of a long one.
    """

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self._lock = threading.Lock()
        self._overdue: set[_Call] = set()

    def run(
        self,
        what: str,
        call: Callable[[Progress], R],
        *,
        timeout: float | None = None,
        proceed: Callable[[], bool] | None = None,
    ) -> R:
        """Run a call and wait for it.

        :param what: what it does, for the message.
        :param timeout: seconds without news from it, if others than usual.
        :param proceed: whether to go on; it is asked in the caller's own thread.
        :raises Cancelled: it said no, and the call has ended, or was not begun.
        :raises StorageUnavailable: it has not ended in time, and may go on; or too many have not.
        """
        outcome, began = 'failed', time.monotonic()
        try:
            result = self._run(what, call, self.timeout if timeout is None else timeout, proceed)
            outcome = 'ok'
            return result
        except Exception as exc:
            outcome = next((name for kind, name in _OUTCOMES if isinstance(exc, kind)), outcome)
            raise
        finally:
            # Its verb: the rest may name an image.
            signals.sink.ceph(what.split()[0], outcome, time.monotonic() - began)

    def _run(self, what: str, call: Callable[[Progress], R], limit: float, proceed: Callable[[], bool] | None) -> R:
        self._check_room(what)
        if proceed is not None and not proceed():
            raise Cancelled
        mine = _Call(what, Progress())
        # A daemon: a call that hangs must not keep the program from ending.
        threading.Thread(target=self._work, args=(mine, call), name=f'rbd: {what}', daemon=True).start()
        while not concurrency.wait(mine.ended, min(limit, _LOOK)):
            if time.monotonic() - mine.progress.moved > limit:
                self._abandon(mine, limit)
            if proceed is not None and not mine.progress.is_cancelled:
                mine.progress.is_cancelled = not proceed()
        if mine.error is not None:
            if mine.progress.is_cancelled:
                raise Cancelled from mine.error
            raise mine.error
        return mine.result  # type: ignore[no-any-return]

    def _work(self, mine: _Call, call: Callable[[Progress], Any]) -> None:
        try:
            mine.result = call(mine.progress)
        except BaseException as exc:  # it is the caller's
            mine.error = exc
        finally:
            with self._lock:
                self._overdue.discard(mine)
                mine.ended.set()

    def _abandon(self, mine: _Call, limit: float) -> None:
        with self._lock:
            if mine.ended.is_set():
                return
            mine.progress.is_cancelled = True
            self._overdue.add(mine)
        raise StorageUnavailable(f'Ceph did not {mine.what} within {limit:g} s; it may go on, and is tried again.')

    def _check_room(self, what: str) -> None:
        with self._lock:
            overdue = sorted(self._overdue, key=lambda call: call.began)
        if len(overdue) >= MOST_OVERDUE:
            raise StorageUnavailable(
                f'Ceph is not asked to {what}: {len(overdue)} earlier calls have not come back; it was to '
                f'{overdue[0].what} {time.monotonic() - overdue[0].began:.0f} s ago.'
            )
