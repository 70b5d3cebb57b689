# SPDX-License-Identifier: Apache-2.0
"""``/servers/{id}/os-volume_attachments``: volumes of a server (requirement rows 17 and 18)."""

from typing import Any

from multiattach.api.request import Request
from multiattach.api.routing import Controller, route
from multiattach.api.schemas import requests
from multiattach.api.validation import Versioned, flag
from multiattach.db import models
from multiattach.domain import errors
from multiattach.engine.servers import ServerAttach

_ALL = '/servers/{server_id}/os-volume_attachments'
_ONE = _ALL + '/{volume_id}'
_MULTIATTACH = 60
_UPDATE = 85
_PREFIX = 'os_compute_api:os-volumes-attachments:'

_NUMBER = {'type': 'string', 'pattern': r'^[0-9]{1,18}\Z'}
_PAGE = {'limit': _NUMBER, 'offset': _NUMBER}
_TAG = {'type': 'string', 'pattern': r'^[^,/]*\Z', 'minLength': 1, 'maxLength': 60}
_CHANGE = {'device': requests.DEVICE, 'tag': _TAG, 'delete_on_termination': requests.BOOLEAN}


def _wrap(**properties: requests.Schema) -> requests.Schema:
    inner = requests.fields({'volumeId': requests.UUID, **properties}, 'volumeId')
    return requests.wrap('volumeAttachment', inner)


# After Nova's ``compute/schemas``.
QUERY = Versioned({0: requests.fields(_PAGE, strict=False), 75: requests.fields(_PAGE)})
CREATE = Versioned(
    {0: _wrap(device=requests.DEVICE), 49: _wrap(device=requests.DEVICE, tag=_TAG), 79: _wrap(**_CHANGE)}
)
UPDATE = Versioned({0: _wrap(), 85: _wrap(**_CHANGE, serverId=requests.UUID, id=requests.UUID)})


def detail(row: models.Attachment, minor: int) -> dict[str, Any]:
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


def created(row: models.Attachment, minor: int) -> dict[str, Any]:
    """Show an attachment in the reply to its creation: as :func:`detail` before 2.89."""
    return {**detail(row, min(minor, 88)), 'device': row.mountpoint}


class VolumeAttachmentsController(Controller):
    """Volumes of a server; the volume's id is the attachment's name in URLs."""

    @route('GET', _ALL, query=QUERY, rules=(_PREFIX + 'index',))
    def index(self, req: Request, server_id: str) -> dict[str, Any]:
        """List a server's volumes."""
        rows = self.engine.servers.list_attachments(req.ctx, server_id)
        offset = int(req.query.get('offset', 0))
        limit = min(int(req.query.get('limit', 0)) or self.settings.max_limit, self.settings.max_limit)
        return {'volumeAttachments': [detail(row, req.minor) for row in rows[offset : offset + limit]]}

    @route('GET', _ONE, rules=(_PREFIX + 'show',))
    def show(self, req: Request, server_id: str, volume_id: str) -> dict[str, Any]:
        """Show a volume of a server."""
        row = self.engine.servers.show_attachment(req.ctx, server_id, volume_id)
        return {'volumeAttachment': detail(row, req.minor)}

    @route('POST', _ALL, body=CREATE, rules=(_PREFIX + 'create', 'volume:attachment_create'))
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
                delete_on_termination=flag(wish, 'delete_on_termination'),
                supports_multiattach=req.minor >= _MULTIATTACH,
            ),
        )
        return {'volumeAttachment': created(row, req.minor)}

    @route('PUT', _ONE, body=UPDATE, status=202, rules=(_PREFIX + 'show', _PREFIX + 'update'))
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
        goes = flag(wish, 'delete_on_termination') if wish.get('delete_on_termination') is not None else None
        self.engine.servers.update_attachment(req.ctx, server_id, volume_id, goes)

    @route('DELETE', _ONE, status=202, rules=(_PREFIX + 'delete',))
    def delete(self, req: Request, server_id: str, volume_id: str) -> None:
        """Detach a volume; the host's agent does it after the reply."""
        self.engine.servers.detach(req.ctx, server_id, volume_id)


def _check_unchanged(row: models.Attachment, wish: dict[str, Any]) -> None:
    """Refuse to change what cannot be changed; clients may send back what they have read."""
    fixed = {'id': row.volume_id, 'serverId': row.instance_uuid, 'device': row.mountpoint, 'tag': row.tag}
    for key, value in fixed.items():
        if key in wish and wish[key] != value:
            raise errors.InvalidInput(f'The {key} property is not mutable')
