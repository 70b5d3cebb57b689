# SPDX-License-Identifier: Apache-2.0
import contextlib
import http.client

from multiattach.cmd.server import HttpServer


def answer(_environ, start_response):
    start_response('200 OK', [('Content-Length', '2')])
    return [b'{}']


def test_clients_that_keep_connections_open_keep_nobody_out():
    """Dashboards and proxies hold hundreds of them."""
    server = HttpServer(answer, '127.0.0.1', 0, 2)
    server.start()
    with contextlib.ExitStack() as stack:
        stack.callback(server.stop)
        for _ in range(200):
            connection = http.client.HTTPConnection('127.0.0.1', server.port, timeout=5)
            stack.callback(connection.close)
            connection.request('GET', '/')
            assert connection.getresponse().read() == b'{}'
