# SPDX-License-Identifier: Apache-2.0
"""Options of the iSCSI target."""

from oslo_config import cfg

GROUP = 'tgt'
OPTS = [
    cfg.BoolOpt('private', default=False, help='Start a tgtd of our own instead of using one that runs.'),
    cfg.IntOpt(
        'control_port',
        min=0,
        max=32767,
        help='Control port of the tgtd (tgtadm -C); 0 if unset, or any free one if private.',
    ),
    cfg.StrOpt(
        'portal',
        default='127.0.0.1:3260',
        help='ADDRESS:PORT of the iSCSI portal that hosts are told; [ADDRESS]:PORT with IPv6.',
    ),
    cfg.StrOpt(
        'listen',
        default='',
        help='ADDRESS:PORT at which tgtd listens, if it is not the portal that hosts are told: for '
        'instance 0.0.0.0:3260, or the inner address where addresses are translated.',
    ),
    cfg.StrOpt(
        'iqn_prefix', default='iqn.2010-10.org.openstack:', help='Start of the names of targets; "volume-UUID" follows.'
    ),
    cfg.BoolOpt('write_cache', default=True, help='Let targets cache writes; off makes each write wait for the disk.'),
    cfg.IntOpt(
        'driver_threads',
        default=4,
        min=1,
        max=256,
        help='I/O threads per volume of a private tgtd: how many reads and writes of one volume the disk gets at once.',
    ),
    cfg.StrOpt('log_file', help='Where a private tgtd writes what it has to say; unset for nowhere.'),
    cfg.StrOpt(
        'volumes_dir',
        default='$state_path/targets',
        help='Folder for target files that tgt-admin can read; empty for none.',
    ),
]
