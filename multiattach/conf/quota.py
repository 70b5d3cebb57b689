# SPDX-License-Identifier: Apache-2.0
"""Default quotas of projects; -1 means unlimited."""

from oslo_config import cfg

GROUP = 'quota'
OPTS = [
    cfg.IntOpt('volumes', default=10, min=-1, help='Maximum number of volumes per project.'),
    cfg.IntOpt('gigabytes', default=1000, min=-1, help='Maximum total size of the volumes of a project, in GiB.'),
    cfg.IntOpt('per_volume_gigabytes', default=-1, min=-1, help='Maximum size of a volume, in GiB.'),
    cfg.IntOpt(
        'attachments',
        default=-1,
        min=-1,
        help="Maximum number of attachments of a project's volumes, where each server counts once per volume.",
    ),
]
