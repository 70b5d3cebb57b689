# SPDX-License-Identifier: Apache-2.0
"""This member's own gateway: what its target does for steps of any member.

Whoever takes a step holds the volume's lock, and writes the rows before he asks. An order may come late: after he
gave up waiting, or after the step that followed. So it counts what the rows say when it is carried out, and that this
gateway is to serve after it has opened an image: what it had open when it was lost is shut out of Ceph already.
"""

import contextlib
import dataclasses
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import oslo_messaging as messaging
from oslo_log import log

from multiattach.domain import errors, sharing
from multiattach.drivers.backends.base import Backend
from multiattach.drivers.errors import TargetUnavailable
from multiattach.drivers.targets.base import Access, Cut, Export, SessionState
from multiattach.rpc import clients
from multiattach.steps.gateways import GatewayRows
from multiattach.volume import answers
from multiattach.volume.gateway_losses import GatewayDaemon

LOG = log.getLogger(__name__)
R = TypeVar('R')

_LOCKS = 64
_SESSIONS = ('sessions', 'others', 'left_sessions')


class OwnGateway:
    """One target, changed by one order a volume at a time.

    :param timeout: seconds for the target to answer; whoever asks from elsewhere waits a little longer.
    """

    def __init__(self, target: GatewayDaemon, backend: Backend, rows: GatewayRows, timeout: float) -> None:
        self.target = target
        target.confirm = self._confirm
        #: generation of the target daemon whose forerunner is known to reach nothing any more
        self.ready: int | None = None
        self._backend = backend
        self._rows = rows
        self._timeout = timeout
        self._locks = [threading.Lock() for _ in range(_LOCKS)]

    @contextlib.contextmanager
    def _turn(self, volume_id: str) -> Iterator[None]:
        lock = self._locks[zlib.crc32(volume_id.encode()) % _LOCKS]
        if not lock.acquire(timeout=self._timeout):
            raise errors.OutcomeUnknown('An earlier order for the volume has not ended at this gateway.')
        try:
            with self.target.within(self._timeout):
                yield
        finally:
            lock.release()

    def admit(self, volume_id: str, initiator: str) -> None:
        """Admit an initiator that the rows want.

        :raises Conflict: they do not, or this gateway is not to serve.
        :raises TargetUnavailable: its target daemon has just been started.
        """
        with self._turn(volume_id):
            known = self._rows.list_wanted(volume_id).get(initiator)
            if known is None:
                raise errors.Conflict(f'{initiator} is not to be admitted to volume {volume_id} any more.')
            self._confirm()
            grant = self.target.make_grant(volume_id, initiator, sharing.READ_WRITE, known)
            self.target.grant(volume_id, self._backend.path(volume_id), grant)

    def _confirm(self) -> None:
        if self.target.generation() != self.ready:
            raise TargetUnavailable(
                f'The target daemon of gateway {self._rows.name} was started anew: what is left of the one before it '
                'is shut out of Ceph first.',
                delivered=False,
            )
        if not self._rows.is_serving:
            raise errors.Conflict(f'Gateway {self._rows.name} is lost: it is to begin anew before it exports anything.')

    def revoke(self, volume_id: str, initiator: str, alone: bool) -> None:
        """Turn an initiator away, unless the rows want it."""
        with self._turn(volume_id):
            wanted = self._rows.list_wanted(volume_id)
            if initiator not in wanted:
                account = self.target.name_account(volume_id, initiator)
                self.target.revoke(volume_id, initiator, account, alone=alone and not wanted)

    def fence(self, volume_id: str, initiator: str, alone: bool, again: bool) -> Cut:
        """Cut an initiator off.

        :raises Conflict: the rows want it.
        """
        with self._turn(volume_id):
            wanted = self._rows.list_wanted(volume_id)
            if initiator in wanted:
                raise errors.Conflict(f'{initiator} is to be admitted to volume {volume_id}.')
            account = self.target.name_account(volume_id, initiator)
            return self.target.fence(volume_id, initiator, account, alone=alone and not wanted, again=again)

    def extend(self, volume_id: str) -> None:
        with self._turn(volume_id):
            if volume_id in self.target.list_exports():
                self.target.extend(volume_id, self._backend.path(volume_id))

    def remove(self, volume_id: str) -> None:
        """Remove a volume's target, unless the rows want somebody there."""
        with self._turn(volume_id):
            if not self._rows.list_wanted(volume_id):
                self.target.remove_export(volume_id)

    def make_exact(self, export: Export) -> Access:
        """Make a volume's target what is asked for; the caller has written so."""
        with self._turn(export.volume_id):
            return self.target.ensure_export(export)

    def check(self) -> None:
        """See that the target answers."""
        with self.target.within(self._timeout):
            self.target.generation()


class GatewayEndpoint:
    """What the members of a cluster ask each other; every method carries ids only (since 1.5)."""

    target = messaging.Target(version=clients.VERSION)

    def __init__(self, own: OwnGateway) -> None:
        self._own = own

    @messaging.expose
    @messaging.expected_exceptions(errors.MultiattachError)
    def admit(self, context: Any, volume_id: str, initiator: str) -> None:
        _run('The volume cannot be exported', lambda: self._own.admit(volume_id, initiator))

    @messaging.expose
    @messaging.expected_exceptions(errors.MultiattachError)
    def revoke(self, context: Any, volume_id: str, initiator: str, alone: bool) -> None:
        _run('The export cannot be taken back', lambda: self._own.revoke(volume_id, initiator, alone))

    @messaging.expose
    @messaging.expected_exceptions(errors.MultiattachError)
    def fence(self, context: Any, volume_id: str, initiator: str, alone: bool, again: bool) -> dict[str, Any]:
        """:returns: as :func:`write_cut` writes it."""
        return _run(
            'The initiator cannot be cut off', lambda: write_cut(self._own.fence(volume_id, initiator, alone, again))
        )

    @messaging.expose
    @messaging.expected_exceptions(errors.MultiattachError)
    def extend(self, context: Any, volume_id: str) -> None:
        _run('The new size cannot be shown', lambda: self._own.extend(volume_id))

    @messaging.expose
    @messaging.expected_exceptions(errors.MultiattachError)
    def remove(self, context: Any, volume_id: str) -> None:
        _run('The target cannot be removed', lambda: self._own.remove(volume_id))

    @messaging.expose
    @messaging.expected_exceptions(errors.MultiattachError)
    def check(self, context: Any) -> None:
        _run('The target does not serve', self._own.check)


def _run(refused: str, act: Callable[[], R]) -> R:
    with answers.expect(refused):
        return act()


def write_cut(cut: Cut) -> dict[str, Any]:
    """Write what was cut as a message carries it."""
    written: dict[str, Any] = dataclasses.asdict(cut)
    return written


def read_cut(written: Mapping[str, Any]) -> Cut:
    """Read what :func:`write_cut` wrote."""
    known = {one.name for one in dataclasses.fields(Cut)}
    values: dict[str, Any] = {key: value for key, value in written.items() if key in known}
    values |= {name: _read_sessions(written.get(name, ())) for name in _SESSIONS}
    return Cut(**values | {'logins': tuple(written.get('logins', ()))})


def _read_sessions(written: Iterable[Mapping[str, str]]) -> tuple[SessionState, ...]:
    return tuple(SessionState(one['initiator'], one['address']) for one in written)
