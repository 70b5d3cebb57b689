# SPDX-License-Identifier: Apache-2.0
"""Options of notifications; whether and where they are sent is [oslo_messaging_notifications]."""

from oslo_config import cfg

GROUP = 'notifications'
OPTS = [
    cfg.IntOpt(
        'queue_size',
        default=1000,
        min=1,
        help='Maximum number of notifications that wait for a slow message broker. Further notifications are '
        'dropped with a warning; nothing else is delayed.',
    ),
    cfg.IntOpt(
        'retries',
        default=2,
        min=0,
        help='Number of times that a notification is sent again if the message broker does not accept it.',
    ),
    cfg.StrOpt(
        'audit_map_file',
        sample_default='/etc/multiattach/api_audit_map.conf',
        help='Map of the audit filter of keystonemiddleware. If set, the API sends CADF events '
        '(audit.http.request and audit.http.response) for each request that changes something, with '
        'the drivers and the transport of [oslo_messaging_notifications].',
    ),
]
