# SPDX-License-Identifier: Apache-2.0
"""Quotas: names of what is limited, and the decision whether something more fits."""

import dataclasses
from collections.abc import Iterable, Mapping

from multiattach.domain import errors

UNLIMITED = -1
# What Block Storage clients expect to be listed (contract 10.5); those of volumes and snapshots count here,
# and our own: servers that have them.
RESOURCES = (
    'volumes',
    'snapshots',
    'gigabytes',
    'backups',
    'backup_gigabytes',
    'per_volume_gigabytes',
    'groups',
    'attachments',
)
# Those that are unlimited where nobody says anything.
UNLIMITED_BY_DEFAULT = ('per_volume_gigabytes', 'attachments')
_PER_TYPE = ('volumes', 'gigabytes', 'snapshots')


@dataclasses.dataclass(frozen=True)
class QuotaUsage:
    """What a project has, by name of the volume type.

    :param gigabytes: GiB of volumes, and of snapshots if these count.
    :param attachments: servers that have its volumes, once per volume.
    :param arriving: volumes and their GiB that get a type when they are on another backend; they are of their old type
        till then.
    """

    volumes: Mapping[str, int]
    gigabytes: Mapping[str, int]
    attachments: int = 0
    snapshots: Mapping[str, int] = dataclasses.field(default_factory=dict)
    arriving: Mapping[str, tuple[int, int]] = dataclasses.field(default_factory=dict)

    def of(self, resource: str) -> int:
        """Return how much of a resource, ``gigabytes_TYPE`` for instance, is used."""
        if resource == 'attachments':
            return self.attachments
        kind, _, type_name = resource.partition('_')
        by_type = {'volumes': self.volumes, 'gigabytes': self.gigabytes, 'snapshots': self.snapshots}.get(kind, {})
        return by_type.get(type_name, 0) if type_name else sum(by_type.values())

    def reserved(self, resource: str) -> int:
        """Return how much more of a resource will be used when what is under way has ended."""
        kind, _, type_name = resource.partition('_')
        volumes, gigabytes = self.arriving.get(type_name, (0, 0))
        return {'volumes': volumes, 'gigabytes': gigabytes}.get(kind, 0)

    def taken(self, resource: str) -> int:
        """Return how much of a resource nobody else may have."""
        return self.of(resource) + self.reserved(resource)


def list_resources(type_names: Iterable[str]) -> list[str]:
    """List the names of everything that is limited."""
    return [*RESOURCES, *(f'{kind}_{name}' for name in type_names for kind in _PER_TYPE)]


def check_attachments(limit: int, used: int) -> None:
    """Decide whether a project may have one more attachment.

    :param used: what it has, counted in the transaction that adds to it.
    :raises QuotaExceeded: the quota is used up (contract 10.5).
    """
    if limit != UNLIMITED and used >= limit:
        raise errors.QuotaExceeded(
            f'AttachmentLimitExceeded: Maximum number of attachments allowed ({limit}) exceeded for '
            "quota 'attachments'."
        )


def check_growth(
    limits: Mapping[str, int],
    usage: QuotaUsage,
    type_name: str,
    volumes: int,
    gigabytes: int,
    size: int,
    *,
    in_project: bool = True,
) -> None:
    """Decide whether a project may have more.

    :param limits: limit by resource; what is not in it is unlimited.
    :param usage: what the project has, counted in the transaction that adds to it.
    :param in_project: it adds to what the project has; False for a change of type, which adds to
        what it has of the type only.
    :raises QuotaExceeded: the message names the quota (contract 10.5).
    """
    most = limits.get('per_volume_gigabytes', UNLIMITED)
    if most != UNLIMITED and size > most:
        raise errors.QuotaExceeded(
            f'VolumeSizeExceedsLimit: Requested volume size {size} is larger than maximum allowed limit {most}.'
        )
    ends = ('', f'_{type_name}') if in_project else (f'_{type_name}',)
    _check_gigabytes(limits, usage, ends, gigabytes)
    for resource in (f'volumes{end}' for end in ends):
        limit, used = limits.get(resource, UNLIMITED), usage.taken(resource)
        if volumes and limit != UNLIMITED and used + volumes > limit:
            raise errors.QuotaExceeded(
                f"VolumeLimitExceeded: Maximum number of volumes allowed ({limit}) exceeded for quota '{resource}'."
            )


def check_snapshots(
    limits: Mapping[str, int],
    usage: QuotaUsage,
    type_name: str,
    number: int,
    gigabytes: int,
    *,
    in_project: bool = True,
) -> None:
    """Decide whether a project may have more snapshots.

    :param gigabytes: GiB that they count; 0 if snapshots do not.
    :param in_project: as for :func:`check_growth`.
    :raises QuotaExceeded: the message names the quota (contract 10.5).
    """
    ends = ('', f'_{type_name}') if in_project else (f'_{type_name}',)
    _check_gigabytes(limits, usage, ends, gigabytes)
    for resource in (f'snapshots{end}' for end in ends):
        limit = limits.get(resource, UNLIMITED)
        if number and limit != UNLIMITED and usage.of(resource) + number > limit:
            raise errors.QuotaExceeded(
                f"SnapshotLimitExceeded: Maximum number of snapshots allowed ({limit}) exceeded for quota '{resource}'."
            )


def _check_gigabytes(limits: Mapping[str, int], usage: QuotaUsage, ends: Iterable[str], gigabytes: int) -> None:
    for resource in (f'gigabytes{end}' for end in ends):
        limit, used = limits.get(resource, UNLIMITED), usage.taken(resource)
        if gigabytes and limit != UNLIMITED and used + gigabytes > limit:
            raise errors.QuotaExceeded(
                f'VolumeSizeExceedsAvailableQuota: Requested volume or snapshot exceeds allowed '
                f'{resource} quota. Requested {gigabytes}G, quota is {limit}G and {used}G has been '
                'consumed.'
            )
