# SPDX-License-Identifier: Apache-2.0
"""Actions on volumes (contract 5, 6)."""

from typing import Any, NoReturn

import pecan

from multiattach.api.actions import ANY_BODY, ActionController, action
from multiattach.api.block.attachments import CONNECTION
from multiattach.api.block.volumes import schemas
from multiattach.api.block.volumes.schemas import METADATA
from multiattach.api.block.volumes.views import show_upload
from multiattach.api.request import Request
from multiattach.api.routing import Handler, route
from multiattach.api.schemas import requests
from multiattach.api.validation import Versioned, flag
from multiattach.domain import connection, errors, host_names, idents
from multiattach.engine.image_actions import UploadWish
from multiattach.engine.legacy import LegacyAttach

_EXTEND_IN_USE = 42
_PREFIX = 'volume_extension:volume_actions:'
_ADMIN_PREFIX = 'volume_extension:volume_admin_actions:'
_IMAGE_PREFIX = 'volume_extension:volume_image_metadata:'
# In connection_info of an attachment; the legacy form nests the rest below "data" (contract 8.2).
_TOP = ('driver_volume_type', 'enforce_multipath')
_ATTACHMENT_ONLY = ('attachment_id',)

_RETYPE = requests.fields({'new_type': requests.NAME, 'migration_policy': {'enum': ['on-demand', 'never']}}, 'new_type')
_RESET = requests.fields(
    {
        'status': requests.TEXT_OR_NULL,
        'attach_status': {'enum': ['attached', 'detached', None]},
        'migration_status': requests.TEXT_OR_NULL,
    },
    minProperties=1,
)
_ATTACH = requests.fields(
    {
        'mountpoint': requests.WORD,
        'instance_uuid': requests.UUID_OR_NULL,
        'host_name': requests.TEXT_OR_NULL,
        'mode': {'enum': ['rw', 'ro']},
    },
    'mountpoint',
)
_DETACH = {'anyOf': [{'type': 'null'}, requests.fields({'attachment_id': requests.UUID_OR_NULL})]}
_CONNECTOR = {'type': ['object', 'null']}
_FORCE_DETACH = requests.fields({'connector': _CONNECTOR, 'attachment_id': requests.UUID_OR_NULL})


_WAY: requests.Schema = {
    'host': requests.TEXT_OR_NULL,
    'force_host_copy': requests.BOOLEAN,
    'lock_volume': requests.BOOLEAN,
}
_MIGRATE = Versioned(
    {
        0: requests.fields({**_WAY, 'host': requests.TEXT}, 'host'),
        16: requests.fields({**_WAY, 'cluster': requests.TEXT_OR_NULL}),
    }
)
_COMPLETION = requests.fields(
    {'new_volume': requests.UUID, 'error': {'type': ['string', 'null', 'boolean']}}, 'new_volume'
)


class VolumeActionsController(ActionController):
    """``POST /volumes/{volume_id}/action``."""

    @route('POST', '/volumes/{volume_id}/action', body=ANY_BODY)
    def act(self, req: Request, body: Any, volume_id: str) -> pecan.Response:
        """Carry out an action."""
        return self.run(req, body, volume_id)

    @action('os-reserve', rules=(_PREFIX + 'reserve',))
    def reserve(self, req: Request, volume_id: str, _value: Any) -> None:
        """Mark a volume as being attached."""
        self.engine.actions.reserve(req.ctx, volume_id)

    @action('os-unreserve', rules=(_PREFIX + 'unreserve',))
    def unreserve(self, req: Request, volume_id: str, _value: Any) -> None:
        """Take that mark back."""
        self.engine.actions.unreserve(req.ctx, volume_id)

    @action('os-begin_detaching', rules=(_PREFIX + 'begin_detaching',))
    def begin_detaching(self, req: Request, volume_id: str, _value: Any) -> None:
        """Mark a volume as being detached."""
        self.engine.actions.begin_detaching(req.ctx, volume_id)

    @action('os-roll_detaching', rules=(_PREFIX + 'roll_detaching',))
    def roll_detaching(self, req: Request, volume_id: str, _value: Any) -> None:
        """Take that mark back."""
        self.engine.actions.roll_detaching(req.ctx, volume_id)

    @action('os-retype', _RETYPE, rules=('volume:retype', 'volume:multiattach'))
    def retype(self, req: Request, volume_id: str, value: dict[str, Any]) -> None:
        """Change a volume's type."""
        self.engine.actions.retype(
            req.ctx, volume_id, value['new_type'], may_migrate=value.get('migration_policy') == 'on-demand'
        )

    @action(
        'os-extend',
        requests.fields({'new_size': requests.SIZE}, 'new_size'),
        rules=('volume:extend', 'volume:extend_attached_volume'),
    )
    def extend(self, req: Request, volume_id: str, value: dict[str, Any]) -> None:
        """Grow a volume."""
        self.engine.actions.extend(
            req.ctx, volume_id, int(value['new_size']), in_use_allowed=req.minor >= _EXTEND_IN_USE
        )

    @action('os-force_delete', rules=('volume:force_delete', _ADMIN_PREFIX + 'force_delete'))
    def force_delete(self, req: Request, volume_id: str, _value: Any) -> None:
        """Delete a volume in any status."""
        self.engine.volumes.show(req.ctx, volume_id, _ADMIN_PREFIX + 'force_delete')
        self.engine.volumes.delete(req.ctx, volume_id, force=True)

    @action(
        'revert',
        requests.fields({'snapshot_id': requests.TEXT_OR_NULL}, strict=False),
        since=40,
        rules=('volume:revert_to_snapshot',),
    )
    def revert(self, req: Request, volume_id: str, value: dict[str, Any]) -> None:
        """Revert a volume to its latest snapshot."""
        snapshot_id = value.get('snapshot_id')
        self.engine.snapshots.revert(req.ctx, volume_id, snapshot_id and idents.normalise(snapshot_id))

    @action('os-migrate_volume', _MIGRATE, rules=(_ADMIN_PREFIX + 'migrate_volume',))
    def migrate(self, req: Request, volume_id: str, value: dict[str, Any]) -> None:
        """Move a volume that nobody uses to another backend."""
        self.engine.migrations.migrate(
            req.ctx, volume_id, (value.get('host'), value.get('cluster')), locked=flag(value, 'lock_volume')
        )

    @action('os-migrate_volume_completion', _COMPLETION, rules=(_ADMIN_PREFIX + 'migrate_volume_completion',))
    def complete_migration(self, req: Request, volume_id: str, value: dict[str, Any]) -> NoReturn:
        """Refuse: the workers themselves complete a migration."""
        for ident in (volume_id, value['new_volume']):
            self.engine.volumes.show(req.ctx, ident, _ADMIN_PREFIX + 'migrate_volume_completion')
        raise errors.InvalidVolume(
            'Invalid volume: Source volume not mid-migration. The workers of this service complete its migrations.'
        )

    @action('os-unmanage', rules=('volume_extension:volume_unmanage',))
    def unmanage(self, req: Request, volume_id: str, _value: Any) -> None:
        """Delete a volume and leave its storage to others."""
        self.engine.manageable.unmanage(req.ctx, volume_id)

    # -- properties --------------------------------------------------------------------------------

    @action('os-reset_status', _RESET, rules=(_ADMIN_PREFIX + 'reset_status',))
    def reset_status(self, req: Request, volume_id: str, value: dict[str, Any]) -> None:
        """Put a volume's status right."""
        status = value['status'].lower() if value.get('status') else None
        if status is None and not value.get('attach_status') and not value.get('migration_status'):
            raise errors.InvalidInput("Must specify 'status', 'attach_status' or 'migration_status' to update.")
        self.engine.settings.reset_status(
            req.ctx, volume_id, status, value.get('attach_status'), value.get('migration_status')
        )

    @action(
        'os-update_readonly_flag',
        requests.fields({'readonly': requests.BOOLEAN}, 'readonly'),
        rules=('volume:update_readonly_flag',),
    )
    def update_readonly_flag(self, req: Request, volume_id: str, value: dict[str, Any]) -> None:
        """Let nobody write to a volume, or let everybody."""
        self.engine.settings.set_readonly(req.ctx, volume_id, flag(value, 'readonly'))

    @action(
        'os-set_bootable',
        requests.fields({'bootable': requests.BOOLEAN}, 'bootable'),
        status=200,
        rules=('volume:update',),
    )
    def set_bootable(self, req: Request, volume_id: str, value: dict[str, Any]) -> None:
        """Say whether a volume may boot a server."""
        self.engine.settings.set_bootable(req.ctx, volume_id, flag(value, 'bootable'))

    @action(
        'os-set_image_metadata',
        requests.fields({'metadata': requests.METADATA}, 'metadata'),
        status=200,
        reply=METADATA,
        rules=(_IMAGE_PREFIX + 'set',),
    )
    def set_image_metadata(self, req: Request, volume_id: str, value: dict[str, Any]) -> dict[str, Any]:
        """Set image metadata; other items stay."""
        return {'metadata': self.engine.settings.set_image_metadata(req.ctx, volume_id, value['metadata'])}

    @action('os-show_image_metadata', status=200, reply=METADATA, rules=(_IMAGE_PREFIX + 'show',))
    def show_image_metadata(self, req: Request, volume_id: str, _value: Any) -> dict[str, Any]:
        """Show image metadata."""
        return {'metadata': self.engine.settings.show_image_metadata(req.ctx, volume_id)}

    @action(
        'os-unset_image_metadata',
        requests.fields({'key': requests.WORD}, 'key'),
        status=200,
        rules=(_IMAGE_PREFIX + 'remove',),
    )
    def unset_image_metadata(self, req: Request, volume_id: str, value: dict[str, Any]) -> None:
        """Take an item of image metadata away."""
        self.engine.settings.unset_image_metadata(req.ctx, volume_id, value['key'])

    # -- images ------------------------------------------------------------------------------------

    @action(
        'os-volume_upload_image',
        schemas.UPLOAD,
        reply=schemas.uploaded,
        rules=(_PREFIX + 'upload_image', _PREFIX + 'upload_public'),
    )
    def upload_image(self, req: Request, volume_id: str, value: dict[str, Any]) -> dict[str, Any]:
        """Have an image made of a volume."""
        shown = req.minor >= schemas.UPLOAD_PARAMETERS
        wish = UploadWish(
            value['image_name'],
            value.get('disk_format', 'raw'),
            value.get('container_format') or 'bare',
            flag(value, 'force'),
            value.get('visibility', 'private') if shown else None,
            flag(value, 'protected') if shown else None,
        )
        return show_upload(*self.engine.image_actions.upload(req.ctx, volume_id, wish), wish)

    @action('os-reimage', schemas.REIMAGE, since=68, rules=('volume:reimage', 'volume:reimage_reserved'))
    def reimage(self, req: Request, volume_id: str, value: dict[str, Any]) -> None:
        """Have a volume's contents replaced by those of an image."""
        self.engine.image_actions.reimage(
            req.ctx, volume_id, value['image_id'], reserved_allowed=flag(value, 'reimage_reserved')
        )

    # -- what attached servers before there were attachments (contract 6) --------------------------

    @action('os-attach', _ATTACH, rules=(_PREFIX + 'attach',))
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

    @action('os-detach', _DETACH, rules=(_PREFIX + 'detach',))
    def detach(self, req: Request, volume_id: str, value: dict[str, Any] | None) -> None:
        """Take a volume from a server."""
        self.engine.legacy.detach(req.ctx, volume_id, (value or {}).get('attachment_id'))

    @action(
        'os-initialize_connection',
        requests.fields({'connector': {'type': 'object'}}, 'connector'),
        status=200,
        reply=CONNECTION,
        rules=(_PREFIX + 'initialize_connection', 'volume:attachment_update'),
    )
    def initialize_connection(self, req: Request, volume_id: str, value: dict[str, Any]) -> dict[str, Any]:
        """Have an initiator admitted."""
        info = self.engine.legacy.initialize_connection(req.ctx, volume_id, value['connector'])
        return {
            'connection_info': {key: info[key] for key in _TOP}
            | {'data': {key: item for key, item in info.items() if key not in (*_TOP, *_ATTACHMENT_ONLY)}}
        }

    @action(
        'os-terminate_connection',
        requests.fields({'connector': _CONNECTOR}, 'connector'),
        rules=(_PREFIX + 'terminate_connection',),
    )
    def terminate_connection(self, req: Request, volume_id: str, value: dict[str, Any]) -> None:
        """Have an initiator turned away."""
        self.engine.legacy.terminate_connection(req.ctx, volume_id, value['connector'])

    @action('os-force_detach', _FORCE_DETACH, rules=(_ADMIN_PREFIX + 'force_detach',))
    def force_detach(self, req: Request, volume_id: str, value: dict[str, Any]) -> None:
        """Take a volume from a server, as an admin."""
        self.engine.legacy.force_detach(req.ctx, volume_id, value.get('attachment_id'))


# -- what this service does not have ---------------------------------------------------------------

# Action, the microversion that brought it, why it is refused, and what the caller is told.
_ABSENT = (
    (
        'os-extend_volume_completion',
        71,
        'the worker itself completes an extension',
        'No extension of this volume waits for completion',
    ),
)


def _refuse(name: str, since: int, reason: str, text: str) -> Handler:
    def refuse(self: ActionController, req: Request, volume_id: str, _value: Any) -> NoReturn:
        self.engine.volumes.show(req.ctx, volume_id)  # who may not see it gets 404
        raise errors.InvalidInput(f'{text} by this service.')

    refuse.__doc__ = f'Refuse: {reason}.'
    return action(name, since=since, rules=('volume:get',))(refuse)


for _name, _since, _reason, _text in _ABSENT:
    setattr(VolumeActionsController, _name.replace('-', '_'), _refuse(_name, _since, _reason, _text))
