# SPDX-License-Identifier: Apache-2.0
"""What volumes look like (contract 10.2)."""

from collections.abc import Callable, Mapping
from typing import Any

from multiattach.api.elements import Links, format_time
from multiattach.api.request import Request
from multiattach.api.settings import ApiSettings
from multiattach.db import models
from multiattach.domain import states
from multiattach.domain.pools import name_pool
from multiattach.engine.context import SERVICE
from multiattach.engine.policy import Policy

TENANT_RULE = 'volume_extension:volume_tenant_attribute'
HOST_RULE = 'volume_extension:volume_host_attribute'
MIGRATION_RULE = 'volume_extension:volume_mig_status_attribute'
_NO_DEVICE = 'na'


class VolumeView:
    """Shows the volumes of one reply."""

    def __init__(self, req: Request, settings: ApiSettings, policy: Policy) -> None:
        self._ctx = req.ctx
        self._minor = req.minor
        self._links = Links(req, settings)
        self._policy = policy
        self._allowed: dict[tuple[str, str], bool] = {}

    def summary(self, volume: models.Volume) -> dict[str, Any]:
        """Show a volume in a list of names."""
        return {'id': volume.id, 'name': volume.display_name, 'links': self._links.of('volumes', volume.id)}

    def detail(self, volume: models.Volume, *, extended: bool = True) -> dict[str, Any]:
        """Show a volume with all that belongs to it.

        :param volume: the row with metadata, type and attachments.
        :param extended: show the ``os-*`` keys, which create and update leave out.
        """
        view: dict[str, Any] = {
            'id': volume.id,
            'status': volume.status,
            'size': volume.size,
            'availability_zone': volume.availability_zone,
            'created_at': format_time(volume.created_at),
            'updated_at': format_time(volume.updated_at),
            'name': volume.display_name,
            'description': volume.display_description,
            'volume_type': volume.volume_type.name,
            'snapshot_id': None,
            'source_volid': volume.source_volid,
            'metadata': _metadata(volume),
            'links': self._links.of('volumes', volume.id),
            'user_id': volume.user_id,
            'bootable': str(volume.bootable).lower(),
            'encrypted': False,
            'replication_status': None,
            'consistencygroup_id': None,
            'multiattach': volume.multiattach,
            'attachments': self._attachments(volume),
        }
        if image := volume.image_metadata:
            view['volume_image_metadata'] = image
        if self._ctx.is_admin:
            view['migration_status'] = None
        for since, pieces, admins_only in _LATER:
            if self._minor >= since and (self._ctx.is_admin or not admins_only):
                view |= {key: read(volume) for key, read in pieces.items()}
        if extended:
            self._extend(view, volume)
        return view

    def _extend(self, view: dict[str, Any], volume: models.Volume) -> None:
        if self._may(TENANT_RULE, volume):
            view['os-vol-tenant-attr:tenant_id'] = volume.project_id
        if self._may(HOST_RULE, volume):
            view['os-vol-host-attr:host'] = volume.host and name_pool(volume.host)
        if self._may(MIGRATION_RULE, volume):
            view['os-vol-mig-status-attr:migstat'] = None
            view['os-vol-mig-status-attr:name_id'] = None

    def _attachments(self, volume: models.Volume) -> list[dict[str, Any]]:
        """Only what is attached is shown, and ``id`` is the volume's (contract 11.5)."""
        sees_host = self._ctx.is_admin or SERVICE in self._ctx.roles or self._ctx.is_service_request
        return [
            {
                'id': volume.id,
                'attachment_id': row.id,
                'volume_id': volume.id,
                'server_id': row.instance_uuid,
                'host_name': row.attached_host if sees_host else None,
                'device': row.mountpoint or _NO_DEVICE,
                'attached_at': format_time(row.attached_at),
            }
            for row in volume.attachments
            if states.public_status(row.state) == states.Attachment.ATTACHED
        ]

    def _may(self, rule: str, volume: models.Volume) -> bool:
        """Ask a rule once for each project on the page."""
        key = (rule, volume.project_id)
        if key not in self._allowed:
            self._allowed[key] = self._policy.allows(self._ctx, rule, volume.project_id)
        return self._allowed[key]


def _metadata(volume: models.Volume) -> dict[str, str]:
    metadata = volume.metadata_dict
    if volume.readonly is not None:
        metadata['readonly'] = str(volume.readonly)
    return metadata


# What each microversion brought; what only admins see.
_LATER: tuple[tuple[int, Mapping[str, Callable[[models.Volume], Any]], bool], ...] = (
    (13, {'group_id': lambda _: None}, False),
    (21, {'provider_id': lambda _: None}, True),
    # Each volume is a target of its own: os-brick need not serialise hosts.
    (48, {'shared_targets': lambda _: False, 'service_uuid': lambda volume: volume.service_uuid}, False),
    (61, {'cluster_name': lambda _: None}, True),
    (63, {'volume_type_id': lambda volume: volume.volume_type_id}, False),
    (65, {'consumes_quota': lambda _: True}, False),
)
