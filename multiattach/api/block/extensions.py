# SPDX-License-Identifier: Apache-2.0
"""What clients look up before they use a part: extensions, which every service has by now, and filters (3.33)."""

from typing import Any

from multiattach.api.request import Request
from multiattach.api.routing import Controller, route
from multiattach.api.schemas import requests
from multiattach.api.schemas.replies import TEXT, many, one, strict
from multiattach.domain import errors
from multiattach.engine import queries

_UPDATED = '2016-01-01T00:00:00+00:00'
# Alias → name and description; only what is served, under the aliases of Block Storage.
_EXTENSIONS = {
    'OS-SCH-HNT': ('SchedulerHints', 'Scheduler hints are accepted.'),
    'capabilities': ('Capabilities', 'Capabilities of backends.'),
    'encryption': ('VolumeTypeEncryption', 'Encryption records of volume types.'),
    'multiattach': ('Multiattach', 'Explanations, hosts and targets, under /multiattach.'),
    'os-admin-actions': ('AdminActions', 'Actions of admins on volumes.'),
    'os-availability-zone': ('AvailabilityZones', 'Availability zones.'),
    'os-extended-services': ('ExtendedServices', 'Reasons why services are disabled.'),
    'os-extended-snapshot-attributes': ('ExtendedSnapshotAttributes', 'Project and progress of a snapshot.'),
    'os-hosts': ('Hosts', 'Hosts and what volumes they have.'),
    'os-quota-class-sets': ('QuotaClasses', 'Quota classes.'),
    'os-quota-sets': ('Quotas', 'Quotas of projects.'),
    'os-services': ('Services', 'Services.'),
    'os-snapshot-actions': ('SnapshotActions', 'Actions on snapshots.'),
    'os-snapshot-manage': ('SnapshotManage', 'Snapshots that the storage has can be managed.'),
    'os-snapshot-unmanage': ('SnapshotUnmanage', 'Snapshots can be unmanaged.'),
    'os-types-extra-specs': ('TypesExtraSpecs', 'Extra specs of volume types.'),
    'os-types-manage': ('TypesManage', 'Volume types can be created and changed.'),
    'os-used-limits': ('UsedLimits', 'What of the limits is used.'),
    'os-vol-host-attr': ('VolumeHostAttribute', 'Backend of a volume.'),
    'os-vol-image-meta': ('VolumeImageMetadata', 'Image metadata of a volume.'),
    'os-vol-mig-status-attr': ('VolumeMigStatusAttribute', 'Migration status of a volume.'),
    'os-vol-tenant-attr': ('VolumeTenantAttribute', 'Project of a volume.'),
    'os-volume-actions': ('VolumeActions', 'Actions on volumes.'),
    'os-volume-encryption-metadata': ('VolumeEncryptionMetadata', 'Encryption of a volume.'),
    'os-volume-manage': ('VolumeManage', 'Storage that is there can be managed.'),
    'os-volume-type-access': ('VolumeTypeAccess', 'Private volume types.'),
    'os-volume-unmanage': ('VolumeUnmanage', 'Volumes can be unmanaged.'),
    'qos-specs': ('Qos_specs_manage', 'How fast volumes of a type may be.'),
    'scheduler-stats': ('Scheduler_stats', 'Pools of backends.'),
}
_EXTENSION = strict(
    {'alias': TEXT, 'name': TEXT, 'description': TEXT, 'updated': TEXT, 'links': {'type': 'array', 'maxItems': 0}}
)


class ExtensionsController(Controller):
    """``/extensions`` and ``/resource_filters``."""

    @route('GET', '/extensions', reply=one('extensions', many(_EXTENSION)))
    def index(self, _req: Request) -> dict[str, Any]:
        """List the extensions."""
        return {'extensions': [_show(alias) for alias in _EXTENSIONS]}

    @route('GET', '/extensions/{alias}', reply=one('extension', _EXTENSION))
    def show(self, _req: Request, alias: str) -> dict[str, Any]:
        """Show an extension."""
        if alias not in _EXTENSIONS:
            raise errors.NotFound(f'Extension {alias[:64]} could not be found.')
        return {'extension': _show(alias)}

    @route(
        'GET',
        '/resource_filters',
        since=33,
        query=requests.fields({'resource': requests.TEXT}, strict=False),
        reply=one('resource_filters', many(strict({'resource': TEXT, 'filters': many(TEXT)}))),
    )
    def list_filters(self, req: Request) -> dict[str, Any]:
        """List the filters that everybody may use."""
        wanted = req.query.get('resource')
        return {
            'resource_filters': [
                {'resource': resource, 'filters': list(names)}
                for resource, names in queries.RESOURCE_FILTERS.items()
                if wanted in (None, resource)
            ]
        }


def _show(alias: str) -> dict[str, Any]:
    name, description = _EXTENSIONS[alias]
    return {'alias': alias, 'name': name, 'description': description, 'updated': _UPDATED, 'links': []}
