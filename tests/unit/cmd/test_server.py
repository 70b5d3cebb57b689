# SPDX-License-Identifier: Apache-2.0
import concurrent.futures
import contextlib
import http.client
import resource
import socket
import threading
import time

import pytest

from multiattach import turns
from multiattach.cmd.server import HttpServer
from multiattach.domain import errors


def answer(_environ, start_response):
    start_response('200 OK', [('Content-Length', '2')])
    return [b'{}']


def ask(host, port):
    connection = http.client.HTTPConnection(host, port, timeout=10)
    try:
        connection.request('GET', '/')
        return connection.getresponse().read()
    finally:
        connection.close()


@contextlib.contextmanager
def serve(application=answer, host='127.0.0.1', port=0, **options):
    server = HttpServer(application, host, port, 2, **options)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def test_clients_that_keep_connections_open_keep_nobody_out():
    """Dashboards and proxies hold hundreds of them."""
    with serve() as server, contextlib.ExitStack() as stack:
        for _ in range(200):
            connection = http.client.HTTPConnection('127.0.0.1', server.port, timeout=5)
            stack.callback(connection.close)
            connection.request('GET', '/')
            assert connection.getresponse().read() == b'{}'


def test_more_idle_connections_than_there_may_be_lock_nobody_out():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, 8192) if hard != resource.RLIM_INFINITY else 8192
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    with serve() as server, contextlib.ExitStack() as stack:
        for _ in range(1000):
            stack.enter_context(socket.create_connection(('127.0.0.1', server.port), timeout=10))
        assert ask('127.0.0.1', server.port) == b'{}'
        assert len(server._map) < 900, 'they are bounded'


def test_who_waits_for_a_reply_is_not_put_out():
    going, done = threading.Event(), threading.Event()

    def slow(environ, start_response):
        if environ['PATH_INFO'] == '/slow':
            going.set()
            assert done.wait(20)
        return answer(environ, start_response)

    with serve(slow, most=8) as server, contextlib.ExitStack() as stack:
        waiting = http.client.HTTPConnection('127.0.0.1', server.port, timeout=20)
        stack.callback(waiting.close)
        waiting.request('GET', '/slow')
        assert going.wait(10)
        for _ in range(30):
            stack.enter_context(socket.create_connection(('127.0.0.1', server.port), timeout=10))
        assert ask('127.0.0.1', server.port) == b'{}'
        done.set()
        assert waiting.getresponse().read() == b'{}'


@pytest.mark.parametrize('host', ['127.0.0.1', '::1', 'localhost', '0.0.0.0', '::'])
def test_addresses_and_names(host):
    with serve(host=host) as server:
        near = '127.0.0.1' if host in ('127.0.0.1', '0.0.0.0') else '::1' if ':' in host else 'localhost'
        assert ask(near, server.port) == b'{}'


@pytest.mark.parametrize('host', ['127.0.0.1', 'localhost'])
def test_who_has_the_port_is_told(host):
    with serve() as server:
        for _ in range(2):
            with pytest.raises(errors.ConfigurationError, match=r'Option x.*') as refused:
                HttpServer(answer, host, server.port, 2, option='Option x')
            assert '(pid ' in refused.value.message
            assert str(server.port) in refused.value.message


def test_the_application_knows_how_long_a_request_waited_for_a_thread():
    waited = []

    def slow(environ, start_response):
        waited.append(time.monotonic() - environ[turns.ARRIVED])
        time.sleep(0.5)
        return answer(environ, start_response)

    with serve(slow) as server, concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: ask('127.0.0.1', server.port), range(4))) == [b'{}'] * 4
    assert min(waited) < 0.4 < max(waited)
