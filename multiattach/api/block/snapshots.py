# SPDX-License-Identifier: Apache-2.0
"""Snapshots, their metadata, and actions on them."""

from collections.abc import Mapping
from typing import Any

import pecan
from oslo_utils import strutils

from multiattach.api import paging
from multiattach.api.actions import ANY_BODY, ActionController, action
from multiattach.api.block.volumes.schemas import METADATA, METADATA_ITEM, SET_METADATA, SET_METADATA_ITEM, WITH_COUNT
from multiattach.api.elements import format_time
from multiattach.api.request import Request
from multiattach.api.routing import Controller, route
from multiattach.api.schemas import requests
from multiattach.api.schemas.replies import (
    COUNT,
    NULL,
    TEXT,
    TEXT_OR_NULL,
    TEXTS,
    TIME,
    TIME_OR_NULL,
    UUID,
    Schema,
    one,
    page,
    strict,
)
from multiattach.db import models
from multiattach.domain import errors, idents
from multiattach.engine import queries
from multiattach.engine.snapshots import SnapshotWish

_SORT_NAME, _GROUPS, _USER, _QUOTA, _IN_USE = 30, 14, 41, 65, 66
_GET, _LIST, _EXTENDED = (
    'volume:get_snapshot',
    'volume:get_all_snapshots',
    ('volume_extension:extended_snapshot_attributes'),
)
_GET_METADATA, _SET_METADATA = 'volume:get_snapshot_metadata', 'volume:update_snapshot_metadata'
_ADMIN = 'volume_extension:snapshot_admin_actions:'
_PREFIX = 'os-extended-snapshot-attributes:'
_ONE = '/snapshots/{snapshot_id}'
_FORCE = (
    "Since microversion 3.66 the 'force' flag is invalid for this request. For backward compatibility, however, when "
    "the 'force' flag is passed with a value evaluating to True, it is silently ignored."
)

_CREATE = requests.wrap(
    'snapshot',
    requests.fields(
        {
            'name': requests.TEXT_OR_NULL,
            'display_name': requests.TEXT_OR_NULL,
            'description': requests.TEXT_OR_NULL,
            'volume_id': requests.UUID_OR_NULL,
            'force': {'anyOf': [requests.BOOLEAN, {'type': 'null'}]},
            'metadata': {'anyOf': [requests.METADATA, {'type': 'null'}]},
        },
        'volume_id',
    ),
)
_UPDATE = requests.wrap(
    'snapshot',
    requests.fields(
        {
            'name': requests.TEXT_OR_NULL,
            'display_name': requests.TEXT_OR_NULL,
            'description': requests.TEXT_OR_NULL,
            'display_description': requests.TEXT_OR_NULL,
        },
        minProperties=1,
    ),
)
_INDEX = requests.query({'all_tenants': requests.BOOLEAN_QUERY, 'with_count': requests.BOOLEAN_QUERY})
_FIELDS: Schema = {
    'id': UUID,
    'created_at': TIME,
    'updated_at': TIME_OR_NULL,
    'name': TEXT_OR_NULL,
    'description': TEXT_OR_NULL,
    'volume_id': UUID,
    'status': TEXT,
    'size': {'type': 'integer', 'minimum': 1},
    'metadata': TEXTS,
}
_LATER: Mapping[int, Schema] = {
    _GROUPS: {'group_snapshot_id': NULL},
    _USER: {'user_id': TEXT_OR_NULL},
    _QUOTA: {'consumes_quota': {'const': True}},
}
_EXTRA: Schema = {f'{_PREFIX}project_id': TEXT, f'{_PREFIX}progress': TEXT}


def _detail(minor: int, optional: Schema | None = None) -> Schema:
    later = {key: schema for since, piece in _LATER.items() if since <= minor for key, schema in piece.items()}
    return strict({**_FIELDS, **later}, optional)


def _page(minor: int, item: Schema) -> Schema:
    return page('snapshots', item, optional={'count': COUNT} if minor >= WITH_COUNT else {})


def _listed(minor: int) -> Schema:
    return _page(minor, strict(_FIELDS))


def _detailed(minor: int) -> Schema:
    return _page(minor, _detail(minor, _EXTRA))


def _shown(minor: int) -> Schema:
    return one('snapshot', _detail(minor, _EXTRA))


def changed(minor: int) -> Schema:
    return one('snapshot', _detail(minor))


class SnapshotsController(Controller):
    """``/snapshots``."""

    @route('GET', '/snapshots', query=_INDEX, reply=_listed, rules=(_LIST,))
    def index(self, req: Request) -> dict[str, Any]:
        """List snapshots."""
        return self._list(req, detail=False)

    @route('GET', '/snapshots/detail', query=_INDEX, reply=_detailed, rules=(_LIST, _EXTENDED))
    def detail(self, req: Request) -> dict[str, Any]:
        """List snapshots with all that belongs to them."""
        return self._list(req, detail=True)

    def _list(self, req: Request, *, detail: bool) -> dict[str, Any]:
        query = req.query
        keys = dict(queries.SNAPSHOT_SORT_KEYS)
        if req.minor >= _SORT_NAME:
            keys['name'] = 'display_name'
        wanted = paging.parse_page(query, self.settings, keys)
        conditions = queries.snapshot_conditions(req.ctx, paging.filters(query), req.minor)
        everybody = _is_set(query, 'all_tenants')
        found = self.engine.snapshots.list_page(req.ctx, conditions, wanted, all_projects=everybody)

        def show(row: models.SnapshotDetail) -> dict[str, Any]:
            return self._show(req, row, extended=True) if detail else _summarise(row)

        reply = paging.reply(req, self.settings, wanted, found, 'snapshots', show)
        if req.minor >= WITH_COUNT and _is_set(query, 'with_count'):
            reply['count'] = self.engine.snapshots.count(req.ctx, conditions, all_projects=everybody)
        return reply

    def _show(self, req: Request, row: models.SnapshotDetail, *, extended: bool = False) -> dict[str, Any]:
        view = show(req, row)
        if extended and self.engine.policy.allows(req.ctx, _EXTENDED, row.project_id):
            view[f'{_PREFIX}project_id'] = row.project_id
            view[f'{_PREFIX}progress'] = row.progress
        return view

    @route(
        'POST', '/snapshots', status=202, body=_CREATE, reply=changed, rules=('volume:create_snapshot', 'volume:get')
    )
    def create(self, req: Request, body: dict[str, Any]) -> dict[str, Any]:
        """Take a snapshot of a volume."""
        wanted = body['snapshot']
        volume_id = idents.normalise(str(wanted['volume_id']))
        self.engine.volumes.show(req.ctx, volume_id)  # who may not see it gets 404
        force = None if wanted.get('force') is None else strutils.bool_from_string(wanted['force'], strict=True)
        if force is False and req.minor >= _IN_USE:
            raise errors.InvalidInput(_FORCE)
        wish = SnapshotWish(
            volume_id,
            name=_pick(wanted, 'name', 'display_name'),
            description=_pick(wanted, 'description'),
            metadata=wanted.get('metadata') or {},
            in_use_allowed=bool(force) or req.minor >= _IN_USE,
        )
        return {'snapshot': self._show(req, self.engine.snapshots.create(req.ctx, wish))}

    @route('GET', _ONE, reply=_shown, rules=(_GET, _EXTENDED))
    def show(self, req: Request, snapshot_id: str) -> dict[str, Any]:
        """Show a snapshot."""
        found = self.engine.snapshots.show(req.ctx, snapshot_id)
        return {'snapshot': self._show(req, found, extended=True)}

    @route('PUT', _ONE, body=_UPDATE, reply=changed, rules=('volume:update_snapshot',))
    def update(self, req: Request, body: dict[str, Any], snapshot_id: str) -> dict[str, Any]:
        """Change a snapshot's name or description."""
        wanted = body['snapshot']
        changes = {
            column: _pick(wanted, *keys)
            for column, *keys in (
                ('display_name', 'name', 'display_name'),
                ('display_description', 'description', 'display_description'),
            )
            if any(key in wanted for key in keys)
        }
        return {'snapshot': self._show(req, self.engine.snapshots.update(req.ctx, snapshot_id, changes))}

    @route('DELETE', _ONE, status=202, rules=('volume:delete_snapshot',))
    def delete(self, req: Request, snapshot_id: str) -> None:
        """Delete a snapshot."""
        self.engine.snapshots.delete(req.ctx, snapshot_id)

    # -- metadata ----------------------------------------------------------------------------------

    @route('GET', _ONE + '/metadata', reply=METADATA, rules=(_GET_METADATA,))
    def list_metadata(self, req: Request, snapshot_id: str) -> dict[str, Any]:
        """Read a snapshot's metadata."""
        return {'metadata': self.engine.snapshots.show(req.ctx, snapshot_id, _GET_METADATA).metadata}

    @route('POST', _ONE + '/metadata', body=SET_METADATA, reply=METADATA, rules=(_SET_METADATA,))
    def add_metadata(self, req: Request, body: dict[str, Any], snapshot_id: str) -> dict[str, Any]:
        """Set metadata; items that are not named stay."""
        wanted = body['metadata']
        return {'metadata': self.engine.snapshots.set_metadata(req.ctx, snapshot_id, wanted, keep_others=True)}

    @route('PUT', _ONE + '/metadata', body=SET_METADATA, reply=METADATA, rules=(_SET_METADATA,))
    def replace_metadata(self, req: Request, body: dict[str, Any], snapshot_id: str) -> dict[str, Any]:
        """Replace the metadata."""
        wanted = body['metadata']
        return {'metadata': self.engine.snapshots.set_metadata(req.ctx, snapshot_id, wanted, keep_others=False)}

    @route('GET', _ONE + '/metadata/{key}', reply=METADATA_ITEM, rules=(_GET_METADATA,))
    def show_metadata(self, req: Request, snapshot_id: str, key: str) -> dict[str, Any]:
        """Read one item."""
        items = self.engine.snapshots.show(req.ctx, snapshot_id, _GET_METADATA).metadata
        if key not in items:
            raise errors.NotFound(f'Snapshot {snapshot_id} has no metadata with key {key}.')
        return {'meta': {key: items[key]}}

    @route('PUT', _ONE + '/metadata/{key}', body=SET_METADATA_ITEM, reply=METADATA_ITEM, rules=(_SET_METADATA,))
    def update_metadata(self, req: Request, body: dict[str, Any], snapshot_id: str, key: str) -> dict[str, Any]:
        """Set one item."""
        if key not in body['meta']:
            raise errors.InvalidInput('Request body and URI mismatch')
        items = self.engine.snapshots.set_metadata(req.ctx, snapshot_id, body['meta'], keep_others=True)
        return {'meta': {key: items[key]}}

    @route('DELETE', _ONE + '/metadata/{key}', rules=('volume:delete_snapshot_metadata',))
    def delete_metadata(self, req: Request, snapshot_id: str, key: str) -> None:
        """Delete one item."""
        self.engine.snapshots.delete_metadata(req.ctx, snapshot_id, key)


class SnapshotActionsController(ActionController):
    """``POST /snapshots/{snapshot_id}/action``."""

    @route('POST', _ONE + '/action', body=ANY_BODY)
    def act(self, req: Request, body: Any, snapshot_id: str) -> pecan.Response:
        """Carry out an action."""
        return self.run(req, body, snapshot_id)

    @action('os-reset_status', requests.fields({'status': requests.WORD}, 'status'), rules=(_ADMIN + 'reset_status',))
    def reset_status(self, req: Request, snapshot_id: str, value: dict[str, Any]) -> None:
        """Put a snapshot's status right."""
        self.engine.snapshots.reset_status(req.ctx, snapshot_id, value['status'].lower())

    @action('os-force_delete', rules=(_ADMIN + 'force_delete',))
    def force_delete(self, req: Request, snapshot_id: str, _value: Any) -> None:
        """Delete a snapshot in any status but that of a revert."""
        self.engine.snapshots.delete(req.ctx, snapshot_id, force=True)

    @action('os-unmanage', rules=('snapshot_extension:snapshot_unmanage',))
    def unmanage(self, req: Request, snapshot_id: str, _value: Any) -> None:
        """Delete a snapshot and leave its storage to others."""
        self.engine.manageable_snapshots.unmanage(req.ctx, snapshot_id)

    @action(
        'os-update_snapshot_status',
        requests.fields({'status': requests.WORD, 'progress': requests.TEXT}, 'status'),
        rules=('snapshot_extension:snapshot_actions:update_snapshot_status',),
    )
    def update_status(self, req: Request, snapshot_id: str, value: dict[str, Any]) -> None:
        """Set status and progress of a snapshot that is being taken or deleted."""
        self.engine.snapshots.update_status(req.ctx, snapshot_id, value['status'], value.get('progress'))


def show(req: Request, row: models.SnapshotDetail) -> dict[str, Any]:
    """Show a snapshot as the answers to requests that change it do."""
    view = _summarise(row)
    if req.minor >= _GROUPS:
        view['group_snapshot_id'] = None
    if req.minor >= _USER:
        view['user_id'] = row.user_id
    if req.minor >= _QUOTA:
        view['consumes_quota'] = True
    return view


def _summarise(row: models.SnapshotDetail) -> dict[str, Any]:
    return {
        'id': row.id,
        'created_at': format_time(row.created_at),
        'updated_at': format_time(row.updated_at),
        'name': row.display_name,
        'description': row.display_description,
        'volume_id': row.volume_id,
        'status': row.status,
        'size': row.size,
        'metadata': row.metadata,
    }


def _is_set(query: Mapping[str, str], name: str) -> bool:
    return name in query and queries.parse_boolean(query[name])


def _pick(wanted: Mapping[str, Any], *keys: str) -> str | None:
    """Return the first of several spellings of a text, trimmed."""
    value = next((wanted[key] for key in keys if wanted.get(key) is not None), None)
    return None if value is None else str(value).strip()
