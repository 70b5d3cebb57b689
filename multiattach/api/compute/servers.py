# SPDX-License-Identifier: Apache-2.0
"""``/servers``: the libvirt domains of the host agents, to be looked up (after Nova's ``compute/views``)."""

import dataclasses
import datetime
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from oslo_utils import strutils

from multiattach.api import paging
from multiattach.api.compute.flavors import FLAVOR, links
from multiattach.api.request import Request
from multiattach.api.routing import Controller, route
from multiattach.api.schemas import requests
from multiattach.api.settings import ApiSettings
from multiattach.api.validation import Versioned
from multiattach.db import models
from multiattach.db.paging import Page
from multiattach.domain import errors, servers as domain
from multiattach.engine.server_queries import ADMIN_SORT_KEYS, FILTERS, SORT_KEYS, server_conditions

# Unknown filters are refused.
_STRICT = 75
_DIRECTIONS = ('asc', 'desc')
_PREFIX = 'os_compute_api:'
_INDEX = (_PREFIX + 'servers:index', _PREFIX + 'servers:index:get_all_tenants')
_PLACE = (_PREFIX + 'servers:show:host_status', _PREFIX + 'os-extended-server-attributes')
# What clients read of a flavor unconditionally, and not more.
_FLAVOR = {'original_name': FLAVOR, 'vcpus': 0, 'ram': 0, 'disk': 0, 'ephemeral': 0, 'swap': 0}
_NUMBER = {'type': 'string', 'pattern': r'^[0-9]{1,18}\Z'}
# Columns that a list once could be filtered by, by accident; Nova refuses them by name.
_INTERNAL = (
    'block_device_mapping',
    'services',
    'metadata',
    'system_metadata',
    'info_cache',
    'security_groups',
    'pci_devices',
)


def _query(minor: int) -> requests.Schema:
    known = {key: requests.TEXT for key, since in FILTERS.items() if since <= minor}
    return {
        **requests.fields(
            {
                **known,
                'limit': _NUMBER,
                'marker': requests.TEXT,
                'all_tenants': requests.TEXT,
                'sort_dir': requests.TEXT,
                'sort_key': {'enum': list(SORT_KEYS)},
                **dict.fromkeys(_INTERNAL, False),
            },
            strict=minor >= _STRICT,
        ),
        'patternProperties': {'^_': False},
    }


QUERY = Versioned({minor: _query(minor) for minor in (0, 5, 26, 66, 73, _STRICT)})


class ServerView:
    """Servers as one request is to see them."""

    def __init__(
        self, req: Request, settings: ApiSettings, *, sees_hosts: bool = False, hosts: Mapping[str, str] | None = None
    ) -> None:
        self._minor = req.minor
        self._links = links(req, settings)
        self._sees_hosts = sees_hosts
        self._hosts = hosts

    def summary(self, server: models.Server) -> dict[str, Any]:
        return {'id': server.id, 'name': server.name, 'links': self._links.of('servers', server.id)}

    def detail(
        self, server: models.Server, volumes: Sequence[models.Attachment], *, alone: bool = False
    ) -> dict[str, Any]:
        """Show a server with all that is known of it; what has no meaning here is empty.

        :param alone: it is shown by itself and not in a list.
        """
        state = domain.describe(server.power_state)
        shown = {
            **self.summary(server),
            'status': state.status,
            'tenant_id': server.project_id,
            'user_id': '',
            'hostId': hashlib.sha224(f'{server.project_id}{server.host}'.encode()).hexdigest(),
            'image': '',
            'flavor': _FLAVOR if self._minor >= 47 else {'id': FLAVOR, 'links': self._links.of('flavors', FLAVOR)[1:]},
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

    def _volume(self, row: models.Attachment) -> dict[str, Any]:
        shown: dict[str, Any] = {'id': row.volume_id}
        if self._minor >= 3:
            shown['delete_on_termination'] = row.delete_on_termination
        return shown

    def _place(self, server: models.Server) -> dict[str, Any]:
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

    def _later(self, server: models.Server, alone: bool) -> dict[str, Any]:
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


class ServersController(Controller):
    """Servers."""

    @route('GET', '/servers', query=QUERY, rules=_INDEX)
    def index(self, req: Request) -> dict[str, Any]:
        """List servers."""
        rows, page = self._list(req)
        views = ServerView(req, self.settings)
        return self._reply(req, page, rows, [views.summary(row) for row in rows])

    @route('GET', '/servers/detail', query=QUERY, rules=(*_INDEX, *_PLACE))
    def detail(self, req: Request) -> dict[str, Any]:
        """List servers with all that is known of them."""
        rows, page = self._list(req)
        volumes = self.engine.servers.list_volumes(rows)
        views = self._views(req)
        return self._reply(req, page, rows, [views.detail(row, volumes[row.id]) for row in rows])

    @route('GET', '/servers/{server_id}', rules=(_PREFIX + 'servers:show', *_PLACE))
    def show(self, req: Request, server_id: str) -> dict[str, Any]:
        """Show a server."""
        row = self.engine.servers.show(req.ctx, server_id)
        volumes = self.engine.servers.list_volumes([row])
        return {'server': self._views(req).detail(row, volumes[row.id], alone=True)}

    def _views(self, req: Request) -> ServerView:
        return ServerView(
            req,
            self.settings,
            sees_hosts=self.engine.servers.sees_hosts(req.ctx),
            hosts=self.engine.servers.list_hosts(req.ctx) if req.minor >= 16 else None,
        )

    def _list(self, req: Request) -> tuple[list[models.Server], Page]:
        query = req.query
        page = paging.parse_page(
            {key: query[key] for key in ('limit', 'marker') if key in query},
            self.settings,
            {'created_at': 'created_at', 'id': 'id'},
        )
        page = dataclasses.replace(page, sort=_parse_sort(req) or page.sort)
        all_projects = _wants_all(query)
        wanted = {key: value for key, value in query.items() if key in FILTERS}
        if 'status' in wanted:
            wanted['status'] = _parse_status(req)
        conditions = server_conditions(req.ctx, wanted, req.minor, all_projects=all_projects)
        try:
            return self.engine.servers.list_page(req.ctx, conditions, page, all_projects=all_projects), page
        except errors.NotFound as exc:
            raise errors.InvalidInput(f'marker [{page.marker}] not found') from exc

    def _reply(
        self, req: Request, page: Page, rows: list[models.Server], shown: list[dict[str, Any]]
    ) -> dict[str, Any]:
        reply: dict[str, Any] = {'servers': shown}
        if rows and len(rows) == page.limit:
            kept = [(key, value) for key, value in req.GET.items() if key != 'marker']
            tail = urlencode([*kept, ('marker', rows[-1].id)])
            reply['servers_links'] = [{'rel': 'next', 'href': f'{paging.collection_url(req, self.settings)}?{tail}'}]
        return reply


def _wants_all(query: dict[str, str]) -> bool:
    """Read ``all_tenants``; alone it means yes."""
    value = query.get('all_tenants')
    if not value:
        return value is not None
    try:
        return bool(strutils.bool_from_string(value, strict=True))
    except ValueError as exc:
        raise errors.InvalidInput(f'Invalid boolean value {value[:64]!r} of all_tenants.') from exc


def _parse_status(req: Request) -> str:
    """Return the wished statuses with commas between; unknown ones are refused from 2.38."""
    wanted = [value.upper() for value in req.GET.getall('status')]
    if req.minor >= 38 and not domain.STATUSES.intersection(wanted):
        raise errors.InvalidInput('Invalid status value')
    return ','.join(wanted)


def _parse_sort(req: Request) -> tuple[tuple[str, str], ...]:
    """Read ``sort_key`` and ``sort_dir``, which may be repeated; directions may be fewer."""
    keys, directions = req.GET.getall('sort_key'), req.GET.getall('sort_dir')
    if unknown := set(directions).difference(_DIRECTIONS):
        raise errors.InvalidInput(f'Unknown sort direction {min(unknown)[:64]}; use asc or desc.')
    if len(directions) > max(len(keys), 1):
        raise errors.InvalidInput('There are more sort directions than sort keys.')
    default = directions[0] if directions else 'desc'
    if not keys:
        return (('created_at', default), ('id', default)) if directions else ()
    sort: dict[str, str] = {}
    for position, key in enumerate(keys):
        if key not in SORT_KEYS:
            raise errors.InvalidInput(f'Unknown sort key {key[:64]}.')
        if key in ADMIN_SORT_KEYS and not req.ctx.is_admin:
            raise errors.NotAuthorized('Only administrators can sort servers by host or node.')
        column = SORT_KEYS[key]
        if column is not None:
            sort.setdefault(column, directions[position] if position < len(directions) else default)
    return tuple(sort.items())
