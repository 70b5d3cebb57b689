# SPDX-License-Identifier: Apache-2.0
"""What volumes look like (contract 10.2)."""

from collections.abc import Callable
from typing import Any

from multiattach.api.request import Request
from multiattach.api.settings import ApiSettings
from multiattach.api.views.elements import Links, format_time
from multiattach.domain import states
from multiattach.domain.pools import name_pool
from multiattach.engine import rows
from multiattach.engine.context import SERVICE
from multiattach.engine.policy import Policy

_TENANT = 'volume_extension:volume_tenant_attribute'
_HOST = 'volume_extension:volume_host_attribute'
_MIGRATION = 'volume_extension:volume_mig_status_attribute'
_NO_DEVICE = 'na'


class VolumeView:
    """Shows the volumes of one reply."""

    def __init__(self, req: Request, settings: ApiSettings, policy: Policy) -> None:
        self._ctx = req.ctx
        self._minor = req.minor
        self._links = Links(req, settings)
        self._policy = policy
        self._allowed: dict[tuple[str, str], bool] = {}

    def summary(self, volume: rows.Volume) -> dict[str, Any]:
        """Show a volume in a list of names."""
        return {'id': volume.id, 'name': volume.display_name, 'links': self._links.of('volumes', volume.id)}

    def detail(self, volume: rows.Volume, *, extended: bool = True) -> dict[str, Any]:
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
        for since, add in _LATER:
            if self._minor >= since:
                add(view, volume, bool(self._ctx.is_admin))
        if extended:
            self._extend(view, volume)
        return view

    def _extend(self, view: dict[str, Any], volume: rows.Volume) -> None:
        if self._may(_TENANT, volume):
            view['os-vol-tenant-attr:tenant_id'] = volume.project_id
        if self._may(_HOST, volume):
            view['os-vol-host-attr:host'] = volume.host and name_pool(volume.host)
        if self._may(_MIGRATION, volume):
            view['os-vol-mig-status-attr:migstat'] = None
            view['os-vol-mig-status-attr:name_id'] = None

    def _attachments(self, volume: rows.Volume) -> list[dict[str, Any]]:
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

    def _may(self, rule: str, volume: rows.Volume) -> bool:
        """Ask a rule once for each project on the page."""
        key = (rule, volume.project_id)
        if key not in self._allowed:
            self._allowed[key] = self._policy.allows(self._ctx, rule, volume.project_id)
        return self._allowed[key]


def _metadata(volume: rows.Volume) -> dict[str, str]:
    metadata = volume.metadata_dict
    if volume.readonly is not None:
        metadata['readonly'] = str(volume.readonly)
    return metadata


def _add_group(view: dict[str, Any], _volume: rows.Volume, _is_admin: bool) -> None:
    view['group_id'] = None


def _add_provider(view: dict[str, Any], _volume: rows.Volume, is_admin: bool) -> None:
    if is_admin:
        view['provider_id'] = None


def _add_target(view: dict[str, Any], volume: rows.Volume, _is_admin: bool) -> None:
    # Each volume is a target of its own: os-brick need not serialise hosts.
    view['shared_targets'] = False
    view['service_uuid'] = volume.service_uuid


def _add_cluster(view: dict[str, Any], _volume: rows.Volume, is_admin: bool) -> None:
    if is_admin:
        view['cluster_name'] = None


def _add_type(view: dict[str, Any], volume: rows.Volume, _is_admin: bool) -> None:
    view['volume_type_id'] = volume.volume_type_id


def _add_quota(view: dict[str, Any], _volume: rows.Volume, _is_admin: bool) -> None:
    view['consumes_quota'] = True


_LATER: tuple[tuple[int, Callable[[dict[str, Any], rows.Volume, bool], None]], ...] = (
    (13, _add_group),
    (21, _add_provider),
    (48, _add_target),
    (61, _add_cluster),
    (63, _add_type),
    (65, _add_quota),
)
