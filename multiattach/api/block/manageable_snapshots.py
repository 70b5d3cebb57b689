# SPDX-License-Identifier: Apache-2.0
"""Snapshots that the storage has and that may be managed, at two paths that are alike; the newer one from 3.8."""

import functools
from typing import Any

from multiattach.api.block.manageable import QUERY, add_at_both, read_query, trim
from multiattach.api.block.snapshots import changed, show
from multiattach.api.request import Request
from multiattach.api.routing import Controller
from multiattach.api.schemas import requests
from multiattach.api.schemas.replies import FLAG, NULL, TEXT, TEXT_OR_NULL, UUID_OR_NULL, Schema, many, one, strict
from multiattach.domain import idents
from multiattach.engine.manageable_snapshots import SnapshotEntry
from multiattach.engine.snapshots import SnapshotWish

_OLD, _NEW = '/os-snapshot-manage', '/manageable_snapshots'
_CREATE = requests.wrap(
    'snapshot',
    requests.fields(
        {
            'volume_id': requests.UUID,
            'ref': {'type': ['object', 'string', 'null']},
            'name': requests.TEXT_OR_NULL,
            'description': requests.TEXT_OR_NULL,
            'metadata': {'anyOf': [requests.METADATA, {'type': 'null'}]},
        },
        'volume_id',
        'ref',
    ),
)
_REFERENCE = strict({'source-name': TEXT})
_SUMMARY: Schema = {
    'reference': _REFERENCE,
    'size': {'type': 'integer', 'minimum': 1},
    'safe_to_manage': FLAG,
    'source_reference': {'anyOf': [_REFERENCE, NULL]},
}
_DETAIL = strict({**_SUMMARY, 'reason_not_safe': TEXT_OR_NULL, 'cinder_id': UUID_OR_NULL, 'extra_info': NULL})
_KEY = 'manageable-snapshots'


def _show(entry: SnapshotEntry) -> dict[str, Any]:
    return {
        'reference': {'source-name': entry.name},
        'size': entry.size,
        'safe_to_manage': entry.reason is None,
        'source_reference': None if entry.origin is None else {'source-name': entry.origin},
    }


def _detail(entry: SnapshotEntry) -> dict[str, Any]:
    return {**_show(entry), 'reason_not_safe': entry.reason, 'cinder_id': entry.snapshot_id, 'extra_info': None}


class ManageableSnapshotsController(Controller):
    """``/os-snapshot-manage`` and, from 3.8, ``/manageable_snapshots``."""

    def list_page(self, req: Request, *, detail: bool) -> dict[str, Any]:
        place, page = read_query(req, self.settings)
        found = self.engine.manageable_snapshots.list_page(req.ctx, place, page)
        return {_KEY: [(_detail if detail else _show)(entry) for entry in found]}


def _index(self: ManageableSnapshotsController, req: Request) -> dict[str, Any]:
    """List snapshots of a backend's storage that may be managed."""
    return self.list_page(req, detail=False)


def _index_detail(self: ManageableSnapshotsController, req: Request) -> dict[str, Any]:
    """List the same, and say why something may not be managed."""
    return self.list_page(req, detail=True)


def _create(self: ManageableSnapshotsController, req: Request, body: dict[str, Any]) -> dict[str, Any]:
    """Make a snapshot of what the storage has."""
    wanted = body['snapshot']
    wish = SnapshotWish(
        idents.normalise(wanted['volume_id']),
        name=trim(wanted, 'name'),
        description=trim(wanted, 'description'),
        metadata=wanted.get('metadata') or {},
    )
    made = self.engine.manageable_snapshots.manage(req.ctx, wish, wanted['ref'])
    return {'snapshot': show(req, made)}


_add = functools.partial(add_at_both, ManageableSnapshotsController, _OLD, _NEW)


_LIST_RULES = ('snapshot_extension:list_manageable',)
_add('GET', '', _index, query=QUERY, reply=one(_KEY, many(strict(_SUMMARY))), rules=_LIST_RULES)
_add('GET', '/detail', _index_detail, query=QUERY, reply=one(_KEY, many(_DETAIL)), rules=_LIST_RULES)
_add('POST', '', _create, status=202, body=_CREATE, reply=changed, rules=('snapshot_extension:snapshot_manage',))
