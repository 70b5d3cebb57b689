# SPDX-License-Identifier: Apache-2.0
"""Options of coordination between processes."""

from oslo_config import cfg

GROUP = 'coordination'
OPTS = [
    cfg.StrOpt(
        'backend_url',
        default='file://$state_path/locks',
        secret=True,
        help='tooz backend for locks and groups: a folder (file://) on one host, Redis '
        '(redis://HOST:6379?timeout=10) or etcd (etcd3+http://HOST:2379) beyond. '
        'After timeout seconds a killed process counts as gone.',
    )
]
