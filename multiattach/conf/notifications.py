# SPDX-License-Identifier: Apache-2.0
"""Options of notifications; whether and where they are sent is [oslo_messaging_notifications]."""

from oslo_config import cfg

GROUP = 'notifications'
OPTS = [
    cfg.IntOpt(
        'queue_size',
        default=1000,
        min=1,
        help='Notifications that wait for a slow broker; further ones are dropped, with a '
        'warning. Nothing else waits for them.',
    ),
    cfg.IntOpt(
        'retries', default=2, min=0, help='How often a notification is sent again when the broker does not take it.'
    ),
]
