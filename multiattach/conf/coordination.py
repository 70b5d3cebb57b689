# SPDX-License-Identifier: Apache-2.0
"""Options of coordination between processes."""

from oslo_config import cfg

GROUP = 'coordination'
OPTS = [
    cfg.StrOpt('backend_url', default='file://$state_path/locks', secret=True,
               help='tooz backend for locks: a folder on one host, Redis or etcd beyond.'),
]
