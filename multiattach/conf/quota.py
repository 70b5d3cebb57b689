# SPDX-License-Identifier: Apache-2.0
"""Default quotas of projects; -1 means unlimited."""

from oslo_config import cfg

GROUP = 'quota'
OPTS = [
    cfg.IntOpt('volumes', default=10, min=-1, help='Volumes of a project.'),
    cfg.IntOpt('gigabytes', default=1000, min=-1, help='GiB of all volumes of a project.'),
    cfg.IntOpt('per_volume_gigabytes', default=-1, min=-1, help='GiB of one volume.'),
    cfg.IntOpt(
        'attachments',
        default=-1,
        min=-1,
        help='Servers that have the volumes of a project, counted once for each volume.',
    ),
]
