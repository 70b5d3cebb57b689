# SPDX-License-Identifier: Apache-2.0
"""Metadata of volumes (contract 10.2), from 3.15 with entity tags."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import pecan

from multiattach.api import routing
from multiattach.api.block.volumes import schemas
from multiattach.api.request import Request
from multiattach.api.routing import Controller, route
from multiattach.domain import errors
from multiattach.engine.volumes import MetadataCheck

_ETAGS = 15
_ALL = '/volumes/{volume_id}/metadata'
_GET = 'volume:get_volume_metadata'
_ONE = _ALL + '/{key}'


class MetadataController(Controller):
    """``/volumes/{volume_id}/metadata``."""

    @route('GET', _ALL, reply=schemas.METADATA, rules=(_GET,))
    def index(self, req: Request, volume_id: str) -> pecan.Response:
        """Read a volume's metadata."""
        return _tag(req, self.engine.volumes.show(req.ctx, volume_id, _GET).metadata)

    @route('POST', _ALL, body=schemas.SET_METADATA, reply=schemas.METADATA, rules=('volume:create_volume_metadata',))
    def create(self, req: Request, body: dict[str, Any], volume_id: str) -> pecan.Response:
        """Set metadata; items that are not named stay."""
        return _tag(
            req,
            self.engine.volumes.set_metadata(
                req.ctx, volume_id, body['metadata'], keep_others=True, check=_make_check(req)
            ),
        )

    @route('PUT', _ALL, body=schemas.SET_METADATA, reply=schemas.METADATA, rules=('volume:update_volume_metadata',))
    def replace(self, req: Request, body: dict[str, Any], volume_id: str) -> pecan.Response:
        """Replace the metadata."""
        return _tag(
            req,
            self.engine.volumes.set_metadata(
                req.ctx, volume_id, body['metadata'], keep_others=False, is_update=True, check=_make_check(req)
            ),
        )

    @route('GET', _ONE, reply=schemas.METADATA_ITEM, rules=(_GET,))
    def show(self, req: Request, volume_id: str, key: str) -> dict[str, Any]:
        """Read one item."""
        items = self.engine.volumes.show(req.ctx, volume_id, _GET).metadata
        if key not in items:
            raise errors.NotFound(f'Volume {volume_id} has no metadata with key {key}.')
        return {'meta': {key: items[key]}}

    @route(
        'PUT',
        _ONE,
        body=schemas.SET_METADATA_ITEM,
        reply=schemas.METADATA_ITEM,
        rules=('volume:update_volume_metadata',),
    )
    def update(self, req: Request, body: dict[str, Any], volume_id: str, key: str) -> dict[str, Any]:
        """Set one item."""
        if key not in body['meta']:
            raise errors.InvalidInput('Request body and URI mismatch')
        items = self.engine.volumes.set_metadata(
            req.ctx, volume_id, body['meta'], keep_others=True, is_update=True, check=_make_check(req)
        )
        return {'meta': {key: items[key]}}

    @route('DELETE', _ONE, rules=('volume:delete_volume_metadata',))
    def delete(self, req: Request, volume_id: str, key: str) -> None:
        """Delete one item."""
        self.engine.volumes.delete_metadata(req.ctx, volume_id, key)


def _show(metadata: Mapping[str, str]) -> tuple[dict[str, Any], str]:
    """Return a reply, the same for the same metadata, and its entity tag."""
    body = {'metadata': dict(sorted(metadata.items()))}
    return body, hashlib.md5(json.dumps(body).encode(), usedforsecurity=False).hexdigest()


def _tag(req: Request, metadata: Mapping[str, str]) -> pecan.Response:
    body, tag = _show(metadata)
    response = routing.make_reply(200, body)
    if req.minor >= _ETAGS:
        response.etag = tag
    return response


def _make_check(req: Request) -> MetadataCheck | None:
    """Make what refuses a change of metadata that the client does not know (RFC 9110, 13.1.1)."""
    if req.minor < _ETAGS or 'If-Match' not in req.headers:
        return None

    def check(metadata: Mapping[str, str]) -> None:
        if _show(metadata)[1] not in req.if_match:
            raise errors.PreconditionFailed('The metadata is no longer what If-Match says.')

    return check
