# SPDX-License-Identifier: Apache-2.0
"""Options of leases: how long a step belongs to whoever is at it, and how often it is tried."""

from oslo_config import cfg

from multiattach.domain.leases import LeaseRules

GROUP = 'leases'
OPTS = [
    cfg.FloatOpt(
        'duration',
        default=LeaseRules.duration,
        min=2.0,
        help='Time in seconds without a sign of life after which a step no longer belongs to the worker or agent '
        'that runs it. Long steps are not interrupted: a lease is renewed every third of this time. Use the '
        'same value for all programs.',
    ),
    cfg.IntOpt(
        'max_attempts',
        default=LeaseRules.max_attempts,
        min=1,
        help='Number of attempts without a result (for example, because the target or libvirt does not respond) '
        'after which a step ends in an error state. Fences are retried indefinitely.',
    ),
    cfg.FloatOpt(
        'retry_pause',
        default=LeaseRules.pause,
        min=0.0,
        help='Time in seconds before the second attempt. It doubles with each further attempt.',
    ),
    cfg.FloatOpt(
        'longest_pause', default=LeaseRules.longest_pause, min=0.0, help='Maximum time in seconds between two attempts.'
    ),
]
