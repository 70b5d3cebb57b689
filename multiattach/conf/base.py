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
        help='Name of this host. Do not change it while attachments exist on it.',
    ),
    # systemd says which folder is the unit's own: one configuration file does for all programs of a machine.
    cfg.StrOpt(
        'state_path',
        default=os.environ.get('STATE_DIRECTORY') or '/var/lib/multiattach',
        sample_default='/var/lib/multiattach',
        help='Directory for the state of a program. Under systemd, it defaults to the state directory of the unit. '
        'Do not set it in a file that programs of several units share: each needs its own directory.',
    ),
    cfg.StrOpt('storage_availability_zone', default='nova', help='Availability zone of the services on this host.'),
    cfg.StrOpt(
        'default_availability_zone',
        help='Availability zone of volumes that are created without one; any zone if unset. The zones of a '
        'volume type (RESKEY:availability_zones) take precedence, and a clone is in the zone of its source.',
    ),
    cfg.FloatOpt('report_interval', default=10.0, min=0.1, help='Time in seconds between two heartbeats of a service.'),
    cfg.FloatOpt(
        'service_down_time',
        default=60.0,
        min=1.0,
        help='Time in seconds without a heartbeat after which a service is considered down.',
    ),
    cfg.IntOpt(
        'rpc_monitor_timeout',
        default=5,
        min=2,
        help='Time in seconds without a sign of life after which the API stops waiting for a worker; the result is '
        'then read from the database, within rpc_response_timeout.',
    ),
    cfg.StrOpt(
        'default_volume_type',
        default='__DEFAULT__',
        help='Volume type of volumes that are created without one. It is created if it does not exist.',
    ),
    cfg.BoolOpt(
        'enable_force_upload',
        default=False,
        help='Whether the option force of os-volume_upload_image makes an image of a volume that is in use. What '
        'servers have not written yet is not in it, and what they write meanwhile may be, in part.',
    ),
    cfg.IntOpt(
        'max_attachments_per_volume',
        default=0,
        min=0,
        help='Maximum number of servers that a multiattach volume can be attached to; 0 means unlimited. The extra '
        'spec multiattach:max_attachments of a volume type takes precedence.',
    ),
]
