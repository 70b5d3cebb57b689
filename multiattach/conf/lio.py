# SPDX-License-Identifier: Apache-2.0
"""Options of the kernel's iSCSI target."""

from oslo_config import cfg

GROUP = 'lio'
OPTS = [
    cfg.StrOpt(
        'portal',
        default='127.0.0.1:3260',
        help='ADDRESS:PORT of the iSCSI portal that hosts connect to; [ADDRESS]:PORT for IPv6.',
    ),
    cfg.StrOpt(
        'listen',
        default='',
        help='ADDRESS:PORT on which the kernel listens, if it differs from the portal that hosts connect to, for '
        'example 0.0.0.0:3260 or the internal address behind NAT. No other program, such as tgtd, can have the port.',
    ),
    cfg.StrOpt(
        'iqn_prefix', default='iqn.2010-10.org.openstack:', help='Prefix of target names; "volume-UUID" is appended.'
    ),
    cfg.BoolOpt(
        'write_cache',
        default=True,
        help='Enable the write cache of volumes that are files. If disabled, each write waits for the disk.',
    ),
    cfg.StrOpt(
        'reservations_dir',
        default='$state_path/reservations',
        help='Directory for the SCSI-3 registrations of volumes that are block devices. Those of a volume that is a '
        'file are beside it. Workers that take over volumes of each other need it in common.',
    ),
]
