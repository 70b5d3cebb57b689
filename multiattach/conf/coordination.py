# SPDX-License-Identifier: Apache-2.0
"""Options of coordination between processes."""

from oslo_config import cfg

GROUP = 'coordination'
OPTS = [
    cfg.StrOpt(
        'backend_url',
        default='file://$state_path/locks',
        secret=True,
        help='URL of the tooz backend for locks and groups: a directory (file://) for a single host; Redis '
        '(redis://HOST:6379?timeout=10) or etcd (etcd3+http://HOST:2379) for several. A process that was '
        'killed is considered gone after "timeout" seconds.',
    )
]
