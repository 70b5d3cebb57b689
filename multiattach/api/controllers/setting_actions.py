# SPDX-License-Identifier: Apache-2.0
"""The actions that set properties of a volume, and those that this service does not have (contract 6)."""

from typing import Any, NoReturn

from oslo_utils import strutils

from multiattach.api.actions import ActionController, action
from multiattach.api.request import Request
from multiattach.api.schemas import volume_actions as schemas
from multiattach.domain import errors, states


class SettingActionController(ActionController):
    """Properties and status."""

    @action('os-reset_status', schemas.RESET)
    def reset_status(self, req: Request, volume_id: str, value: dict[str, Any]) -> None:
        """Put a volume's status right."""
        status = value['status'].lower() if value.get('status') else None
        if status is None and not value.get('attach_status') and not value.get('migration_status'):
            raise errors.InvalidInput("Must specify 'status', 'attach_status' or 'migration_status' to update.")
        if status is not None and status not in states.RESETTABLE:
            raise errors.InvalidInput(f'Invalid volume status: {status[:64]}')
        self.engine.settings.reset(req.ctx, volume_id, status, value.get('attach_status'))

    @action('os-update_readonly_flag', schemas.READONLY)
    def update_readonly_flag(self, req: Request, volume_id: str, value: dict[str, Any]) -> None:
        """Let nobody write to a volume, or let everybody."""
        self.engine.settings.set_readonly(req.ctx, volume_id, strutils.bool_from_string(value['readonly']))

    @action('os-set_bootable', schemas.BOOTABLE, status=200)
    def set_bootable(self, req: Request, volume_id: str, value: dict[str, Any]) -> None:
        """Say whether a volume may boot a server."""
        self.engine.settings.set_bootable(req.ctx, volume_id, strutils.bool_from_string(value['bootable']))

    @action('os-set_image_metadata', schemas.SET_IMAGE_METADATA, status=200)
    def set_image_metadata(self, req: Request, volume_id: str, value: dict[str, Any]) -> dict[str, Any]:
        """Set image metadata; other items stay."""
        return {'metadata': self.engine.settings.set_image_metadata(req.ctx, volume_id, value['metadata'])}

    @action('os-show_image_metadata', status=200)
    def show_image_metadata(self, req: Request, volume_id: str, _value: Any) -> dict[str, Any]:
        """Show image metadata."""
        return {'metadata': self.engine.settings.show_image_metadata(req.ctx, volume_id)}

    @action('os-unset_image_metadata', schemas.UNSET_IMAGE_METADATA, status=200)
    def unset_image_metadata(self, req: Request, volume_id: str, value: dict[str, Any]) -> None:
        """Take an item of image metadata away."""
        self.engine.settings.unset_image_metadata(req.ctx, volume_id, value['key'])

    # -- what this service does not have -------------------------------------------------------

    @action('os-volume_upload_image')
    def upload_image(self, req: Request, volume_id: str, _value: Any) -> NoReturn:
        """Refuse: no images here."""
        self._refuse(req, volume_id, 'Volumes cannot be uploaded as images')

    @action('os-migrate_volume')
    def migrate(self, req: Request, volume_id: str, _value: Any) -> NoReturn:
        """Refuse: a volume stays on its backend."""
        self._refuse(req, volume_id, 'Volumes cannot be migrated')

    @action('os-migrate_volume_completion')
    def complete_migration(self, req: Request, volume_id: str, _value: Any) -> NoReturn:
        """Refuse: a volume stays on its backend."""
        self._refuse(req, volume_id, 'Volumes cannot be migrated')

    @action('os-unmanage')
    def unmanage(self, req: Request, volume_id: str, _value: Any) -> NoReturn:
        """Refuse: storage is not handed over."""
        self._refuse(req, volume_id, 'Volumes cannot be unmanaged')

    @action('revert', since=40)
    def revert(self, req: Request, volume_id: str, _value: Any) -> NoReturn:
        """Refuse: no snapshots here."""
        self._refuse(req, volume_id, 'Volumes cannot be reverted to snapshots')

    @action('os-reimage', since=68)
    def reimage(self, req: Request, volume_id: str, _value: Any) -> NoReturn:
        """Refuse: no images here."""
        self._refuse(req, volume_id, 'Volumes cannot be rebuilt from images')

    @action('os-extend_volume_completion', since=71)
    def complete_extension(self, req: Request, volume_id: str, _value: Any) -> NoReturn:
        """Refuse: the worker itself completes an extension."""
        self._refuse(req, volume_id, 'No extension of this volume waits for completion')

    def _refuse(self, req: Request, volume_id: str, text: str) -> NoReturn:
        self.engine.volumes.show(req.ctx, volume_id)  # who may not see it gets 404
        raise errors.InvalidInput(f'{text} by this service.')
