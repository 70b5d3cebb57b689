# SPDX-License-Identifier: Apache-2.0
"""Default quotas of projects; -1 means unlimited."""

from oslo_config import cfg

GROUP = 'quota'
LIMITS = [
    cfg.IntOpt('volumes', default=10, min=-1, help='Maximum number of volumes per project.'),
    cfg.IntOpt('snapshots', default=10, min=-1, help='Maximum number of snapshots per project.'),
    cfg.IntOpt(
        'gigabytes', default=1000, min=-1, help='Maximum total size of the volumes and snapshots of a project, in GiB.'
    ),
    cfg.IntOpt('per_volume_gigabytes', default=-1, min=-1, help='Maximum size of a volume, in GiB.'),
    cfg.IntOpt(
        'attachments',
        default=-1,
        min=-1,
        help="Maximum number of attachments of a project's volumes, where each server counts once per volume.",
    ),
]
_NO_SNAPSHOT_GB_QUOTA = cfg.BoolOpt(
    'no_snapshot_gb_quota',
    default=False,
    help='Do not count the size of snapshots against the quotas gigabytes and gigabytes_TYPE.',
)
OPTS = [*LIMITS, _NO_SNAPSHOT_GB_QUOTA]
