# SPDX-License-Identifier: Apache-2.0
"""The REST API under gunicorn; see doc/source/install/install.rst.

gunicorn --config /etc/multiattach/gunicorn.conf.py
"""

wsgi_app = 'multiattach.wsgi.api:application'
bind = ['127.0.0.1:8776']
worker_class = 'gthread'
workers = 2
# A request that waits for a volume worker holds a thread; other requests need some left. How many of them compute at
# once is max_active_requests in [api].
threads = 32
# Requests that wait for a thread; max_queue_time in [api] says for how long.
backlog = 4096
worker_connections = 4096
# Each process opens its own connections to the database and the broker: nothing may be forked.
preload_app = False
keepalive = 75
# Longer than rpc_response_timeout, after which the API gives up itself.
timeout = 120
graceful_timeout = 90
control_socket_disable = True
