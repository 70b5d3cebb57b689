# SPDX-License-Identifier: Apache-2.0
"""Volumes (contract 4, 10.2)."""

from collections.abc import Mapping
from typing import Any

from oslo_utils import strutils

from multiattach.api import paging
from multiattach.api.block.volumes import schemas
from multiattach.api.block.volumes.views import HOST_RULE, MIGRATION_RULE, TENANT_RULE, VolumeView
from multiattach.api.request import Request
from multiattach.api.routing import Controller, route
from multiattach.api.schemas.replies import NULL, one
from multiattach.domain import errors, idents
from multiattach.engine import queries
from multiattach.engine.volumes import VolumeWish

_FORCE = 23
_SERVER_IMAGES = 46
_ATTRIBUTES = (TENANT_RULE, HOST_RULE, MIGRATION_RULE)
# Sources that this service does not have: naming one is naming nothing.
_UNKNOWN_SOURCES = {'consistencygroup_id': 'ConsistencyGroup', 'group_id': 'Group', 'backup_id': 'Backup'}


class VolumesController(Controller):
    """``/volumes``."""

    @route('GET', '/volumes', query=schemas.INDEX, reply=schemas.listed, rules=('volume:get_all',))
    def index(self, req: Request) -> dict[str, Any]:
        """List volumes by name."""
        return self._list(req, detail=False)

    @route(
        'GET', '/volumes/detail', query=schemas.INDEX, reply=schemas.detailed, rules=('volume:get_all', *_ATTRIBUTES)
    )
    def detail(self, req: Request) -> dict[str, Any]:
        """List volumes with all that belongs to them."""
        return self._list(req, detail=True)

    def _list(self, req: Request, *, detail: bool) -> dict[str, Any]:
        query = req.query
        page = paging.parse_page(query, self.settings, queries.VOLUME_SORT_KEYS)
        conditions = queries.volume_conditions(req.ctx, paging.filters(query), req.minor)
        everybody = _is_set(query, 'all_tenants')
        volumes = self.engine.volumes.list_page(req.ctx, conditions, page, all_projects=everybody)
        view = VolumeView(req, self.settings, self.engine.policy)
        reply = paging.reply(req, self.settings, page, volumes, 'volumes', view.detail if detail else view.summary)
        if req.minor >= schemas.WITH_COUNT and _is_set(query, 'with_count'):
            reply['count'] = self.engine.volumes.count(req.ctx, conditions, all_projects=everybody)[0]
        return reply

    @route(
        'GET', '/volumes/summary', since=12, query=schemas.SUMMARY, reply=schemas.summarised, rules=('volume:get_all',)
    )
    def summarise(self, req: Request) -> dict[str, Any]:
        """Count volumes and add up their sizes."""
        query = req.query
        everybody = _is_set(query, 'all_tenants')
        conditions = queries.volume_conditions(req.ctx, paging.filters(query), req.minor)
        number, size = self.engine.volumes.count(req.ctx, conditions, all_projects=everybody)
        summary: dict[str, Any] = {'total_count': number, 'total_size': size}
        if req.minor >= schemas.SUMMARY_METADATA:
            summary['metadata'] = self.engine.volumes.summarise_metadata(req.ctx, all_projects=everybody)
        return {'volume-summary': summary}

    @route(
        'POST',
        '/volumes',
        status=202,
        body=schemas.CREATE,
        reply=schemas.changed,
        rules=('volume:create', 'volume:create_from_image', 'volume:multiattach', 'volume:get', 'volume:get_snapshot'),
    )
    def create(self, req: Request, body: dict[str, Any]) -> dict[str, Any]:
        """Create a volume."""
        volume = self.engine.volumes.create(req.ctx, self._parse_wish(req, body['volume']))
        view = VolumeView(req, self.settings, self.engine.policy)
        return {'volume': view.detail(volume, extended=False)}

    def _parse_wish(self, req: Request, wanted: Mapping[str, Any]) -> VolumeWish:
        if strutils.bool_from_string(wanted.get('multiattach', False)):
            raise errors.InvalidInput(
                'multiattach parameter has been removed. The default behavior is to use multiattach enabled '
                'volume types. Contact your administrator to create a multiattach enabled volume type and '
                'use it to create multiattach volumes.'
            )
        self._refuse_sources(wanted)
        source = idents.normalise(wanted.get('source_volid') or '') or None
        snapshot = idents.normalise(wanted.get('snapshot_id') or '') or None
        image = wanted.get('image_id') or wanted.get('imageRef') or None
        if source is not None and snapshot is not None:
            raise errors.InvalidInput('May specify only one of snapshot and source volume.')
        if image is not None and (source is not None or snapshot is not None):
            raise errors.InvalidInput('May specify only one of snapshot, imageRef or source volume.')
        size = wanted.get('size')
        if size is None and source is None and snapshot is None and image is None:
            raise errors.InvalidInput("Invalid input received: 'size' must be given.")
        zone = wanted.get('availability_zone') or None
        if zone is not None and zone not in self.engine.services.find_zones():
            raise errors.InvalidInput(f"Availability zone '{zone}' is invalid.")
        return VolumeWish(
            size=None if size is None else int(size),
            type_name=wanted.get('volume_type') or None,
            name=_pick(wanted, 'name', 'display_name'),
            description=_pick(wanted, 'description', 'display_description'),
            zone=zone,
            metadata=wanted.get('metadata') or {},
            source_volid=source,
            snapshot_id=snapshot,
            image_ref=image,
            takes_server_images=req.minor >= _SERVER_IMAGES,
        )

    def _refuse_sources(self, wanted: Mapping[str, Any]) -> None:
        for key, noun in _UNKNOWN_SOURCES.items():
            if wanted.get(key):
                raise errors.NotFound(f'{noun} {wanted[key]} could not be found.')

    @route('GET', '/volumes/{volume_id}', reply=schemas.shown, rules=('volume:get', *_ATTRIBUTES))
    def show(self, req: Request, volume_id: str) -> dict[str, Any]:
        """Show a volume."""
        volume = self.engine.volumes.show(req.ctx, volume_id)
        return {'volume': VolumeView(req, self.settings, self.engine.policy).detail(volume)}

    @route('PUT', '/volumes/{volume_id}', body=schemas.UPDATE, reply=schemas.changed, rules=('volume:update',))
    def update(self, req: Request, body: dict[str, Any], volume_id: str) -> dict[str, Any]:
        """Change a volume's name, description or metadata."""
        wanted = body['volume']
        changes = {}
        for column, *keys in (
            ('display_name', 'name', 'display_name'),
            ('display_description', 'description', 'display_description'),
        ):
            if any(key in wanted for key in keys):
                changes[column] = _pick(wanted, *keys)
        volume = self.engine.volumes.update(req.ctx, volume_id, changes, wanted.get('metadata'))
        view = VolumeView(req, self.settings, self.engine.policy)
        return {'volume': view.detail(volume, extended=False)}

    @route(
        'DELETE',
        '/volumes/{volume_id}',
        status=202,
        query=schemas.DELETE,
        rules=('volume:delete', 'volume:force_delete'),
    )
    def delete(self, req: Request, volume_id: str) -> None:
        """Delete a volume, with ``cascade`` its snapshots, too."""
        force = req.minor >= _FORCE and _is_set(req.query, 'force')
        self.engine.volumes.delete(req.ctx, volume_id, force=force, cascade=_is_set(req.query, 'cascade'))

    @route('GET', '/volumes/{volume_id}/encryption', reply=one('encryption_key_id', NULL), rules=('volume:get',))
    def show_encryption(self, req: Request, volume_id: str) -> dict[str, Any]:
        """Show the encryption of a volume: there is none. Nova asks at each attach."""
        return self._read_encryption(req, volume_id)

    @route('GET', '/volumes/{volume_id}/encryption/{key}', reply=one('encryption_key_id', NULL), rules=('volume:get',))
    def show_encryption_item(self, req: Request, volume_id: str, key: str) -> dict[str, Any]:
        """Show one property of the encryption of a volume."""
        items = self._read_encryption(req, volume_id)
        if key not in items:
            raise errors.NotFound(f'Volume {volume_id} has no encryption property {key[:64]}.')
        return {key: items[key]}

    def _read_encryption(self, req: Request, volume_id: str) -> dict[str, Any]:
        self.engine.volumes.show(req.ctx, volume_id)
        return {'encryption_key_id': None}


def _is_set(query: Mapping[str, str], name: str) -> bool:
    return name in query and queries.parse_boolean(query[name])


def _pick(wanted: Mapping[str, Any], *keys: str) -> str | None:
    """Return the first of several spellings of a text, trimmed."""
    value = next((wanted[key] for key in keys if wanted.get(key) is not None), None)
    return None if value is None else str(value).strip()
