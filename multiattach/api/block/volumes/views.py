# SPDX-License-Identifier: Apache-2.0
"""What volumes look like (contract 10.2)."""

import functools
import operator
from collections.abc import Callable
from typing import Any

from multiattach.api.elements import Links, format_time
from multiattach.api.request import Request
from multiattach.api.settings import ApiSettings
from multiattach.db import models
from multiattach.domain import states
from multiattach.domain.images import Image
from multiattach.domain.pools import name_pool
from multiattach.engine.context import SERVICE
from multiattach.engine.image_actions import UploadWish
from multiattach.engine.policy import Policy

TENANT_RULE = 'volume_extension:volume_tenant_attribute'
HOST_RULE = 'volume_extension:volume_host_attribute'
MIGRATION_RULE = 'volume_extension:volume_mig_status_attribute'
_NO_DEVICE = 'na'


class VolumeView:
    """Shows the volumes of one reply."""

    def __init__(self, req: Request, settings: ApiSettings, policy: Policy) -> None:
        self._ctx = req.ctx
        self._sees_hosts = req.ctx.is_admin or SERVICE in req.ctx.roles or req.ctx.is_service_request
        self._links = Links(req, settings)
        self._policy = policy
        self._later = _choose(req.minor, is_admin=bool(req.ctx.is_admin))
        # What may be shown of the volumes of a project.
        self._allowed: dict[str, tuple[bool, ...]] = {}

    def summary(self, volume: models.VolumeDetail) -> dict[str, Any]:
        return {'id': volume.id, 'name': volume.display_name, 'links': self._links.of('volumes', volume.id)}

    def detail(self, volume: models.VolumeDetail, *, extended: bool = True) -> dict[str, Any]:
        """Show a volume with all that belongs to it; create and update leave out what extensions add."""
        view: dict[str, Any] = {
            'id': volume.id,
            'status': volume.status,
            'size': volume.size,
            'availability_zone': volume.availability_zone,
            'created_at': format_time(volume.created_at),
            'updated_at': format_time(volume.updated_at),
            'name': volume.display_name,
            'description': volume.display_description,
            'volume_type': volume.type_name,
            'snapshot_id': volume.snapshot_id,
            'source_volid': volume.source_volid,
            'metadata': _metadata(volume),
            'links': self._links.of('volumes', volume.id),
            'user_id': volume.user_id,
            'bootable': 'true' if volume.bootable else 'false',
            'encrypted': False,
            'replication_status': None,
            'consistencygroup_id': None,
            'multiattach': volume.multiattach,
            'attachments': [self._show_attachment(volume.id, row) for row in volume.attachments if _is_attached(row)],
        }
        for key, read in self._later:
            view[key] = read(volume)
        if extended:
            if volume.image_metadata:
                view['volume_image_metadata'] = volume.image_metadata
            self._extend(view, volume)
        return view

    def _extend(self, view: dict[str, Any], volume: models.VolumeDetail) -> None:
        project = volume.project_id
        allowed = self._allowed.get(project)
        if allowed is None:
            rules = (TENANT_RULE, HOST_RULE, MIGRATION_RULE)
            allowed = self._allowed[project] = tuple(self._policy.allows(self._ctx, rule, project) for rule in rules)
        sees_tenant, sees_host, sees_migration = allowed
        if sees_tenant:
            view['os-vol-tenant-attr:tenant_id'] = project
        if sees_host:
            view['os-vol-host-attr:host'] = volume.host and name_pool(volume.host)
        if sees_migration:
            view['os-vol-mig-status-attr:migstat'] = volume.migration_status
            view['os-vol-mig-status-attr:name_id'] = volume.name_id

    def _show_attachment(self, volume_id: str, row: Any) -> dict[str, Any]:
        return {
            'id': volume_id,  # the volume's (contract 11.5)
            'attachment_id': row.id,
            'volume_id': volume_id,
            'server_id': row.instance_uuid,
            'host_name': row.attached_host if self._sees_hosts else None,
            'device': row.mountpoint or _NO_DEVICE,
            'attached_at': format_time(row.attached_at),
        }


def show_upload(volume: models.VolumeDetail, image: Image, wish: UploadWish) -> dict[str, Any]:
    """Show what is asked for with an image of a volume; the flags only where they could be asked for."""
    view = {
        'id': volume.id,
        'updated_at': format_time(volume.updated_at),
        'status': volume.status,
        'display_description': volume.display_description,
        'size': volume.size,
        'volume_type': {'id': volume.volume_type_id, 'name': volume.type_name},
        'image_id': image.id,
        'container_format': image.container_format,
        'disk_format': image.disk_format,
        'image_name': image.name,
    }
    flags = {'visibility': wish.visibility, 'protected': wish.protected}
    return {'os-volume_upload_image': view | {key: value for key, value in flags.items() if value is not None}}


def _is_attached(row: Any) -> bool:
    """Tell whether an attachment is shown: nothing but what is attached is (contract 11.5)."""
    return states.public_status(row.state) == states.Attachment.ATTACHED


def _metadata(volume: models.VolumeDetail) -> dict[str, str]:
    if volume.readonly is None:
        return volume.metadata
    return {**volume.metadata, 'readonly': str(volume.readonly)}


def _absent(_volume: models.VolumeDetail) -> None:
    """Show what there is none of."""


# What each microversion brought; what only admins see.
_LATER: tuple[tuple[int, str, Callable[[models.VolumeDetail], Any], bool], ...] = (
    (0, 'migration_status', operator.attrgetter('migration_status'), True),
    (13, 'group_id', _absent, False),
    (21, 'provider_id', _absent, True),
    # Each volume is a target of its own: os-brick need not serialise hosts.
    (48, 'shared_targets', lambda _: False, False),
    (48, 'service_uuid', operator.attrgetter('service_uuid'), False),
    (61, 'cluster_name', _absent, True),
    (63, 'volume_type_id', operator.attrgetter('volume_type_id'), False),
    (65, 'consumes_quota', lambda _: True, False),
)


@functools.cache
def _choose(minor: int, *, is_admin: bool) -> tuple[tuple[str, Callable[[models.VolumeDetail], Any]], ...]:
    return tuple((key, read) for since, key, read, admins in _LATER if minor >= since and (is_admin or not admins))
