# SPDX-License-Identifier: Apache-2.0
"""Options of host agents."""

from oslo_config import cfg

from multiattach.conf import plugins

GROUP = 'host_agent'
_OPTS = [
    cfg.StrOpt(
        'enabled',
        default='auto',
        choices=[('auto', 'Only if libvirt is available.'), ('yes', 'Always.'), ('no', 'Never.')],
        help='Whether multiattach-standalone runs a host agent.',
    ),
    cfg.Opt(
        'connector',
        type=plugins.DriverName(
            plugins.CONNECTORS,
            {
                'os-brick': "The host's kernel initiator (open-iscsi).",
                'qemu': "QEMU's built-in initiator, for hosts whose kernel lacks SCSI support.",
                'rbd': 'None: this host has only volumes that QEMU opens in Ceph itself. It needs no initiator.',
            },
        ),
        default='os-brick',
        help='How this host connects to iSCSI targets. Packages can add more (entry points multiattach.connectors).',
    ),
    cfg.Opt(
        'hypervisor',
        type=plugins.DriverName(plugins.HYPERVISORS, {'libvirt': 'QEMU with libvirt.'}),
        default='libvirt',
        help='Driver of the hypervisor. Packages can add more (entry points multiattach.hypervisors).',
    ),
    cfg.BoolOpt(
        'redirect_gateways',
        default=True,
        help='Whether connections of this host to an iSCSI gateway that is lost are redirected to one that serves '
        '(iptables, table nat). Initiators without multipath keep to the portal that they logged in at.',
    ),
    cfg.StrOpt('my_ip', default='127.0.0.1', help='IP address of this host, as reported in connectors.'),
    cfg.StrOpt(
        'project_id',
        default='0' * 32,
        help=(
            'Project that owns those servers on this host whose libvirt metadata does not name a project. Every '
            'member of that project can attach its volumes to them. If empty, such servers are not visible to '
            'anyone.'
        ),
    ),
]
BRICK_OPTS = [
    cfg.BoolOpt(
        'use_multipath',
        default=False,
        help='Whether this host logs in at all portals of a volume and uses them as one device (os-brick connector). '
        'It needs multipathd, and find_multipaths set to no in its configuration.',
    ),
    cfg.FloatOpt('connect_timeout', default=60.0, min=5.0, help='Time in seconds that a login to a target may take.'),
]
QEMU_OPTS = [
    # With the id of an attachment it is a name of at most 223 signs that a target can be told.
    cfg.StrOpt(
        'initiator_prefix',
        default='iqn.2010-10.org.openstack:',
        regex=r'^[A-Za-z0-9:._-]{1,187}$',
        help='Prefix of initiator names with the qemu connector.',
    )
]
RBD_OPTS = [
    cfg.StrOpt(
        'rbd_ceph_conf',
        default='/etc/ceph/ceph.conf',
        help="Ceph's configuration file for QEMU on this host, if there is one; it needs no monitors and no keyring. "
        'client_mount_timeout in it limits how long a server stands still if Ceph falls silent while it is given a '
        'volume (300 s if it is not set).',
    ),
    cfg.IntOpt(
        'rados_connect_timeout',
        default=10,
        min=1,
        help='Time in seconds that Ceph may take for one answer when a volume is about to be given to a server that '
        'opens it in Ceph itself.',
    ),
]
LIBVIRT_OPTS = [
    cfg.StrOpt('libvirt_uri', default='qemu:///system', help='URI of the libvirt connection.'),
    cfg.FloatOpt(
        'detach_timeout',
        default=20.0,
        min=1.0,
        help='Time in seconds that a server has to release a device. The request is repeated 8 times within it.',
    ),
    cfg.FloatOpt(
        'libvirt_timeout',
        default=20.0,
        min=1.0,
        help='Time in seconds that a libvirt call may take. A call that takes longer continues in the background; '
        'its server is left alone until the call returns, and the step is retried.',
    ),
]
OPTS = [*_OPTS, *BRICK_OPTS, *QEMU_OPTS, *RBD_OPTS, *LIBVIRT_OPTS]
