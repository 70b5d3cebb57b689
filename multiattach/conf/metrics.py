# SPDX-License-Identifier: Apache-2.0
"""Options of the metrics that Prometheus reads."""

from oslo_config import cfg

GROUP = 'metrics'
OPTS = [
    cfg.StrOpt(
        'listen',
        default='',
        help='ADDRESS:PORT on which this program serves Prometheus metrics, for example 127.0.0.1:9776. If empty, '
        'no metrics are served. There is no access control. Programs on the same host need different ports.',
    ),
    cfg.StrOpt(
        'multiprocess_dir',
        default='',
        help='Directory in which the processes of multiattach.wsgi.api:application aggregate their metrics; '
        'multiattach.wsgi.metrics:application serves the sum. It must be empty when the WSGI server starts; a '
        'tmpfs is recommended.',
    ),
    cfg.FloatOpt(
        'stuck_after',
        default=300.0,
        min=1.0,
        help='Time in seconds after which an attachment or a volume in a transient state is counted as stuck.',
    ),
]
