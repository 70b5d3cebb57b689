# SPDX-License-Identifier: Apache-2.0
"""Options of host agents."""

from oslo_config import cfg

GROUP = 'host_agent'
OPTS = [
    cfg.StrOpt(
        'enabled',
        default='auto',
        choices=[('auto', 'If libvirt answers.'), ('yes', 'Always.'), ('no', 'Never.')],
        help='Whether multiattach-standalone has a host agent.',
    ),
    cfg.StrOpt(
        'connector',
        default='os-brick',
        choices=[
            ('os-brick', "The host's kernel logs in (open-iscsi)."),
            ('qemu', "QEMU's own initiator logs in, for hosts whose kernel has no SCSI."),
        ],
        help='How the host reaches targets.',
    ),
    cfg.StrOpt('libvirt_uri', default='qemu:///system', help='Which libvirt to talk to.'),
    cfg.StrOpt('my_ip', default='127.0.0.1', help='Address of this host in connectors.'),
    cfg.StrOpt(
        'project_id',
        default='0' * 32,
        help=(
            'Project of those servers of this host whose metadata in libvirt name no other. Each member of a '
            'project may attach its volumes to its servers. Empty: such servers are not shown to anybody.'
        ),
    ),
    # With the id of an attachment it is a name of at most 223 signs that a target can be told.
    cfg.StrOpt(
        'initiator_prefix',
        default='iqn.2010-10.org.openstack:',
        regex=r'^[A-Za-z0-9:._-]{1,187}$',
        help='Start of initiator names with connector qemu.',
    ),
    cfg.FloatOpt(
        'detach_timeout',
        default=20.0,
        min=1.0,
        help='Seconds that a server has to let a device go; it is asked 8 times.',
    ),
    cfg.FloatOpt(
        'libvirt_timeout',
        default=20.0,
        min=1.0,
        help='Seconds that a call into libvirt may take. One that takes longer goes on unattended; '
        'its server is left alone until it has come back, and the step is tried again.',
    ),
    cfg.FloatOpt('connect_timeout', default=60.0, min=5.0, help='Seconds that a login to a target may take.'),
]
