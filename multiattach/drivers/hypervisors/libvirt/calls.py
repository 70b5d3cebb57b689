# SPDX-License-Identifier: Apache-2.0
"""Calls into libvirt: each in a thread of its own, and waited for no longer than it may take.

libvirt waits for QEMU without a limit, and a call cannot be taken back. One that is overdue goes on
unattended; until it has come back nothing more is asked of its server, and everything of the others.
"""

import dataclasses
import time
from collections.abc import Callable
from typing import Any, TypeVar

from multiattach import concurrency
from multiattach.drivers.errors import HypervisorUnavailable

threading: Any = concurrency.native('threading')  # whoever hangs in libvirt holds a real thread
R = TypeVar('R')

# libvirtd serves 20 calls at a time (max_workers); those that hang must leave some to everybody else.
MOST_OVERDUE = 16
MOST_OVERDUE_QUESTIONS = 4


class Overdue(HypervisorUnavailable):
    """A call has not come back in time; it goes on, and what comes of it is unknown."""


@dataclasses.dataclass(eq=False)
class _Call:
    what: str
    server_id: str | None
    began: float
    end: float
    wake: Any = dataclasses.field(default_factory=lambda: threading.Event())
    done: bool = False
    result: Any = None
    error: Exception | None = None


class Calls:
    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self._lock = threading.Lock()
        self._calls: set[_Call] = set()  # in work, those among them that nobody waits for any more
        self._busy: dict[str, _Call] = {}  # by server
        self._interrupted = False

    def ask(self, what: str, call: Callable[[], R]) -> R:
        """Run a call that asks something, or that is about no server.

        :raises Overdue: it has not come back in time.
        :raises HypervisorUnavailable: earlier ones have not, or the program stops.
        """
        return self._run(_Call(what, None, time.monotonic(), time.monotonic() + self.timeout), call)

    def change(self, what: str, server_id: str, call: Callable[[], R]) -> R:
        """Run a call that changes a server: one at a time, as libvirt does itself.

        :raises Overdue: it has not come back in time.
        :raises HypervisorUnavailable: an earlier one has not, or the program stops.
        """
        end = time.monotonic() + self.timeout
        while True:
            with self._lock:
                holder = self._busy.get(server_id)
                if holder is None:
                    mine = _Call(what, server_id, time.monotonic(), time.monotonic() + self.timeout)
                    self._busy[server_id] = mine
                    break
            self._await_turn(holder, end)
        try:
            return self._run(mine, call)
        except HypervisorUnavailable:
            with self._lock:
                if mine not in self._calls and self._busy.get(server_id) is mine:  # it never began
                    del self._busy[server_id]
                    mine.done = True
            mine.wake.set()
            raise

    def interrupt(self) -> None:
        """Wait for nothing any more: the program stops. What is in work goes on unattended."""
        with self._lock:
            self._interrupted = True
            for call in self._calls:
                call.wake.set()

    def list_overdue(self) -> list[str]:
        with self._lock:
            return [_describe(call) for call in self._find_overdue()]

    # -- waiting -------------------------------------------------------------------------------

    def _await_turn(self, holder: _Call, end: float) -> None:
        while not holder.done:
            left = min(end, holder.end) - time.monotonic()
            if left <= 0 or self._interrupted:
                raise HypervisorUnavailable(
                    f'The server {holder.server_id} is left alone: libvirt was to {_describe(holder)}.'
                )
            concurrency.wait(holder.wake, left)

    def _run(self, mine: _Call, call: Callable[[], R]) -> R:
        with self._lock:
            self._check_room(mine)
            self._calls.add(mine)
        # A daemon: a call that hangs must not keep the program from ending.
        threading.Thread(target=self._work, args=(mine, call), name=mine.what, daemon=True).start()
        while not mine.done and not self._interrupted and (left := mine.end - time.monotonic()) > 0:
            concurrency.wait(mine.wake, left)
        if not mine.done:
            reason = 'the program stops' if self._interrupted else f'it took longer than {self.timeout:g} s'
            raise Overdue(f'libvirt did not {mine.what}: {reason}. It goes on, and is tried again.')
        if mine.error is not None:
            raise mine.error
        return mine.result  # type: ignore[no-any-return]

    def _work(self, mine: _Call, call: Callable[[], Any]) -> None:
        try:
            mine.result = call()
        except Exception as exc:
            mine.error = exc
        finally:
            with self._lock:
                self._calls.discard(mine)
                if mine.server_id is not None and self._busy.get(mine.server_id) is mine:
                    del self._busy[mine.server_id]
                mine.done = True
            mine.wake.set()

    def _check_room(self, mine: _Call) -> None:
        if self._interrupted:
            raise HypervisorUnavailable('libvirt is not asked any more: the program stops.')
        overdue = self._find_overdue()
        if mine.server_id is None:
            overdue = [call for call in overdue if call.server_id is None]
        if len(overdue) >= (MOST_OVERDUE_QUESTIONS if mine.server_id is None else MOST_OVERDUE):
            raise HypervisorUnavailable(
                f'libvirt is not asked to {mine.what}: {len(overdue)} earlier calls have not come back; it '
                f'was to {_describe(overdue[0])}.'
            )

    def _find_overdue(self) -> list[_Call]:
        now = time.monotonic()
        return sorted((call for call in self._calls if call.end <= now), key=lambda call: call.began)


def _describe(call: _Call) -> str:
    return f'{call.what} {time.monotonic() - call.began:.0f} s ago and has not come back'
