# SPDX-License-Identifier: Apache-2.0
"""The actions that attached servers before there were attachments (contract 6)."""

from typing import Any

from multiattach.api.actions import ActionController, action
from multiattach.api.request import Request
from multiattach.api.schemas import volume_actions as schemas
from multiattach.domain import connection, errors, host_names
from multiattach.engine.legacy import LegacyAttach

# In connection_info of an attachment; the legacy form nests the rest below "data" (contract 8.2).
_TOP = ('driver_volume_type', 'enforce_multipath')
_ATTACHMENT_ONLY = ('attachment_id',)


class LegacyActionController(ActionController):
    """Attach, detach and connections."""

    @action('os-attach', schemas.ATTACH)
    def attach(self, req: Request, volume_id: str, value: dict[str, Any]) -> None:
        """Mark a volume as attached."""
        if not value.get('instance_uuid') and not value.get('host_name'):
            raise errors.InvalidInput('Invalid input: instance_uuid or host_name is required.')
        if value.get('host_name') and not host_names.is_valid(value['host_name']):
            raise errors.InvalidInput(
                'Invalid input: host_name must be 1 to 255 printable characters without blanks at its ends.'
            )
        connection.check_mountpoint(value['mountpoint'])
        if value.get('host_name'):
            host_names.check(value['host_name'])
        self.engine.legacy.attach(
            req.ctx,
            volume_id,
            LegacyAttach(value['mountpoint'], value.get('instance_uuid'), value.get('host_name'), value.get('mode')),
        )

    @action('os-detach', schemas.DETACH)
    def detach(self, req: Request, volume_id: str, value: dict[str, Any] | None) -> None:
        """Take a volume from a server."""
        self.engine.legacy.detach(req.ctx, volume_id, (value or {}).get('attachment_id'))

    @action('os-initialize_connection', schemas.INITIALIZE, status=200)
    def initialize_connection(self, req: Request, volume_id: str, value: dict[str, Any]) -> dict[str, Any]:
        """Have an initiator admitted."""
        info = self.engine.legacy.initialize_connection(req.ctx, volume_id, value['connector'])
        return {
            'connection_info': {key: info[key] for key in _TOP}
            | {'data': {key: item for key, item in info.items() if key not in (*_TOP, *_ATTACHMENT_ONLY)}}
        }

    @action('os-terminate_connection', schemas.TERMINATE)
    def terminate_connection(self, req: Request, volume_id: str, value: dict[str, Any]) -> None:
        """Have an initiator turned away."""
        self.engine.legacy.terminate_connection(req.ctx, volume_id, value['connector'])

    @action('os-force_detach', schemas.FORCE_DETACH)
    def force_detach(self, req: Request, volume_id: str, value: dict[str, Any]) -> None:
        """Take a volume from a server, as an admin."""
        self.engine.legacy.force_detach(req.ctx, volume_id, value.get('attachment_id'))
