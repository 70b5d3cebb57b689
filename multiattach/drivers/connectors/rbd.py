# SPDX-License-Identifier: Apache-2.0
"""Images of Ceph, which QEMU opens by itself.

Nothing of a volume is on the host but its key, which libvirt keeps while a server has the disk. QEMU opens an image
while its guest stands still, and waits for Ceph without a limit: so it is opened here first, as the same user.
"""

import contextlib
import dataclasses
import errno
import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

from oslo_log import log

from multiattach.conf import host as host_conf, plugins
from multiattach.domain import errors
from multiattach.domain.connection import RBD, DeviceInfo, find_name_id
from multiattach.drivers.ceph import library
from multiattach.drivers.ceph.calls import Calls, Progress
from multiattach.drivers.connectors.base import HostConnector, HostSession
from multiattach.drivers.connectors.network_disk import NETWORK, NetworkDiskConnector
from multiattach.drivers.errors import ConnectorError, StorageError, StorageUnavailable, WrongDevice

LOG = log.getLogger(__name__)

#: what an agent says to get a cephx user for each attachment, and its key
CEPHX = {'cephx': 'attachment'}
_KEY = re.compile(r'^\s*key\s*=\s*(\S+)\s*$', re.MULTILINE)
_LIMITS = ('client_mount_timeout', 'rados_mon_op_timeout', 'rados_osd_op_timeout')
_PATH = re.compile(r'/[A-Za-z0-9_./+-]+')
_LONG = 60  # s that a server may stand still, at most
_REQUESTS = 4  # that an open may wait for in vain, one after the other


@dataclasses.dataclass(frozen=True)
class Image:
    """An image as a connection_info names it.

    :param hosts: addresses, without brackets, and ports of the monitors.
    :param user: cephx user without ``client.``, empty for none.
    :param key: its key, base64; empty if libvirt has it already.
    :param secret_id: UUID under which libvirt keeps the key.
    """

    pool: str
    name: str
    hosts: tuple[tuple[str, str], ...]
    user: str
    key: str = dataclasses.field(repr=False)
    secret_id: str

    @classmethod
    def read(cls, connection_info: Mapping[str, Any]) -> Self:
        """Take from a connection_info what it says.

        :raises ConnectorError: it is none of an image.
        """
        if (kind := connection_info.get('driver_volume_type')) != RBD:
            raise ConnectorError(
                f'The volume is reached by {kind}, and this host has no initiator: set connector = os-brick or qemu in '
                '[host_agent].'
            )
        try:
            pool, _, name = str(connection_info['name']).partition('/')
            addresses = zip(connection_info['hosts'], connection_info['ports'], strict=True)
            hosts = tuple((str(host).strip('[]'), str(port)) for host, port in addresses)
        except (KeyError, TypeError, ValueError) as exc:
            raise ConnectorError(f'The connection_info is none of an image of Ceph: {exc!r}.') from None
        if not pool or not name or not hosts:
            raise ConnectorError('The connection_info names no image of Ceph, or no monitor.')
        if not connection_info.get('auth_enabled'):
            return cls(pool, name, hosts, '', '', '')
        found = _KEY.search(str(connection_info.get('keyring') or ''))
        user, secret = (str(connection_info.get(key) or '') for key in ('auth_username', 'secret_uuid'))
        if not user or not secret:
            raise ConnectorError('The connection_info names no user of Ceph, or no secret for its key.')
        return cls(pool, name, hosts, user, found[1] if found else '', secret)

    def __str__(self) -> str:
        return f'the image {self.pool}/{self.name}'

    @property
    def monitors(self) -> str:
        return ','.join(f'[{host}]:{port}' if ':' in host else f'{host}:{port}' for host, port in self.hosts)

    def tell(self, conf: str, *, discard: bool) -> dict[str, Any]:
        """Return the details of a network disk; *conf* is Ceph's configuration file, or empty."""
        details = {'protocol': RBD, 'name': f'{self.pool}/{self.name}', 'hosts': self.hosts, 'discard': discard}
        if conf:
            details['conf'] = conf
        if self.user:
            details |= {'username': self.user, 'secret_uuid': self.secret_id, 'key': self.key}
        return details


class RbdConnector(NetworkDiskConnector):
    """The connector ``rbd``; beside the others it has those volumes that are images.

    :param conf: path of Ceph's configuration file for QEMU; it need not be there.
    :param timeout: seconds that Ceph may take for one answer.
    """

    OPTS = host_conf.RBD_OPTS

    def __init__(self, host: str, ip: str, *, conf: str = '', timeout: int = 10) -> None:
        super().__init__(host, ip)
        self._conf = conf
        self._timeout = timeout
        self._is_warned = False
        self._calls = Calls(float(_REQUESTS * timeout))

    @classmethod
    def from_options(cls, options: Any, surroundings: plugins.Surroundings) -> Self:
        if options.rbd_ceph_conf and not _PATH.fullmatch(options.rbd_ceph_conf):
            raise errors.ConfigurationError(
                f'Option rbd_ceph_conf in [{surroundings.section}]: {options.rbd_ceph_conf!r} is no absolute path of '
                'letters, digits and _./+- that QEMU can take.'
            )
        return cls(surroundings.host, options.my_ip, conf=options.rbd_ceph_conf, timeout=options.rados_connect_timeout)

    def properties(self, attachment_id: str, server_id: str) -> dict[str, Any]:
        return {**self.describe(), **CEPHX, 'instance': server_id}

    def connect(self, connection_info: Mapping[str, Any]) -> DeviceInfo:
        """Only tell QEMU where to find the volume; that Ceph lets this host have it is found out here."""
        image = Image.read(connection_info)
        conf = self._conf if os.path.exists(self._conf) else ''
        if image.key or not image.user:
            self._try_image(image, conf)
        return DeviceInfo(NETWORK, details=image.tell(conf, discard=bool(connection_info.get('discard', True))))

    def verify(self, device: DeviceInfo, connection_info: Mapping[str, Any]) -> None:
        """By the image's name, which is all that there is."""
        volume_id, name = find_name_id(connection_info), str(device.details.get('name'))
        if name.rpartition('/')[2] != f'volume-{volume_id}':
            raise WrongDevice(f'The image {name} is not the volume {volume_id}. It was not attached.')

    # -- asking Ceph ---------------------------------------------------------------------------

    def _try_image(self, image: Image, conf: str) -> None:
        try:
            rados, rbd = library.load()
        except StorageError as exc:
            raise ConnectorError(str(exc)) from exc

        def call(_progress: Progress) -> None:
            with contextlib.ExitStack() as stack:
                with _explained(image, self._timeout, _REFUSED):
                    cluster = stack.enter_context(_connected(rados, image, conf, self._check_conf, self._timeout))
                with _explained(image, self._timeout, _INCAPABLE):
                    io = stack.enter_context(contextlib.closing(cluster.open_ioctx(image.pool)))
                    rbd.Image(io, image.name, read_only=True).close()

        try:
            self._calls.run(f'open {image}', call)
        except StorageUnavailable as exc:
            raise ConnectorError(f'{exc} {_SILENT}') from exc

    def _check_conf(self, cluster: Any) -> None:
        limit = int(cluster.conf_get('client_mount_timeout'))
        if limit > _LONG and not self._is_warned:
            self._is_warned = True
            LOG.warning(
                'If Ceph falls silent while a server of this host is given a volume, it stands still for %d s: set '
                'client_mount_timeout = %d in %s',
                limit,
                self._timeout,
                self._conf or '/etc/ceph/ceph.conf',
            )


_SILENT = (
    'See "ceph -s", and that this host reaches monitors (ports 3300 and 6789) and OSDs (6800 to 7300); then attach the '
    'volume again.'
)
_REFUSED = (
    'its key is another one by now, or it was removed, as by a fence. Attach the volume again: then there is a new one.'
)
_INCAPABLE = 'it has no capability for that. See "ceph auth get"; then attach the volume again.'


@contextlib.contextmanager
def _explained(image: Image, timeout: int, denied: str) -> Iterator[None]:
    """Put what librados and librbd raise into words.

    :param denied: what it means here that the user may not.
    """
    try:
        yield
    except Exception as exc:
        number = getattr(exc, 'errno', None)
        if number is None:
            raise
        reasons = {
            errno.ENOENT: f'there is none, or client.{image.user} may not see it.',
            errno.ESHUTDOWN: 'an address of this host is on its blocklist. Find out why with "ceph osd blocklist ls", '
            'remove the entry if it should not be there, and attach the volume again.',
            errno.EPERM: f'client.{image.user} is refused: {denied}',
            errno.EACCES: f'client.{image.user} is refused: {denied}',
        }
        silent = f'no answer at {image.monitors} within {timeout} s ({exc}). {_SILENT}'
        raise ConnectorError(f'Ceph does not open {image} for this host: {reasons.get(number, silent)}') from None


@contextlib.contextmanager
def _connected(rados: Any, image: Image, conf: str, check: Callable[[Any], None], timeout: int) -> Iterator[Any]:
    cluster = rados.Rados(rados_id=image.user or None)
    with contextlib.suppress(rados.ObjectNotFound):  # QEMU reads it, too, if there is one
        cluster.conf_read_file(conf or None)
    check(cluster)
    settings = dict.fromkeys(_LIMITS, str(timeout)) | {'mon_host': image.monitors}
    settings['mon_client_hunt_parallel'] = '0'  # all: of three that are gone it waits 3 s for the next
    if image.key:
        settings |= {'key': image.key, 'auth_client_required': 'cephx'}
    for name, value in settings.items():
        cluster.conf_set(name, value)
    cluster.connect()
    try:
        yield cluster
    finally:
        cluster.shutdown()


class ConnectorChoice:
    """A host's connector for iSCSI and the one for images; a connection_info says which it is for."""

    def __init__(self, iscsi: HostConnector, rbd: HostConnector) -> None:
        self._iscsi = iscsi
        self._rbd = rbd
        self.shares_sessions = iscsi.shares_sessions  # an image has none that could be shared

    def _choose(self, connection_info: Mapping[str, Any]) -> HostConnector:
        return self._rbd if connection_info.get('driver_volume_type') == RBD else self._iscsi

    def describe(self) -> dict[str, Any]:
        return self._iscsi.describe()

    def properties(self, attachment_id: str, server_id: str) -> dict[str, Any]:
        return {**self._iscsi.properties(attachment_id, server_id), **CEPHX}

    def connect(self, connection_info: Mapping[str, Any]) -> DeviceInfo:
        return self._choose(connection_info).connect(connection_info)

    def verify(self, device: DeviceInfo, connection_info: Mapping[str, Any]) -> None:
        self._choose(connection_info).verify(device, connection_info)

    def disconnect(self, connection_info: Mapping[str, Any], device: DeviceInfo | None, *, lost: bool = False) -> None:
        self._choose(connection_info).disconnect(connection_info, device, lost=lost)

    def extend(self, connection_info: Mapping[str, Any]) -> int | None:
        return self._choose(connection_info).extend(connection_info)

    def list_sessions(self) -> list[HostSession]:
        return self._iscsi.list_sessions()
