# SPDX-License-Identifier: Apache-2.0
"""The kernel's initiator through os-brick: one session a volume, shared by the host's servers."""

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

from oslo_log import log

from multiattach import backoff
from multiattach.conf import host as host_conf, plugins
from multiattach.domain.connection import SECRET_KEYS, DeviceInfo, find_name_id
from multiattach.drivers.connectors import chap, identity, sessions
from multiattach.drivers.connectors.base import HostSession
from multiattach.drivers.connectors.bounded import BoundedCalls
from multiattach.drivers.connectors.portal import choose_portal
from multiattach.drivers.errors import ConnectorError, ConnectorTimeout

LOG = log.getLogger(__name__)
R = TypeVar('R')

BLOCK = 'block'
BY_PATH = '/dev/disk/by-path'
BY_ID = '/dev/disk/by-id'
_UDEV_PAUSE = 0.05
_PASSWORDS = sorted(key for key in SECRET_KEYS if key.endswith('password'))


class BrickConnector:
    """The connector ``os-brick``.

    :param root_helper: prefix of commands where the agent is not root.
    :param portal_timeout: seconds to wait for a portal that nobody listens at.
    :param step_timeout: seconds that a connect or a disconnect may take.
    :param udev_timeout: seconds to wait for udev's link to a new device.
    :param scan_attempts: rescans until a device must be there.
    :param multipath: log in at all portals that a volume has, and use them as one device.
    """

    OPTS = host_conf.BRICK_OPTS
    shares_sessions = True

    def __init__(
        self,
        host: str,
        ip: str,
        *,
        lock_path: str,
        root_helper: str = 'sudo',
        portal_timeout: float = 10.0,
        step_timeout: float = 150.0,
        udev_timeout: float = 5.0,
        scan_attempts: int = 5,
        multipath: bool = False,
    ) -> None:
        self._host = host
        self._ip = ip
        self._lock_path = lock_path
        self._root_helper = root_helper
        self._portal_timeout = portal_timeout
        self._step_timeout = step_timeout
        self._udev_timeout = udev_timeout
        self._scan_attempts = scan_attempts
        self._multipath = multipath
        self._calls = BoundedCalls()
        self._lock = threading.Lock()
        self._asking = threading.Lock()
        self._connector: Any = None
        self._properties: dict[str, Any] | None = None

    # -- what the host is ----------------------------------------------------------------------

    @classmethod
    def from_options(cls, options: Any, surroundings: plugins.Surroundings) -> Self:
        locks = surroundings.state_path / 'os-brick'
        locks.mkdir(mode=0o700, parents=True, exist_ok=True)
        return cls(
            surroundings.host,
            options.my_ip,
            lock_path=str(locks),
            step_timeout=options.connect_timeout,
            multipath=options.use_multipath,
        )

    def describe(self) -> dict[str, Any]:
        """Asked of the host once: it takes some ten commands."""
        brick = self._open()
        with self._asking:
            if self._properties is None:
                self._properties = self._calls.run(
                    '', lambda: self._ask_properties(brick), self._step_timeout, 'tell what it is'
                )
            return dict(self._properties)

    def properties(self, attachment_id: str, server_id: str) -> dict[str, Any]:
        return self.describe()

    def _ask_properties(self, brick: Any) -> dict[str, Any]:
        from os_brick.initiator import connector

        found: dict[str, Any] = connector.get_connector_properties(
            self._root_helper, self._ip, self._multipath, False, host=self._host
        )
        if not found.get('initiator'):
            raise ConnectorError(
                'The host has no iSCSI initiator name: install open-iscsi and see that '
                '/etc/iscsi/initiatorname.iscsi has a line InitiatorName=… that only this host '
                'has.'
            )
        if obstacle := chap.find_obstacle():
            # Not the end: what is attached is detached here, and the file may be put right meanwhile.
            LOG.warning('Host %s: %s', self._host, obstacle)
        return found

    # -- connecting ----------------------------------------------------------------------------

    def connect(self, connection_info: Mapping[str, Any]) -> DeviceInfo:
        brick = self._open()
        connection_info = self._follow(connection_info)
        if self._multipath:
            choose_portal(connection_info, self._portal_timeout)
        else:
            # One session is all that it is to have: the one that it has, or one at the first portal that lives.
            own = next(iter(self._list_portals(connection_info)), None)
            connection_info = _take_one(connection_info, own)
            connection_info = _take_one(connection_info, choose_portal(connection_info, self._portal_timeout))
        try:
            found = self._run(
                'connect the volume', connection_info, lambda properties: brick.connect_volume(properties)
            )
        except ConnectorError as exc:
            if connection_info.get('auth_method') == 'CHAP' and (obstacle := chap.find_obstacle()):
                raise ConnectorError(f'{exc.message} {obstacle}') from None
            raise
        path = found['path']
        link = self._await_link(_name_link(connection_info, found.get('multipath_id')), path)
        return DeviceInfo(BLOCK, path=link or path)

    def verify(self, device: DeviceInfo, connection_info: Mapping[str, Any]) -> None:
        """By the name that the device itself tells."""
        identity.check_device(device.path, find_name_id(connection_info))

    def disconnect(self, connection_info: Mapping[str, Any], device: DeviceInfo | None, *, lost: bool = False) -> None:
        brick, connection_info = self._open(), self._follow(connection_info)
        known = {'path': os.path.realpath(device.path)} if device and device.path else None
        self._run(
            'disconnect the volume',
            connection_info,
            lambda properties: brick.disconnect_volume(properties, known, force=lost, ignore_errors=lost),
        )

    def extend(self, connection_info: Mapping[str, Any]) -> int | None:
        """os-brick needs the program lsscsi for it."""
        brick, connection_info = self._open(), self._follow(connection_info)
        size: int | None = self._run(
            'see the new size of the volume', connection_info, lambda properties: brick.extend_volume(properties)
        )
        return size

    def list_sessions(self) -> list[HostSession]:
        """Read from the kernel; no command is run."""
        return sessions.read()

    def _follow(self, connection_info: Mapping[str, Any]) -> Mapping[str, Any]:
        """Put the portals first at which the host has the volume already, also if it was told of others since."""
        told = connection_info.get('target_portals') or [connection_info.get('target_portal')]
        portals = list(dict.fromkeys([*self._list_portals(connection_info), *told]))
        if portals == list(told) or 'target_iqn' not in connection_info:
            return connection_info
        number = len(portals)
        return {
            **connection_info,
            'target_portal': portals[0],
            'target_portals': portals,
            'target_iqns': [connection_info['target_iqn']] * number,
            'target_luns': [connection_info['target_lun']] * number,
        }

    def _list_portals(self, connection_info: Mapping[str, Any]) -> list[str]:
        return [one.portal for one in self.list_sessions() if one.volume_id == connection_info.get('volume_id')]

    def _await_link(self, link: str, path: str) -> str | None:
        """Wait for udev's link to a device (requirement row 13).

        The link, not ``/dev/sdX``, goes into the server's configuration: after a restart of the
        host ``/dev/sdX`` may be another disk.
        """
        if backoff.poll(
            lambda: os.path.realpath(link) == os.path.realpath(path),
            bool,
            self._udev_timeout,
            first=_UDEV_PAUSE,
            most=_UDEV_PAUSE,
        ):
            return link
        LOG.warning('udev made no link %s to %s', link, path)
        return None

    def _run(self, what: str, connection_info: Mapping[str, Any], call: Callable[[dict[str, Any]], R]) -> R:
        try:
            return self._calls.run(
                str(connection_info.get('volume_id')),
                lambda: call(_complete(connection_info)),
                self._step_timeout,
                what,
            )
        except ConnectorTimeout:
            raise
        except Exception as exc:
            LOG.warning(
                'The host could not %s %s: %s', what, connection_info.get('volume_id'), _describe(exc, connection_info)
            )
            # Without the cause: os-brick's errors hold command lines with the CHAP secret.
            raise ConnectorError(f'The host could not {what}: {_describe(exc, connection_info)}') from None

    def _open(self) -> Any:
        """Make os-brick's connector; its import takes seconds, so it is done once and late."""
        with self._lock:
            if self._connector is None:
                from multiattach.drivers.connectors.open_iscsi import OpenIscsi

                self._prepare()
                self._connector = OpenIscsi(
                    self._root_helper, use_multipath=self._multipath, device_scan_attempts=self._scan_attempts
                )
            return self._connector

    def _prepare(self) -> None:
        from os_brick import privileged
        from oslo_config import cfg

        Path(self._lock_path).mkdir(parents=True, exist_ok=True)
        # os-brick reads the global configuration, whatever it is set up with.
        cfg.CONF.set_override('lock_path', self._lock_path, group='os_brick')
        if os.geteuid() == 0:
            # Root needs no privsep daemon, which would be started through sudo.
            privileged.default.set_client_mode(False)
            privileged.brick_privsep_hide_output.set_client_mode(False)


def by_path_link(connection_info: Mapping[str, Any]) -> str:
    """Return the link that udev makes to a volume (60-persistent-storage.rules, path_id), without brackets of IPv6."""
    portal = str(connection_info['target_portal']).replace('[', '').replace(']', '')
    return f'{BY_PATH}/ip-{portal}-iscsi-{connection_info["target_iqn"]}-lun-{connection_info["target_lun"]}'


def _take_one(connection_info: Mapping[str, Any], portal: str | None) -> Mapping[str, Any]:
    """Leave one portal of several; all of them if it is None."""
    if portal is None:
        return connection_info
    keys = ('target_portals', 'target_iqns', 'target_luns')
    return {key: value for key, value in connection_info.items() if key not in keys} | {'target_portal': portal}


def _name_link(connection_info: Mapping[str, Any], multipath_id: str | None) -> str:
    """Return the link to a device that stays the same over restarts of the host: of one path, or of all."""
    return f'{BY_ID}/dm-uuid-mpath-{multipath_id}' if multipath_id else by_path_link(connection_info)


def _complete(connection_info: Mapping[str, Any]) -> dict[str, Any]:
    """Add the lists of one target each.

    Without them os-brick looks for further portals in iscsiadm's database of discoveries, finds
    none, logs a traceback and, after a failed connect, cleans up nothing.
    """
    single = {
        f'{key}s': [connection_info[key]]
        for key in ('target_portal', 'target_iqn', 'target_lun')
        if key in connection_info
    }
    return single | dict(connection_info)


def _describe(error: Exception, connection_info: Mapping[str, Any]) -> str:
    """Tell what went wrong without command lines and secrets."""
    code = getattr(error, 'exit_code', None)
    name = type(error).__name__
    text = f'{name}: {error}'
    if code is not None:
        output = getattr(error, 'stderr', None) or getattr(error, 'stdout', None) or ''
        text = f'a command ended with status {code}: {str(output).strip()}'
    elif name in ('VolumeDeviceNotFound', 'VolumePathsNotFound'):
        text = (
            'no device of it is there: the target refused the login or has no such LUN (the log of the agent says more)'
        )
    for key in _PASSWORDS:
        if secret := connection_info.get(key):
            text = text.replace(str(secret), '***')
    return text
