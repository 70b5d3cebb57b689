# SPDX-License-Identifier: Apache-2.0
"""Options of volume workers; each backend has a group of its own name."""

from typing import Any

from oslo_config import cfg

from multiattach.conf import plugins

GROUP = 'volume'
OPTS = [
    cfg.ListOpt(
        'enabled_backends',
        default=['file'],
        help='Names of the backends that this worker serves. Each one is configured in the group of the same name.',
    ),
    cfg.StrOpt(
        'cluster',
        regex=r'^[A-Za-z0-9._-]+$',
        help='Name of the cluster that this volume worker belongs to. The members of a cluster run on several '
        'hosts (each with its own [DEFAULT] host) and serve the same backends: volumes belong to the cluster, '
        'and any member continues the work of one that has died. All members must reach the same storage and '
        'the same target. Do not change the name while volumes exist.',
    ),
]

BACKEND_OPTS = [
    cfg.Opt(
        'driver',
        type=plugins.DriverName(
            plugins.BACKENDS, {'file': 'Sparse files in a directory.', 'lvm': 'Logical volumes of a volume group.'}
        ),
        default='file',
        help='Storage driver. Packages can add more (entry points multiattach.backends).',
    ),
    cfg.Opt(
        'target_driver',
        type=plugins.DriverName(
            plugins.TARGETS, {'tgt': 'iSCSI targets of tgtd.', 'null': 'No export; for benchmarks only.'}
        ),
        default='tgt',
        help='Driver that exports volumes to hosts. Packages can add more (entry points multiattach.targets).',
    ),
    cfg.BoolOpt(
        'multiattach',
        default=True,
        help='Whether this backend reports that its volumes can be attached to several servers.',
    ),
    cfg.FloatOpt(
        'max_over_subscription_ratio',
        default=20.0,
        min=1.0,
        help='Ratio of provisioned to physical capacity up to which thin volumes are placed on this backend; 1 '
        'disables over-subscription.',
    ),
    cfg.DictOpt(
        'capabilities',
        default={},
        help='Additional capabilities to report, for matching with extra specs of volume types.',
    ),
]

FILE_OPTS = [
    cfg.StrOpt('directory', default='$state_path/volumes', help='Directory of the volume files (file driver).')
]
LVM_OPTS = [
    cfg.StrOpt('volume_group', default='multiattach-volumes', help='Name of the LVM volume group (lvm driver).')
]


def register_backend(conf: cfg.ConfigOpts, name: str) -> Any:
    """Register and return the options of one backend, without those of its drivers."""
    conf.register_opts(BACKEND_OPTS, group=name)
    return conf[name]
