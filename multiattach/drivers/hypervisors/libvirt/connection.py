# SPDX-License-Identifier: Apache-2.0
"""The thin wall round libvirt: the one module that imports it.

Calls come from several threads and run in those of :mod:`multiattach.drivers.hypervisors.libvirt.calls`: none is
waited for without a limit. Events come in a thread of this module. A connection that broke is opened
again by the next call.

What changes a server has a connection to itself: a call that waits for QEMU holds up the others of its
connection (libvirtd serves 5 at a time, and its client library hands replies on late).
"""

import contextlib
import dataclasses
import importlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from oslo_log import log

from multiattach import concurrency
from multiattach.domain import errors
from multiattach.drivers.errors import DomainNotFound, HypervisorError, HypervisorUnavailable
from multiattach.drivers.hypervisors.libvirt import loop
from multiattach.drivers.hypervisors.libvirt.calls import Calls, Overdue
from multiattach.drivers.hypervisors.libvirt.events import Removals, UnplugResult
from multiattach.drivers.hypervisors.libvirt.xml import SECRET_PREFIX

LOG = log.getLogger(__name__)
R = TypeVar('R')

threading: Any = concurrency.native('threading')  # calls run in real threads
_KEEPALIVE_INTERVAL, _KEEPALIVE_COUNT = 5, 5  # s, number: gone after 30 s without an answer
_MOST_ENDED = 10_000
_MOST_SPARE = 8  # connections that are kept for the next change


class DeviceNotFound(HypervisorError):
    """The server has no such device."""


class DetachPending(HypervisorError):
    """The guest was asked for the device before and has not answered."""


@dataclasses.dataclass(frozen=True)
class DomainState:
    """A server as libvirt shows it at one moment.

    :param live: XML of the running server, None if it does not run.
    :param config: XML of its next start, None if it is transient.
    """

    uuid: str
    name: str
    power_state: str
    live: str | None = dataclasses.field(repr=False)
    config: str | None = dataclasses.field(repr=False)


class LibvirtConnection:
    """A connection to libvirtd, opened when it is first used.

    :param timeout: seconds that a call may take.
    :raises ConfigurationError: libvirt-python is not installed.
    """

    def __init__(self, uri: str, timeout: float = 20.0) -> None:
        self._lib = _import_libvirt()
        self._uri = uri
        self._calls = Calls(timeout)
        self._opening = threading.Lock()  # held across calls: only in the threads of _calls
        self._lock = threading.Lock()
        self._connection: Any = None
        self._spare: list[Any] = []
        self._removals = Removals()
        self.losses = 0  # domains that were said to have stopped or to be undefined
        self._ended_lock = threading.Lock()  # an event must not wait for a call into libvirt
        self._ended: dict[str, None] = {}  # those that were, until they are shown again
        lib = self._lib
        self._power_states = {
            lib.VIR_DOMAIN_NOSTATE: 'nostate',
            lib.VIR_DOMAIN_RUNNING: 'running',
            lib.VIR_DOMAIN_BLOCKED: 'running',
            lib.VIR_DOMAIN_PAUSED: 'paused',
            lib.VIR_DOMAIN_SHUTDOWN: 'running',
            lib.VIR_DOMAIN_SHUTOFF: 'shutdown',
            lib.VIR_DOMAIN_CRASHED: 'crashed',
            lib.VIR_DOMAIN_PMSUSPENDED: 'suspended',
        }

    # -- the connection ------------------------------------------------------------------------

    def close(self) -> None:
        """Close the connections; the next call opens another."""
        with self._lock:
            connections, self._spare, self._connection = [self._connection, *self._spare], [], None
        with contextlib.suppress(HypervisorUnavailable):
            self._calls.ask('close the connection', lambda: self._close(*connections))

    def interrupt(self) -> None:
        self._calls.interrupt()

    def list_overdue(self) -> list[str]:
        return self._calls.list_overdue()

    def _close(self, *connections: Any) -> None:
        for connection in connections:
            if connection is not None:
                with contextlib.suppress(self._lib.libvirtError):
                    connection.close()

    def _ask(self, what: str, call: Callable[[Any], R]) -> R:
        """Run a call with the connection that events come by."""
        try:
            with self._translated():
                return self._calls.ask(what, lambda: call(self._get()))
        except Overdue:
            self._leave_connection()
            raise

    def _change(self, what: str, server_id: str, call: Callable[[Any], R], *, live: bool) -> R:
        """Run a call that changes a server, with a connection of its own."""
        with self._translated():
            return self._calls.change(
                f'{what} the server {server_id}', server_id, lambda: self._run(server_id, call, live)
            )

    def _run(self, server_id: str, call: Callable[[Any], R], live: bool) -> R:
        with self._lock:
            connection = self._spare.pop() if self._spare else None
        if connection is None or not self._is_alive(connection):
            self._close(connection)
            connection = self._open()
        try:
            domain = connection.lookupByUUIDString(server_id)
            if live:
                self._check_control(domain)
            return call(domain)
        finally:
            with self._lock:
                kept = len(self._spare) < _MOST_SPARE and self._is_alive(connection)
                if kept:
                    self._spare.append(connection)
            if not kept:
                self._close(connection)

    def _check_control(self, domain: Any) -> None:
        """Ask nothing of a server whose QEMU does not answer; an agent before this one may have asked it."""
        try:
            state, _details, age = domain.controlInfo()
        except self._lib.libvirtError:  # it does not run, or the driver has no such thing
            return
        if state == self._lib.VIR_DOMAIN_CONTROL_OCCUPIED and age >= self._calls.timeout * 1000:
            raise HypervisorUnavailable(
                f'The QEMU of the server {domain.UUIDString()} has not answered libvirt for '
                f'{age / 1000:.0f} s: nothing more is asked of it until it does.'
            )

    def _leave_connection(self) -> None:
        """Have the next call open another connection; whoever hangs in this one may go on."""
        with self._lock:
            connection, self._connection = self._connection, None
        # Closing it may hang as well.
        threading.Thread(target=self._close, args=(connection,), name='libvirt: close', daemon=True).start()

    def _get(self) -> Any:
        with self._opening:
            connection = self._connection
            if connection is not None and not self._is_alive(connection):
                LOG.warning('The connection to libvirt broke: opening another')
                self._close(connection)
                connection = None
            if connection is None:
                connection = self._open()
                self._listen(connection)
                with self._lock:
                    self._connection = connection
            return connection

    def _is_alive(self, connection: Any) -> bool:
        try:
            return bool(connection.isAlive())
        except self._lib.libvirtError:
            return False

    def _open(self) -> Any:
        loop.start(self._lib)
        try:
            connection = self._lib.open(self._uri)
        except self._lib.libvirtError as exc:
            raise HypervisorUnavailable(f'libvirt at {self._uri} does not answer: {exc}') from exc
        with contextlib.suppress(self._lib.libvirtError):  # a local driver has no keepalive
            connection.setKeepAlive(_KEEPALIVE_INTERVAL, _KEEPALIVE_COUNT)
        return connection

    def _listen(self, connection: Any) -> None:
        for event, outcome in (
            (self._lib.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, UnplugResult.REMOVED),
            (self._lib.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED, UnplugResult.REFUSED),
        ):
            connection.domainEventRegisterAny(None, event, self._on_device, outcome)
        connection.domainEventRegisterAny(None, self._lib.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._on_life, None)

    def _on_device(self, _connection: Any, domain: Any, alias: str, outcome: UnplugResult) -> None:
        self._removals.report(domain.UUIDString(), alias, outcome)

    def _on_life(self, _connection: Any, domain: Any, event: int, _detail: int, _data: None) -> None:
        if event in (self._lib.VIR_DOMAIN_EVENT_UNDEFINED, self._lib.VIR_DOMAIN_EVENT_STOPPED):
            self.losses += 1
            with self._ended_lock:
                self._ended[domain.UUIDString()] = None
                while len(self._ended) > _MOST_ENDED:
                    del self._ended[next(iter(self._ended))]

    @property
    def ended(self) -> frozenset[str]:
        """UUIDs of domains that were said to have stopped or to be undefined, and were not shown since."""
        with self._ended_lock:
            return frozenset(self._ended)

    # -- servers -------------------------------------------------------------------------------

    def list_domains(self) -> list[DomainState]:
        """List all servers but those that vanish meanwhile."""
        return self._ask('list its servers', self._list_domains)

    def _list_domains(self, connection: Any) -> list[DomainState]:
        domains = connection.listAllDomains()
        shown = [domain.UUIDString() for domain in domains]
        with self._ended_lock:
            for server_id in shown:
                self._ended.pop(server_id, None)
        states = []
        for domain in domains:
            with contextlib.suppress(DomainNotFound), self._translated():
                states.append(self._read(domain))
        return states

    def find(self, server_id: str) -> DomainState:
        return self._ask(
            f'show the server {server_id}', lambda connection: self._read(connection.lookupByUUIDString(server_id))
        )

    def _read(self, domain: Any) -> DomainState:
        lib = self._lib
        state, _reason = domain.state()
        live = domain.XMLDesc(0) if domain.isActive() else None
        if live is not None and not domain.isActive():
            live, state = None, lib.VIR_DOMAIN_SHUTOFF  # it stopped between the calls
        config = domain.XMLDesc(lib.VIR_DOMAIN_XML_INACTIVE) if domain.isPersistent() else None
        return DomainState(domain.UUIDString(), domain.name(), self._power_states.get(state, 'nostate'), live, config)

    # -- devices -------------------------------------------------------------------------------

    def attach_device(self, server_id: str, device: str, *, live: bool, config: bool) -> None:
        self._change(
            'give a device to',
            server_id,
            lambda domain: domain.attachDeviceFlags(device, self._affect(live, config)),
            live=live,
        )

    def detach_device(self, server_id: str, device: str, *, live: bool, config: bool) -> None:
        """Take a device from a server; a running one lets go later: see :meth:`expect_removal`.

        :raises DeviceNotFound: it has none.
        :raises DetachPending: it was asked before.
        """
        self._change(
            'take a device from',
            server_id,
            lambda domain: domain.detachDeviceFlags(device, self._affect(live, config)),
            live=live,
        )

    def resize_device(self, server_id: str, target: str, size: int) -> None:
        """Show a running server the new size of a disk, bytes; *target* is its name, ``vdb``."""
        flags = self._lib.VIR_DOMAIN_BLOCK_RESIZE_BYTES
        self._change(
            'show the new size of a disk to',
            server_id,
            lambda domain: domain.blockResize(target, size, flags),
            live=True,
        )

    def expect_removal(self, server_id: str, alias: str) -> Any:
        """Listen for the end of a live detach; enter the context manager before asking."""
        return self._removals.expect(server_id, alias)

    def _affect(self, live: bool, config: bool) -> int:
        flags: int = self._lib.VIR_DOMAIN_AFFECT_LIVE if live else 0
        return flags | (self._lib.VIR_DOMAIN_AFFECT_CONFIG if config else 0)

    # -- secrets and versions ------------------------------------------------------------------

    def define_secret(self, description: str, value: bytes) -> None:
        """Give libvirt a secret, described in XML; one of the same UUID gets the new value."""
        self._ask('keep a secret', lambda connection: connection.secretDefineXML(description).setValue(value))

    def undefine_secret(self, secret_id: str) -> None:
        """Take a secret of this service from libvirt; absent is success, and somebody else's stays."""
        self._ask('forget a secret', lambda connection: self._undefine_secret(connection, secret_id))

    def _undefine_secret(self, connection: Any, secret_id: str) -> None:
        try:
            secret = connection.secretLookupByUUIDString(secret_id)
            # With Nova one of the operator's serves all disks.
            if secret.usageID() == f'{SECRET_PREFIX}{secret_id}':
                secret.undefine()
        except self._lib.libvirtError as exc:
            if exc.get_error_code() != self._lib.VIR_ERR_NO_SECRET:
                raise

    def list_secrets(self) -> frozenset[str]:
        return self._ask(
            'list its secrets',
            lambda connection: frozenset(secret.UUIDString() for secret in connection.listAllSecrets()),
        )

    def list_own_secrets(self) -> frozenset[str]:
        """List the ids of the attachments whose secrets libvirt has."""
        return self._ask(
            'list its secrets',
            lambda connection: frozenset(
                secret.UUIDString()
                for secret in connection.listAllSecrets()
                if secret.usageID() == f'{SECRET_PREFIX}{secret.UUIDString()}'
            ),
        )

    def versions(self) -> tuple[int, int]:
        """Return the versions of libvirt and hypervisor: major * 1,000,000 + minor * 1,000 + release."""
        return self._ask('tell its versions', lambda connection: (connection.getLibVersion(), connection.getVersion()))

    # -- errors --------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except self._lib.libvirtError as exc:
            raise self._translate(exc) from exc

    def _translate(self, exc: Any) -> HypervisorError | HypervisorUnavailable:
        lib, code = self._lib, exc.get_error_code()
        message = exc.get_error_message() or str(exc)
        of_wire = exc.get_error_domain() in (lib.VIR_FROM_REMOTE, lib.VIR_FROM_RPC)
        lost = code in (lib.VIR_ERR_NO_CONNECT, lib.VIR_ERR_INVALID_CONN, lib.VIR_ERR_RPC) or (
            of_wire and code in (lib.VIR_ERR_SYSTEM_ERROR, lib.VIR_ERR_INTERNAL_ERROR)
        )
        # OPERATION_TIMEOUT: another job holds the server; nothing was done, it may be repeated.
        if lost or code == lib.VIR_ERR_OPERATION_TIMEOUT:
            return HypervisorUnavailable(f'libvirt does not answer: {message}')
        if code == lib.VIR_ERR_NO_DOMAIN:
            return DomainNotFound(f'libvirt knows no such server: {message}')
        if code == lib.VIR_ERR_DEVICE_MISSING:
            return DeviceNotFound(message)
        if 'already in the process of unplug' in message:
            return DetachPending(message)
        return HypervisorError(f'libvirt refused: {message}')


def _import_libvirt() -> Any:
    try:
        return importlib.import_module('libvirt')
    except ImportError as exc:
        raise errors.ConfigurationError(
            'The host agent needs libvirt-python, which is not installed: install the extra '
            'multiattach[host] (it is built with libvirt-dev, pkg-config, python3-dev and gcc).'
        ) from exc
