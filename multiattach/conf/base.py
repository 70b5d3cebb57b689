# SPDX-License-Identifier: Apache-2.0
"""Options that every program has."""

import os
import socket

from oslo_config import cfg

GROUP = 'DEFAULT'
OPTS = [
    cfg.StrOpt(
        'host',
        default=socket.gethostname(),
        sample_default='this-host',
        help='Name of this host; it must not change while attachments live on it.',
    ),
    # systemd says which folder is the unit's own: one configuration file does for all programs of a machine.
    cfg.StrOpt(
        'state_path',
        default=os.environ.get('STATE_DIRECTORY') or '/var/lib/multiattach',
        sample_default='/var/lib/multiattach',
        help='Folder for what a program keeps; under systemd, unless set, that of its unit. Do not '
        'set it where programs of several units read one file: each needs its own.',
    ),
    cfg.StrOpt('storage_availability_zone', default='nova', help='Availability zone of the services on this host.'),
    cfg.FloatOpt('report_interval', default=10.0, min=0.1, help='Seconds between two heartbeats of a service.'),
    cfg.FloatOpt(
        'service_down_time',
        default=60.0,
        min=1.0,
        help='Seconds without a heartbeat after which a service counts as down.',
    ),
    cfg.IntOpt(
        'rpc_monitor_timeout',
        default=5,
        min=2,
        help='Seconds without a sign of life after which a called worker is given up on; the '
        'database then tells how the call ended, within rpc_response_timeout.',
    ),
    cfg.StrOpt(
        'default_volume_type',
        default='__DEFAULT__',
        help='Type of volumes for which none is asked; it is made if it is missing.',
    ),
    cfg.IntOpt(
        'max_attachments_per_volume',
        default=0,
        min=0,
        help='Most servers that may have one multiattach volume at once; 0 for any number. The extra '
        'spec multiattach:max_attachments of a type goes before it.',
    ),
]
