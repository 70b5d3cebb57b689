# SPDX-License-Identifier: Apache-2.0
"""Options of the iSCSI target."""

from oslo_config import cfg

GROUP = 'tgt'
OPTS = [
    cfg.BoolOpt(
        'private', default=False, help='Start a private tgtd instead of using the one that is already running.'
    ),
    cfg.IntOpt(
        'control_port',
        min=0,
        max=32767,
        help='Control port of tgtd (tgtadm -C). If unset: 0, or any free port for a private tgtd.',
    ),
    cfg.StrOpt(
        'portal',
        default='127.0.0.1:3260',
        help='ADDRESS:PORT of the iSCSI portal that hosts connect to; [ADDRESS]:PORT for IPv6.',
    ),
    cfg.StrOpt(
        'listen',
        default='',
        help='ADDRESS:PORT on which tgtd listens, if it differs from the portal that hosts connect to, for example '
        '0.0.0.0:3260 or the internal address behind NAT.',
    ),
    cfg.StrOpt(
        'iqn_prefix', default='iqn.2010-10.org.openstack:', help='Prefix of target names; "volume-UUID" is appended.'
    ),
    cfg.BoolOpt(
        'write_cache',
        default=True,
        help='Enable the write cache of targets. If disabled, each write waits for the disk.',
    ),
    cfg.IntOpt(
        'driver_threads',
        default=4,
        min=1,
        max=256,
        help='Number of I/O threads per volume of a private tgtd, which limits how many reads and writes of one '
        'volume are in progress at the same time.',
    ),
    cfg.StrOpt('log_file', help='Log file of a private tgtd. If unset, its messages are discarded.'),
    cfg.StrOpt(
        'volumes_dir',
        default='$state_path/targets',
        help='Directory for target configuration files that tgt-admin can read. If empty, none are written.',
    ),
]
