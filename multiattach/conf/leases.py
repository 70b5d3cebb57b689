# SPDX-License-Identifier: Apache-2.0
"""Options of leases: how long a step belongs to whoever is at it, and how often it is tried."""

from oslo_config import cfg

GROUP = 'leases'
OPTS = [
    cfg.FloatOpt(
        'duration',
        default=30.0,
        min=2.0,
        help='Seconds after which a step belongs to nobody if there was no sign of life of the '
        'worker or agent that was at it. A step that takes longer is not disturbed: its '
        'lease is renewed every third of this time. It must be the same in all programs.',
    ),
    cfg.IntOpt(
        'max_attempts',
        default=10,
        min=1,
        help='Attempts without a result, such as no answer of a target or of libvirt, after which '
        'a step ends in an error state. A fence is never given up.',
    ),
    cfg.FloatOpt(
        'retry_pause', default=2.0, min=0.0, help='Seconds before the second attempt; it doubles with each one.'
    ),
    cfg.FloatOpt('longest_pause', default=300.0, min=0.0, help='Seconds that two attempts are apart at most.'),
]
