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
        'the same target; with driver rbd and target_driver tgt each member is a gateway with a target of its own. '
        'With target_driver lio they run on one machine, or one of them at a time: a worker does not start while '
        'another one is alive with the targets of another kernel. '
        'Do not change the name while volumes exist.',
    ),
    cfg.FloatOpt(
        'gateway_timeout',
        default=10.0,
        min=2.0,
        help='Time in seconds without a sign of life of the portal and of the worker of a gateway after which the '
        'other members of its cluster have Ceph refuse whatever it still sends. It must be shorter than the time '
        'after which a host with several paths repeats a write elsewhere: the sum of noop_out_interval, '
        'noop_out_timeout and replacement_timeout of its iSCSI initiator.',
    ),
    cfg.IntOpt(
        'max_active_steps',
        default=4,
        min=0,
        help='Maximum number of attachments that this worker exports or takes back at the same time. Others wait for '
        'their turn. One that waits for the target or for another step on its volume does not count. Python threads '
        'that compute at the same time slow each other down. 0 removes the limit.',
    ),
]

BACKEND_OPTS = [
    cfg.Opt(
        'driver',
        type=plugins.DriverName(
            plugins.BACKENDS,
            {
                'file': 'Sparse files in a directory.',
                'lvm': 'Logical volumes of a volume group.',
                'rbd': 'Images of a pool of Ceph.',
            },
        ),
        default='file',
        help='Storage driver. Packages can add more (entry points multiattach.backends).',
    ),
    cfg.Opt(
        'target_driver',
        type=plugins.DriverName(
            plugins.TARGETS,
            {
                'tgt': 'iSCSI targets of tgtd.',
                'lio': 'iSCSI targets of the kernel (Linux-IO).',
                'rbd': 'Hosts open images of Ceph themselves; for driver = rbd only.',
                'null': 'No export; for benchmarks only.',
            },
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
        'disables over-subscription. Snapshots do not count. Volumes of the lvm driver are thick, and placed where '
        'the volume group has that much free.',
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
RBD_OPTS = [
    cfg.StrOpt('rbd_pool', default='rbd', help='Name of the pool of Ceph that the images are in (rbd driver).'),
    cfg.StrOpt(
        'rbd_user',
        default='admin',
        help='Name of the cephx user, without "client.", that makes the images and exports them (rbd driver).',
    ),
    cfg.StrOpt(
        'rbd_ceph_conf',
        default='/etc/ceph/ceph.conf',
        help='Path of the configuration file of Ceph. It names the monitors and the keyring of the user (rbd driver).',
    ),
    cfg.StrOpt('rbd_cluster_name', default='ceph', help='Name of the Ceph cluster (rbd driver).'),
    cfg.IntOpt(
        'rbd_max_clone_depth',
        default=5,
        min=0,
        help='How many generations of clones may share blocks with each other. A clone of a later generation, or '
        'every clone if this is 0, gets all its blocks copied when it is made (rbd driver).',
    ),
    cfg.ListOpt(
        'rbd_image_pools',
        default=[],
        help='Pools of the same cluster that the Image service has its images in. A volume of a raw image in one of '
        'them shares its blocks, if rbd_user has "profile rbd" for that pool and the Image service shows where images '
        'are. Other images, and with an empty list all, are fetched and checked (rbd driver).',
    ),
    cfg.IntOpt(
        'rbd_store_chunk_size',
        default=4,
        min=1,
        max=32,
        help='Size in MiB of the objects that an image is made of; a power of two (rbd driver).',
    ),
    cfg.IntOpt(
        'rados_connect_timeout',
        default=10,
        min=1,
        help='Seconds to wait for an answer of a monitor or an OSD of Ceph; the step is then tried again (rbd driver).',
    ),
]
RBD_TARGET_OPTS = [
    cfg.StrOpt(
        'rbd_secret_uuid',
        regex=r'^([0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})?$',
        help='UUID of the libvirt secret with which compute hosts keep the key of rbd_user. It is told to those that '
        'do not ask for a cephx user of each attachment, such as those of Nova (rbd target driver).',
    )
]


def register_backend(conf: cfg.ConfigOpts, name: str) -> Any:
    """Register and return the options of one backend, without those of its drivers."""
    conf.register_opts(BACKEND_OPTS, group=name)
    return conf[name]
