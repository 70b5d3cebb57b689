# SPDX-License-Identifier: Apache-2.0
"""Storage that may become a volume, at two paths that are alike; the newer one from 3.8."""

import functools
from collections.abc import Mapping
from typing import Any

from multiattach.api import paging
from multiattach.api.block.volumes import schemas
from multiattach.api.block.volumes.views import HOST_RULE, MIGRATION_RULE, TENANT_RULE, VolumeView
from multiattach.api.request import Request
from multiattach.api.routing import Controller, route
from multiattach.api.schemas import requests
from multiattach.api.schemas.replies import FLAG, NULL, TEXT, TEXT_OR_NULL, UUID_OR_NULL, Schema, many, one, strict
from multiattach.api.settings import ApiSettings
from multiattach.api.validation import Versioned, flag
from multiattach.db.paging import Page
from multiattach.engine.manageable import Entry, Place, Takeover

_OLD, _NEW, _SINCE = '/os-volume-manage', '/manageable_volumes', 8
_CLUSTER_OF_ONE, _CLUSTER_OF_LIST = 16, 17
_SORT_KEYS = {'reference': 'name', 'size': 'size'}
_WISH: Schema = {
    'ref': {'type': ['object', 'string']},
    'host': requests.TEXT_OR_NULL,
    'name': requests.TEXT_OR_NULL,
    'description': requests.TEXT_OR_NULL,
    'volume_type': requests.TEXT_OR_NULL,
    'availability_zone': requests.TEXT_OR_NULL,
    'bootable': {'anyOf': [requests.BOOLEAN, {'type': 'null'}]},  # the openstack client sends null
    'metadata': {'anyOf': [requests.METADATA, {'type': 'null'}]},
}
_CREATE = Versioned(
    {
        0: requests.wrap('volume', requests.fields(_WISH, 'ref')),
        _CLUSTER_OF_ONE: requests.wrap('volume', requests.fields({**_WISH, 'cluster': requests.TEXT_OR_NULL}, 'ref')),
    }
)
QUERY = requests.query(
    {'host': requests.TEXT, 'cluster': requests.TEXT, 'marker': {'type': 'string', 'maxLength': 600}}
)
_SUMMARY: Schema = {
    'reference': strict({'source-name': TEXT}),
    'size': {'type': 'integer', 'minimum': 1},
    'safe_to_manage': FLAG,
}
_DETAIL = strict({**_SUMMARY, 'reason_not_safe': TEXT_OR_NULL, 'cinder_id': UUID_OR_NULL, 'extra_info': NULL})
_KEY = 'manageable-volumes'


def _show(entry: Entry) -> dict[str, Any]:
    return {'reference': {'source-name': entry.name}, 'size': entry.size, 'safe_to_manage': entry.reason is None}


def _detail(entry: Entry) -> dict[str, Any]:
    return {**_show(entry), 'reason_not_safe': entry.reason, 'cinder_id': entry.volume_id, 'extra_info': None}


class ManageableVolumesController(Controller):
    """``/os-volume-manage`` and, from 3.8, ``/manageable_volumes``."""

    def list_page(self, req: Request, *, detail: bool) -> dict[str, Any]:
        place, page = read_query(req, self.settings)
        found = self.engine.manageable.list_page(req.ctx, place, page)
        return {_KEY: [(_detail if detail else _show)(entry) for entry in found]}


def read_query(req: Request, settings: ApiSettings) -> tuple[Place, Page]:
    """Read whose storage is to be listed, and which page of that."""
    query = {**req.query}
    if not {'sort', 'sort_key', 'sort_dir'} & set(query):
        query['sort'] = 'reference:desc'
    marker = query.pop('marker', None)
    page = paging.with_marker(paging.parse_page(query, settings, _SORT_KEYS), marker)
    cluster = query.get('cluster') if req.minor >= _CLUSTER_OF_LIST else None
    return (query.get('host'), cluster), page


def _index(self: ManageableVolumesController, req: Request) -> dict[str, Any]:
    """List storage of a backend that may be managed."""
    return self.list_page(req, detail=False)


def _index_detail(self: ManageableVolumesController, req: Request) -> dict[str, Any]:
    """List the same, and say why something may not be managed."""
    return self.list_page(req, detail=True)


def _create(self: ManageableVolumesController, req: Request, body: dict[str, Any]) -> dict[str, Any]:
    """Make a volume of storage that is there."""
    wanted = body['volume']
    volume = self.engine.manageable.manage(
        req.ctx,
        Takeover(
            (wanted.get('host'), wanted.get('cluster')),
            wanted['ref'],
            wanted.get('volume_type') or None,
            name=trim(wanted, 'name'),
            description=trim(wanted, 'description'),
            zone=trim(wanted, 'availability_zone'),
            bootable=flag(wanted, 'bootable'),
            metadata=wanted.get('metadata') or {},
        ),
    )
    return {'volume': VolumeView(req, self.settings, self.engine.policy).detail(volume)}


def trim(wanted: Mapping[str, Any], key: str) -> str | None:
    return (wanted.get(key) or '').strip() or None


def add_at_both(
    controller: type[Controller], old: str, new: str, method: str, path: str, handler: Any, **more: Any
) -> None:
    """Serve a call at the older path and, from 3.8, at the newer one."""
    for base, since in ((old, 0), (new, _SINCE)):
        made = route(method, base + path, since=since, **more)(handler)
        setattr(controller, f'{method.lower()}{base}{path}'.replace('/', '_').replace('-', '_'), made)


_add = functools.partial(add_at_both, ManageableVolumesController, _OLD, _NEW)


_LIST_RULES = ('volume_extension:list_manageable',)
_add('GET', '', _index, query=QUERY, reply=one(_KEY, many(strict(_SUMMARY))), rules=_LIST_RULES)
_add('GET', '/detail', _index_detail, query=QUERY, reply=one(_KEY, many(_DETAIL)), rules=_LIST_RULES)
_add(
    'POST',
    '',
    _create,
    status=202,
    body=_CREATE,
    reply=schemas.shown,
    rules=('volume_extension:volume_manage', 'volume:multiattach', TENANT_RULE, HOST_RULE, MIGRATION_RULE),
)
