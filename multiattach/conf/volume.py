# SPDX-License-Identifier: Apache-2.0
"""Options of volume workers; each backend has a group of its own name."""

from typing import Any

from oslo_config import cfg

GROUP = 'volume'
OPTS = [
    cfg.ListOpt(
        'enabled_backends',
        default=['file'],
        help='Backends of this worker; each is configured in the group of its name.',
    ),
    cfg.StrOpt(
        'cluster',
        regex=r'^[A-Za-z0-9._-]+$',
        help='Name of a group of volume workers on several hosts (each with a [DEFAULT] host of '
        'its own) that serve the same backends together: volumes belong to the '
        'group, and any member carries on for one that died. All of them must reach the '
        'same storage and the same target. It must not change while volumes live.',
    ),
]

BACKEND_OPTS = [
    cfg.StrOpt(
        'driver',
        default='file',
        choices=[('file', 'Sparse files in a directory.'), ('lvm', 'Logical volumes of a volume group.')],
        help='Where volumes are.',
    ),
    cfg.StrOpt('directory', default='$state_path/volumes', help='Folder of the files (driver file).'),
    cfg.StrOpt('volume_group', default='multiattach-volumes', help='Name of the volume group (driver lvm).'),
    cfg.StrOpt(
        'target_driver',
        default='tgt',
        choices=[('tgt', 'iSCSI by tgtd.'), ('null', 'No export at all, for benchmarks.')],
        help='How volumes are exported.',
    ),
    cfg.BoolOpt('multiattach', default=True, help='Report that volumes of this backend may be shared.'),
    cfg.FloatOpt(
        'max_over_subscription_ratio',
        default=20.0,
        min=1.0,
        help='How many times the capacity may be promised (thin volumes); 1 for never.',
    ),
    cfg.DictOpt('capabilities', default={}, help='Further capabilities that extra specs are matched with.'),
]


def register_backend(conf: cfg.ConfigOpts, name: str) -> Any:
    """Register and return the options of one backend.

    :param name: name of the backend, which is its group's.
    """
    conf.register_opts(BACKEND_OPTS, group=name)
    return conf[name]
