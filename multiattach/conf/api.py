# SPDX-License-Identifier: Apache-2.0
"""Options of the API."""

from oslo_config import cfg

GROUP = 'api'
OPTS = [
    cfg.StrOpt(
        'auth_strategy',
        choices=[
            (
                'noauth',
                'Every caller is an administrator; the token is USER:PROJECT. For tests and single machines only.',
            ),
            ('keystone', 'Keystone, configured in [keystone_authtoken].'),
        ],
        help='How callers are authenticated. multiattach-api and the WSGI application require an explicit value; '
        'multiattach-standalone defaults to noauth.',
    ),
    cfg.ListOpt(
        'noauth_hosts',
        default=[],
        help='Additional host names that clients may use in the Host header with auth_strategy noauth. IP '
        "addresses, localhost, this machine's name and the host of public_endpoint are always accepted. Other "
        'names are refused, which protects against DNS rebinding.',
    ),
    cfg.HostAddressOpt('listen_host', default='127.0.0.1', help='Address on which multiattach-api listens.'),
    cfg.PortOpt('listen_port', default=8776, help='Port on which multiattach-api listens.'),
    cfg.IntOpt('threads', default=32, min=1, help='Number of threads that process requests.'),
    cfg.IntOpt(
        'max_active_requests',
        default=2,
        min=0,
        help='Maximum number of requests that one process works on at the same time. Others wait for their turn. A '
        'request that waits for a volume worker or for another service does not count. Python threads that compute '
        'at the same time slow each other down: to use more CPUs, run more processes. 0 removes the limit.',
    ),
    cfg.FloatOpt(
        'max_queue_time',
        default=20.0,
        min=0.0,
        help='Maximum number of seconds that a request may have waited before the API starts to work on it. A '
        'request that has waited longer is refused with 503 (Service Unavailable) and a Retry-After header. Health '
        'checks are never refused. 0 removes the limit.',
    ),
    cfg.StrOpt(
        'public_endpoint',
        help='Base URL of the service for links in replies, if it differs from the URL that clients use, for '
        'example behind a proxy.',
    ),
    cfg.IntOpt('max_limit', default=1000, min=1, help='Maximum number of items in one page of a list.'),
    cfg.StrOpt(
        'project_id_regex', default=r'[0-9a-f\-]+', help='Regular expression that a project ID in a URL must match.'
    ),
]
