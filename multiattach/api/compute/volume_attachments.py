# SPDX-License-Identifier: Apache-2.0
"""``/servers/{id}/os-volume_attachments``: volumes of a server (requirement rows 17 and 18)."""

from typing import Any

from oslo_utils import strutils

from multiattach.api.compute import schemas, views
from multiattach.api.request import Request
from multiattach.api.routing import Controller, route
from multiattach.db.models import Attachment
from multiattach.domain import errors
from multiattach.engine.servers import ServerAttach

_ALL = '/servers/{server_id}/os-volume_attachments'
_ONE = _ALL + '/{volume_id}'
_MULTIATTACH = 60
_UPDATE = 85


class VolumeAttachmentsController(Controller):
    """Volumes of a server; the volume's id is the attachment's name in URLs."""

    @route('GET', _ALL, query=schemas.ATTACHMENTS)
    def index(self, req: Request, server_id: str) -> dict[str, Any]:
        """List a server's volumes."""
        rows = self.engine.servers.list_attachments(req.ctx, server_id)
        offset = int(req.query.get('offset', 0))
        limit = min(int(req.query.get('limit', 0)) or self.settings.max_limit, self.settings.max_limit)
        return {'volumeAttachments': [views.attachment(row, req.minor) for row in rows[offset : offset + limit]]}

    @route('GET', _ONE)
    def show(self, req: Request, server_id: str, volume_id: str) -> dict[str, Any]:
        """Show a volume of a server."""
        row = self.engine.servers.show_attachment(req.ctx, server_id, volume_id)
        return {'volumeAttachment': views.attachment(row, req.minor)}

    @route('POST', _ALL, body=schemas.CREATE)
    def create(self, req: Request, body: dict[str, Any], server_id: str) -> dict[str, Any]:
        """Attach a volume; the host's agent does it after the reply."""
        wish = body['volumeAttachment']
        row = self.engine.servers.attach(
            req.ctx,
            server_id,
            ServerAttach(
                volume_id=wish['volumeId'],
                device=wish.get('device'),
                tag=wish.get('tag'),
                delete_on_termination=_parse_flag(wish.get('delete_on_termination', False)),
                supports_multiattach=req.minor >= _MULTIATTACH,
            ),
        )
        return {'volumeAttachment': views.new_attachment(row, req.minor)}

    @route('PUT', _ONE, body=schemas.UPDATE, status=202)
    def update(self, req: Request, body: dict[str, Any], server_id: str, volume_id: str) -> None:
        """Change what happens to the volume when the server is deleted (2.85).

        Nova's other meaning, to put another volume in its place, is for migrating volumes only.
        """
        row = self.engine.servers.show_attachment(req.ctx, server_id, volume_id)
        wish = body['volumeAttachment']
        if req.minor < _UPDATE or wish['volumeId'] != volume_id:
            raise errors.Conflict(
                f'volume {volume_id} is not migrating; this API should only be called by the Block Storage service'
            )
        _check_unchanged(row, wish)
        flag = wish.get('delete_on_termination')
        self.engine.servers.update_attachment(
            req.ctx, server_id, volume_id, None if flag is None else _parse_flag(flag)
        )

    @route('DELETE', _ONE, status=202)
    def delete(self, req: Request, server_id: str, volume_id: str) -> None:
        """Detach a volume; the host's agent does it after the reply."""
        self.engine.servers.detach(req.ctx, server_id, volume_id)


def _check_unchanged(row: Attachment, wish: dict[str, Any]) -> None:
    """Refuse to change what cannot be changed; clients may send back what they have read."""
    fixed = {'id': row.volume_id, 'serverId': row.instance_uuid, 'device': row.mountpoint, 'tag': row.tag}
    for key, value in fixed.items():
        if key in wish and wish[key] != value:
            raise errors.InvalidInput(f'The {key} property is not mutable')


def _parse_flag(value: bool | str) -> bool:
    return bool(strutils.bool_from_string(value))
