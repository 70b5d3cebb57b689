# SPDX-License-Identifier: Apache-2.0
"""Who else does the same work: a group of processes, and what of the work is one's own."""

import contextlib
import threading
from collections.abc import Callable
from typing import Any

import tooz
from oslo_log import log
from tooz import coordination, hashring

LOG = log.getLogger(__name__)
_PATIENCE = 5.0  # s


def connect(url: str, name: str) -> coordination.CoordinationDriver:
    """Connect to a coordination backend.

    :raises ToozError: the backend does not answer.
    """
    # Each call is waited for: a thread of tooz's for them would only look once a second whether the program ends.
    coordinator = coordination.get_coordinator(url, name.encode(), executor='synchronous')
    coordinator.start(start_heart=True)
    client: Any = getattr(coordinator, '_client', None)
    if hasattr(client, 'set_retry'):
        # Redis' client would try for minutes (tooz calls it 15 times), and whoever wants a lock with it.
        from redis import backoff, retry  # only there if Redis is in use

        client.set_retry(retry.Retry(backoff.ConstantBackoff(0.2), 1))
    return coordinator


def disconnect(coordinator: coordination.CoordinationDriver) -> None:
    """Disconnect from a coordination backend; one that does not answer is not waited for."""

    def stop() -> None:
        try:
            coordinator.stop()
        except tooz.ToozError as exc:
            LOG.warning('The coordination backend was not told of the end: %s', exc)

    # tooz waits for a heartbeat that is repeated until the backend answers.
    _wait(stop, 'The coordination backend was not told of the end')


def _wait(call: Callable[[], None], failure: str) -> None:
    """Make a call to a backend that may hang; the end of a program waits for it only so long."""
    calling = threading.Thread(target=call, name='coordination-end', daemon=True)
    calling.start()
    calling.join(_PATIENCE)
    if calling.is_alive():
        LOG.warning('%s: the backend gives no answer within %g s', failure, _PATIENCE)


class Crew:
    """The processes that share one work, as the coordination backend knows them.

    Consistent hashing gives each thing to one of them, and hands on what a dead one had. That two
    of them take the same thing while the crew changes does no harm: steps hold the volume's lock and
    may be repeated.
    """

    def __init__(self, coordinator: coordination.CoordinationDriver, group: str) -> None:
        self._coordinator = coordinator
        self._group = f'multiattach.{group}'.encode()
        self._me: bytes = coordinator._member_id
        self._lock = threading.Lock()
        self._ring = hashring.HashRing([self._me])
        self._members = frozenset({self._me})
        self._missing: frozenset[bytes] = frozenset()
        self._gone: set[bytes] = set()

    def join(self) -> None:
        with self._lock:
            self._join()
        self.refresh()

    def _join(self) -> None:
        with contextlib.suppress(coordination.GroupAlreadyExist):
            self._coordinator.create_group(self._group).get()
        try:
            self._coordinator.join_group(self._group).get()
        except coordination.MemberAlreadyExist:  # a process of this name that was killed
            self._coordinator.leave_group(self._group).get()
            self._coordinator.join_group(self._group).get()

    def leave(self) -> None:
        """Take part no longer; the others notice with their next look."""

        def leave() -> None:
            try:
                self._coordinator.leave_group(self._group).get()
            except tooz.ToozError as exc:
                LOG.warning('Group %s was not left: %s', self._group.decode(), exc)

        _wait(leave, f'Group {self._group.decode()} was not left')

    def refresh(self) -> bool:
        """Look who is there.

        :returns: whether somebody is gone since the last look but one: one look may come just when the
            backend has lost its memory, and all of them join again.
        :raises ToozError: the coordination backend does not answer.
        """
        with self._lock:
            known = self._members
            self._refresh()
            lost = self._missing - self._members
            self._missing = known - self._members
            self._gone = (self._gone | lost) - self._members
            return bool(lost)

    def _refresh(self) -> None:
        try:
            found = frozenset(self._coordinator.get_members(self._group).get())
        except coordination.GroupNotCreated:
            found = frozenset()
        if self._me not in found:  # this process was paused, or the backend lost its memory
            self._join()
        members = found | {self._me}
        if members == self._members:
            return
        LOG.info('Group %s: %s', self._group.decode(), ', '.join(sorted(name.decode() for name in members)))
        self._ring = hashring.HashRing(sorted(members))
        self._members = members

    def owns(self, ident: str) -> bool:
        """Tell whether a thing is this process's to look after."""
        return self._me in self._ring.get_nodes(ident.encode())

    @property
    def me(self) -> str:
        return self._me.decode()

    def is_gone(self, name: str) -> bool:
        """Return whether two looks in a row did not see a process that was seen before."""
        return name.encode() in self._gone

    @property
    def members(self) -> list[str]:
        """Names of those who take part, as of the last look."""
        return sorted(name.decode() for name in self._members)
