# SPDX-License-Identifier: Apache-2.0
"""``/servers``: the libvirt domains of the host agents, to be looked up."""

import dataclasses
from typing import Any
from urllib.parse import urlencode

from oslo_utils import strutils

from multiattach.api import paging
from multiattach.api.compute import schemas
from multiattach.api.compute.views import ServerViews
from multiattach.api.request import Request
from multiattach.api.routing import Controller, route
from multiattach.db.models import Server
from multiattach.domain import errors
from multiattach.domain import servers as domain
from multiattach.engine.queries import Page
from multiattach.engine.server_queries import ADMIN_SORT_KEYS, FILTERS, SORT_KEYS, server_conditions

_DIRECTIONS = ('asc', 'desc')


class ServersController(Controller):
    """Servers."""

    @route('GET', '/servers', query=schemas.SERVERS)
    def index(self, req: Request) -> dict[str, Any]:
        """List servers."""
        rows, page = self._list(req)
        views = ServerViews(req, self.settings)
        return self._reply(req, page, rows, [views.summary(row) for row in rows])

    @route('GET', '/servers/detail', query=schemas.SERVERS)
    def detail(self, req: Request) -> dict[str, Any]:
        """List servers with all that is known of them."""
        rows, page = self._list(req)
        volumes = self.engine.servers.list_volumes(rows)
        views = self._views(req)
        return self._reply(req, page, rows, [views.detail(row, volumes[row.id]) for row in rows])

    @route('GET', '/servers/{server_id}')
    def show(self, req: Request, server_id: str) -> dict[str, Any]:
        """Show a server."""
        row = self.engine.servers.show(req.ctx, server_id)
        volumes = self.engine.servers.list_volumes([row])
        return {'server': self._views(req).detail(row, volumes[row.id], alone=True)}

    def _views(self, req: Request) -> ServerViews:
        return ServerViews(
            req,
            self.settings,
            sees_hosts=self.engine.servers.sees_hosts(req.ctx),
            hosts=self.engine.servers.list_hosts(req.ctx) if req.minor >= 16 else None,
        )

    def _list(self, req: Request) -> tuple[list[Server], Page]:
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

    def _reply(self, req: Request, page: Page, rows: list[Server], shown: list[dict[str, Any]]) -> dict[str, Any]:
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
