# SPDX-License-Identifier: Apache-2.0
"""QEMU's own iSCSI initiator, for hosts whose kernel has no SCSI.

Nothing of a volume is on the host: each attachment is a session of its own, under an initiator
name of its own.
"""

from collections.abc import Mapping
from typing import Any, Self

from multiattach.conf import host as host_conf, plugins
from multiattach.domain.connection import DeviceInfo, find_name_id
from multiattach.drivers import values
from multiattach.drivers.connectors.network_disk import NETWORK, NetworkDiskConnector
from multiattach.drivers.connectors.portal import choose_portal, split_portal
from multiattach.drivers.errors import ConnectorError, WrongDevice

DEFAULT_PREFIX = 'iqn.2010-10.org.openstack:'


class QemuConnector(NetworkDiskConnector):
    """The connector ``qemu``.

    :param initiator_prefix: what stands before the attachment's id in initiator names.
    :param portal_timeout: seconds to wait for a portal that nobody listens at.
    """

    OPTS = host_conf.QEMU_OPTS

    def __init__(
        self, host: str, ip: str, *, initiator_prefix: str = DEFAULT_PREFIX, portal_timeout: float = 10.0
    ) -> None:
        super().__init__(host, ip)
        self._prefix = initiator_prefix
        self._portal_timeout = portal_timeout

    @classmethod
    def from_options(cls, options: Any, surroundings: plugins.Surroundings) -> Self:
        values.check_iqn_prefix(f'Option initiator_prefix in [{surroundings.section}]', options.initiator_prefix)
        return cls(surroundings.host, options.my_ip, initiator_prefix=options.initiator_prefix)

    def properties(self, attachment_id: str, server_id: str) -> dict[str, Any]:
        return {**self.describe(), 'initiator': self._initiator(attachment_id), 'instance': server_id}

    def connect(self, connection_info: Mapping[str, Any]) -> DeviceInfo:
        """Only tell QEMU where to find the volume.

        QEMU logs in while the guest stands still, so that nobody listens is found out here.
        """
        try:
            name, _ = connection_info['target_iqn'], connection_info['target_portal']
            lun, attachment_id = connection_info['target_lun'], connection_info['attachment_id']
        except KeyError as exc:
            raise ConnectorError(f'The connection_info has no {exc}.') from exc
        address, port = split_portal(choose_portal(connection_info, self._portal_timeout))
        details = {
            'protocol': 'iscsi',
            'name': f'{name}/{lun}',
            'host': address,
            'port': port,
            'initiator': self._initiator(attachment_id),
        }
        if connection_info.get('auth_method'):
            details |= {'username': connection_info['auth_username'], 'password': connection_info['auth_password']}
        return DeviceInfo(NETWORK, details=details)

    def verify(self, device: DeviceInfo, connection_info: Mapping[str, Any]) -> None:
        """By the target's name, which is all that there is."""
        volume_id = find_name_id(connection_info)
        name, _, _ = str(device.details.get('name')).rpartition('/')
        if not name.endswith(volume_id):
            raise WrongDevice(f'The target {name} is not one of the volume {volume_id}.')

    def _initiator(self, attachment_id: str) -> str:
        return f'{self._prefix}{attachment_id}'
