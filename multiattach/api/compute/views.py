# SPDX-License-Identifier: Apache-2.0
"""What the compute API shows, by microversion (after Nova's ``compute/views``)."""

import datetime
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from multiattach.api import versions
from multiattach.api.request import Request
from multiattach.api.settings import ApiSettings
from multiattach.db.models import Attachment, Server
from multiattach.domain import servers

# A server that nobody made from a flavor: what clients read unconditionally, and not more.
FLAVOR = 'libvirt'
_FLAVOR = {'original_name': FLAVOR, 'vcpus': 0, 'ram': 0, 'disk': 0, 'ephemeral': 0, 'swap': 0}


def base_url(req: Request, settings: ApiSettings) -> str:
    """Return the compute endpoint's URL without a version.

    :returns: URL without a slash at its end.
    """
    return f'{versions.base_url(req, settings)}/compute'


def flavor(req: Request, settings: ApiSettings) -> dict[str, Any]:
    """Show the flavor that all servers have."""
    base, project = base_url(req, settings), f'{req.url_project}/' if req.url_project else ''
    tail = f'{project}flavors/{FLAVOR}'
    shown = {
        'id': FLAVOR,
        'name': FLAVOR,
        'ram': 0,
        'vcpus': 0,
        'disk': 0,
        'swap': '' if req.minor < 75 else 0,
        'OS-FLV-EXT-DATA:ephemeral': 0,
        'OS-FLV-DISABLED:disabled': False,
        'os-flavor-access:is_public': True,
        'rxtx_factor': 1.0,
        'links': [{'rel': 'self', 'href': f'{base}/v2.1/{tail}'}, {'rel': 'bookmark', 'href': f'{base}/{tail}'}],
    }
    if req.minor >= 55:
        shown['description'] = None
    if req.minor >= 61:
        shown['extra_specs'] = {}
    return shown


def attachment(row: Attachment, minor: int) -> dict[str, Any]:
    """Show a volume of a server."""
    shown: dict[str, Any] = {} if minor >= 89 else {'id': row.volume_id}
    shown |= {'volumeId': row.volume_id, 'serverId': row.instance_uuid}
    if row.mountpoint:
        shown['device'] = row.mountpoint
    if minor >= 70:
        shown['tag'] = row.tag
    if minor >= 79:
        shown['delete_on_termination'] = row.delete_on_termination
    if minor >= 89:
        # Nova keeps a block device mapping beside the attachment; here they are one.
        shown |= {'attachment_id': row.id, 'bdm_uuid': row.id}
    return shown


def new_attachment(row: Attachment, minor: int) -> dict[str, Any]:
    """Show an attachment in the reply to its creation: as :func:`attachment` before 2.89."""
    return {**attachment(row, min(minor, 88)), 'device': row.mountpoint}


class ServerViews:
    """Servers as one request is to see them.

    :param sees_hosts: show where servers run.
    :param hosts: status of hosts by name, as far as the caller may know it.
    """

    def __init__(
        self, req: Request, settings: ApiSettings, *, sees_hosts: bool = False, hosts: Mapping[str, str] | None = None
    ) -> None:
        self._minor = req.minor
        self._base = base_url(req, settings)
        self._project = f'{req.url_project}/' if req.url_project else ''
        self._sees_hosts = sees_hosts
        self._hosts = hosts

    def summary(self, server: Server) -> dict[str, Any]:
        """Show a server in a list."""
        tail = f'{self._project}servers/{server.id}'
        return {
            'id': server.id,
            'name': server.name,
            'links': [
                {'rel': 'self', 'href': f'{self._base}/v2.1/{tail}'},
                {'rel': 'bookmark', 'href': f'{self._base}/{tail}'},
            ],
        }

    def detail(self, server: Server, volumes: Sequence[Attachment], *, alone: bool = False) -> dict[str, Any]:
        """Show a server with all that is known of it; what has no meaning here is empty.

        :param alone: it is shown by itself and not in a list.
        """
        state = servers.describe(server.power_state)
        shown = {
            **self.summary(server),
            'status': state.status,
            'tenant_id': server.project_id,
            'user_id': '',
            'hostId': hashlib.sha224(f'{server.project_id}{server.host}'.encode()).hexdigest(),
            'image': '',
            'flavor': _FLAVOR if self._minor >= 47 else self._name_flavor(),
            'addresses': {},
            'accessIPv4': '',
            'accessIPv6': '',
            'metadata': {},
            'created': _format_time(server.created_at),
            'updated': _format_time(server.updated_at or server.created_at),
            'config_drive': '',
            'key_name': None,
            'OS-DCF:diskConfig': 'MANUAL',
            'OS-EXT-AZ:availability_zone': '',
            'OS-EXT-STS:task_state': None,
            'OS-EXT-STS:vm_state': state.vm_state,
            'OS-EXT-STS:power_state': state.number,
            'OS-SRV-USG:launched_at': None,
            'OS-SRV-USG:terminated_at': None,
            'os-extended-volumes:volumes_attached': [self._volume(row) for row in volumes],
        }
        if state.status == 'ACTIVE':
            shown['progress'] = 0
        if self._sees_hosts:
            shown |= self._place(server)
        return shown | self._later(server, alone)

    def _name_flavor(self) -> dict[str, Any]:
        """Name the flavor as before 2.47, when it was a link."""
        href = f'{self._base}/{self._project}flavors/{FLAVOR}'
        return {'id': FLAVOR, 'links': [{'rel': 'bookmark', 'href': href}]}

    def _volume(self, row: Attachment) -> dict[str, Any]:
        shown: dict[str, Any] = {'id': row.volume_id}
        if self._minor >= 3:
            shown['delete_on_termination'] = row.delete_on_termination
        return shown

    def _place(self, server: Server) -> dict[str, Any]:
        prefix = 'OS-EXT-SRV-ATTR:'
        shown: dict[str, Any] = {
            f'{prefix}host': server.host,
            f'{prefix}hypervisor_hostname': server.host,
            f'{prefix}instance_name': server.name,
        }
        if self._minor >= 3:
            shown |= {
                f'{prefix}hostname': server.name,
                f'{prefix}kernel_id': '',
                f'{prefix}ramdisk_id': '',
                f'{prefix}launch_index': 0,
                f'{prefix}reservation_id': '',
                f'{prefix}root_device_name': None,
                f'{prefix}user_data': None,
            }
        return shown

    def _later(self, server: Server, alone: bool) -> dict[str, Any]:
        """Return what later microversions added."""
        shown: dict[str, Any] = {}
        added: tuple[tuple[int, str, Any], ...] = (
            (9, 'locked', False),
            (19, 'description', None),
            (26, 'tags', []),
            (63, 'trusted_image_certificates', None),
            (73, 'locked_reason', None),
        )
        shown |= {key: value for since, key, value in added if self._minor >= since}
        if self._minor >= 16 and self._hosts:
            shown['host_status'] = self._hosts.get(server.host, 'UNKNOWN')
        if self._minor >= 71 and alone:
            shown['server_groups'] = []
        return shown


def _format_time(moment: datetime.datetime) -> str:
    return moment.strftime('%Y-%m-%dT%H:%M:%SZ')
