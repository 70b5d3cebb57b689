# SPDX-License-Identifier: Apache-2.0
"""Options of the API."""

from oslo_config import cfg

GROUP = 'api'
OPTS = [
    cfg.StrOpt(
        'auth_strategy',
        choices=[
            ('noauth', 'Everybody is admin; the token is USER:PROJECT. For one machine and tests.'),
            ('keystone', 'Keystone, by [keystone_authtoken].'),
        ],
        help='How callers are known. multiattach-api and the WSGI application do not start without it; '
        'multiattach-standalone takes noauth.',
    ),
    cfg.ListOpt(
        'noauth_hosts',
        default=[],
        help='Names by which clients may reach the API with auth_strategy noauth, besides addresses, '
        'localhost, the name of this machine and that in public_endpoint. A web page that has '
        'its own name lead here (DNS rebinding) is refused.',
    ),
    cfg.HostAddressOpt('listen_host', default='127.0.0.1', help='Address that multiattach-api listens on.'),
    cfg.PortOpt('listen_port', default=8776, help='Port that multiattach-api listens on.'),
    cfg.IntOpt('threads', default=32, min=1, help='Threads that answer requests.'),
    cfg.StrOpt(
        'public_endpoint',
        help='URL of the service in links, if it is not the URL that clients used, for instance behind a proxy.',
    ),
    cfg.IntOpt('max_limit', default=1000, min=1, help='Most items in one reply to a list.'),
    cfg.StrOpt('project_id_regex', default=r'[0-9a-f\-]+', help='What a project id in a URL looks like.'),
]
