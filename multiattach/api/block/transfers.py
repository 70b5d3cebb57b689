# SPDX-License-Identifier: Apache-2.0
"""Transfers of volumes between projects, at two paths: the older one never says that snapshots stay behind."""

from collections.abc import Mapping
from typing import Any

from multiattach.api import paging
from multiattach.api.elements import Links, format_time
from multiattach.api.request import Request
from multiattach.api.routing import Controller, Handler, route
from multiattach.api.schemas import requests
from multiattach.api.schemas.replies import FLAG, LINKS, TEXT, TEXT_OR_NULL, TIME, UUID, Schema, one, page, strict
from multiattach.api.validation import flag
from multiattach.db import models
from multiattach.engine import queries

_SNAPSHOTS, _HISTORY, _SORTED = 55, 57, 59
_OLD, _NEW = '/os-volume-transfer', '/volume-transfers'
_QUERY = requests.query({'all_tenants': requests.BOOLEAN_QUERY})
_WISH = {'volume_id': requests.UUID, 'name': requests.TEXT_OR_NULL}
_CREATE: Mapping[str, Schema] = {
    _OLD: requests.wrap('transfer', requests.fields(_WISH, 'volume_id')),
    _NEW: requests.wrap('transfer', requests.fields({**_WISH, 'no_snapshots': requests.BOOLEAN}, 'volume_id')),
}
_KEY = {'type': ['string', 'integer'], 'minLength': 1, 'maxLength': 255}
_ACCEPT = requests.wrap('accept', requests.fields({'auth_key': _KEY}, 'auth_key'))
_SUMMARY = {'id': UUID, 'volume_id': UUID, 'name': TEXT_OR_NULL, 'links': LINKS}
_ACCEPTED = one('transfer', strict(_SUMMARY))


def _describe(minor: int, more: Schema) -> Schema:
    later = {'no_snapshots': FLAG} if minor >= _SNAPSHOTS else {}
    history = {'source_project_id': TEXT, 'destination_project_id': TEXT_OR_NULL, 'accepted': FLAG}
    return strict({**_SUMMARY, 'created_at': TIME, **more, **later, **(history if minor >= _HISTORY else {})})


def _created(minor: int) -> Schema:
    return one('transfer', _describe(minor, {'auth_key': TEXT}))


def _shown(minor: int) -> Schema:
    return one('transfer', _describe(minor, {}))


def _detailed(minor: int) -> Schema:
    return page('transfers', _describe(minor, {}))


def _show(req: Request, transfer: models.Transfer, links: Links) -> dict[str, Any]:
    return {
        'id': transfer.id,
        'volume_id': transfer.volume_id,
        'name': transfer.display_name,
        'links': links.of(_OLD[1:], transfer.id),
    }


def _detail(req: Request, transfer: models.Transfer, links: Links) -> dict[str, Any]:
    view = {**_show(req, transfer, links), 'created_at': format_time(transfer.created_at)}
    if req.minor >= _SNAPSHOTS:
        view['no_snapshots'] = transfer.no_snapshots
    if req.minor >= _HISTORY:
        view |= {
            'source_project_id': transfer.source_project_id,
            'destination_project_id': transfer.destination_project_id,
            'accepted': transfer.accepted,
        }
    return view


class TransfersController(Controller):
    """``/os-volume-transfer`` and, from 3.55, ``/volume-transfers``."""

    def list_page(self, req: Request, *, detail: bool) -> dict[str, Any]:
        query = req.query
        wanted = paging.parse_page(query, self.settings, queries.TRANSFER_SORT_KEYS)
        if req.minor < _SORTED and not {'sort', 'sort_key', 'sort_dir'} & set(query):
            wanted = paging.sort_by_age(wanted)
        found = self.engine.transfers.list_page(
            req.ctx,
            queries.transfer_conditions(req.ctx, paging.filters(query), req.minor),
            wanted,
            all_projects='all_tenants' in query and queries.parse_boolean(query['all_tenants']),
        )
        links, show = Links(req, self.settings), _detail if detail else _show
        return paging.reply(req, self.settings, wanted, found, 'transfers', lambda row: show(req, row, links))


def _index(self: TransfersController, req: Request) -> dict[str, Any]:
    """List open transfers."""
    return self.list_page(req, detail=False)


def _index_detail(self: TransfersController, req: Request) -> dict[str, Any]:
    """List open transfers with all that belongs to them."""
    return self.list_page(req, detail=True)


def _create(self: TransfersController, req: Request, body: dict[str, Any]) -> dict[str, Any]:
    """Offer a volume to another project; the reply alone has the key."""
    wanted = body['transfer']
    name = wanted.get('name')
    made, key = self.engine.transfers.create(
        req.ctx, wanted['volume_id'], None if name is None else name.strip(), no_snapshots=flag(wanted, 'no_snapshots')
    )
    return {'transfer': {**_detail(req, made, Links(req, self.settings)), 'auth_key': key}}


def _show_one(self: TransfersController, req: Request, transfer_id: str) -> dict[str, Any]:
    """Show an open transfer."""
    return {'transfer': _detail(req, self.engine.transfers.show(req.ctx, transfer_id), Links(req, self.settings))}


def _accept(self: TransfersController, req: Request, body: dict[str, Any], transfer_id: str) -> dict[str, Any]:
    """Take over the volume of a transfer."""
    done = self.engine.transfers.accept(req.ctx, transfer_id, str(body['accept']['auth_key']))
    return {'transfer': _show(req, done, Links(req, self.settings))}


def _delete(self: TransfersController, req: Request, transfer_id: str) -> None:
    """Withdraw the offer of a volume."""
    self.engine.transfers.delete(req.ctx, transfer_id)


def _add(name: str, method: str, path: str, handler: Handler, **more: Any) -> None:
    for base, since in ((_OLD, 0), (_NEW, _SNAPSHOTS)):
        body = {'body': more['body'][base]} if isinstance(more.get('body'), dict) and _OLD in more['body'] else {}
        made = route(method, base + path, since=since, **{**more, **body})(handler)
        setattr(TransfersController, f'{name}{base}'.replace('/', '_').replace('-', '_'), made)


_add(
    'index',
    'GET',
    '',
    _index,
    query=_QUERY,
    reply=page('transfers', strict(_SUMMARY)),
    rules=('volume:get_all_transfers',),
)
_add('detail', 'GET', '/detail', _index_detail, query=_QUERY, reply=_detailed, rules=('volume:get_all_transfers',))
_add('create', 'POST', '', _create, status=202, body=_CREATE, reply=_created, rules=('volume:create_transfer',))
_add('show', 'GET', '/{transfer_id}', _show_one, reply=_shown, rules=('volume:get_transfer',))
_add(
    'accept',
    'POST',
    '/{transfer_id}/accept',
    _accept,
    status=202,
    body=_ACCEPT,
    reply=_ACCEPTED,
    rules=('volume:accept_transfer', 'volume:multiattach'),
)
_add('delete', 'DELETE', '/{transfer_id}', _delete, status=202, rules=('volume:delete_transfer',))
