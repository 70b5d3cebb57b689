# SPDX-License-Identifier: Apache-2.0
"""Options of the metrics that Prometheus reads."""

from oslo_config import cfg

GROUP = 'metrics'
OPTS = [
    cfg.StrOpt(
        'listen',
        default='',
        help='ADDRESS:PORT at which this program serves its metrics in the text format of '
        'Prometheus, for instance 127.0.0.1:9776; empty for no metrics. Whoever reaches it '
        'may read it. Programs of one host need ports of their own.',
    ),
    cfg.StrOpt(
        'multiprocess_dir',
        default='',
        help='Folder that the processes of multiattach.wsgi.api:application share to count '
        'together; multiattach.wsgi.metrics:application serves the sum. It must be empty '
        'when the WSGI server starts, best on a tmpfs.',
    ),
    cfg.FloatOpt(
        'stuck_after',
        default=300.0,
        min=1.0,
        help='Seconds in flight after which an attachment or a volume counts as stuck.',
    ),
]
