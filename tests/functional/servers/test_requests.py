# SPDX-License-Identifier: Apache-2.0
"""What a WSGI server may spoil: connections that stay, many at once, bodies of every kind."""

import concurrent.futures
import contextlib
import socket
import struct
import time
import uuid

from tests.deployments.noauth import HEADERS, make_connector
from tests.deployments.web_servers import Client, Server

SHARERS = 32
_DATA_SEGMENTS_IN = 152  # in linux/tcp.h: struct tcp_info.tcpi_data_segs_in


def test_a_connection_serves_many_requests(client: Client) -> None:
    assert client.ask('GET', '/v3/')[0] == 200
    source = client.source
    assert source is not None
    for _ in range(20):
        assert client.ask('GET', '/v3/volumes/detail')[0] == 200
        assert client.source == source


def test_idle_connections_hold_no_thread(server: Server, client: Client) -> None:
    # Both samples have 2 processes with 32 threads.
    with contextlib.ExitStack() as stack:
        for _ in range(80):
            idle = Client(server.port)
            stack.callback(idle.close)
            assert idle.ask('GET', '/v3/')[0] == 200
            assert idle.source is not None
        started = time.monotonic()
        assert client.ask('GET', '/v3/volumes')[0] == 200
        assert time.monotonic() - started < 5


def test_sharers_attach_all_at_once(server: Server, shared: str) -> None:
    def attach(number: int) -> int:
        with contextlib.closing(Client(server.port)) as client:
            code, reply = client.ask(
                'POST',
                '/v3/attachments',
                {
                    'attachment': {
                        'volume_uuid': shared,
                        'instance_uuid': str(uuid.uuid4()),
                        'connector': make_connector(f'host-{number}'),
                    }
                },
            )
            assert code == 200, reply
            ident = reply['attachment']['id']
            complete = client.ask('POST', f'/v3/attachments/{ident}/action', {'os-complete': None})
            assert complete[0] == 204
            return client.ask('DELETE', f'/v3/attachments/{ident}')[0]

    with concurrent.futures.ThreadPoolExecutor(SHARERS) as pool:
        assert list(pool.map(attach, range(SHARERS))) == [200] * SHARERS
    with contextlib.closing(Client(server.port)) as client:
        assert client.status(shared) == 'available'


def test_a_long_reply_is_not_cut_in_pieces(server: Server, client: Client, shared: str) -> None:
    # The second piece would wait until the client has acknowledged the first one, which takes it 40 ms.
    metadata = {f'key {number}': 'x' * 250 for number in range(80)}
    assert client.ask('PUT', f'/v3/volumes/{shared}/metadata', {'metadata': metadata})[0] == 200
    fields = ''.join(f'{name}: {value}\r\n' for name, value in HEADERS.items())
    reply = b''
    with socket.create_connection(('127.0.0.1', server.port), 60) as connection:
        connection.sendall(f'GET /v3/volumes/{shared} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n'.encode())
        while not reply.endswith(b'}}'):
            more = connection.recv(1 << 20)
            assert more, 'the connection was closed'
            reply += more
        (segments,) = struct.unpack_from(
            'I', connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 160), _DATA_SEGMENTS_IN
        )
    assert len(reply) > 20_000
    if server.kind == 'uwsgi':  # Gunicorn's connections have TCP_NODELAY
        assert segments == 1


def test_a_chunked_body_is_read(client: Client, shared: str) -> None:
    for round_ in range(3):
        code, reply = client.ask(
            'PUT', f'/v3/volumes/{shared}', {'volume': {'name': f'chunked {round_}'}}, chunked=True
        )
        assert (code, reply['volume']['name']) == (200, f'chunked {round_}')


def test_a_body_too_large_is_refused_and_the_server_goes_on(server: Server) -> None:
    body = {'volume': {'size': 1, 'description': 'x' * 200_000}}
    for chunked in (False, True):
        with contextlib.closing(Client(server.port)) as client:
            code, reply = client.ask('POST', '/v3/volumes', body, chunked=chunked)
            assert code == 413, reply
        with contextlib.closing(Client(server.port)) as client:
            assert client.ask('GET', '/v3/volumes')[0] == 200


def test_a_bad_body_is_answered_and_the_connection_stays(client: Client) -> None:
    for body in (b'{', b'[]', b'\xff\xfe', b'"volume"', b'{"volume": null}', b'{"volume": {"size": "\\u0000"}}'):
        code, reply = client.ask('POST', '/v3/volumes', body)
        assert (code, list(reply)) == (400, ['badRequest']), (body, reply)
    source = client.source
    assert client.ask('GET', '/v3/volumes')[0] == 200
    assert client.source == source


def test_a_body_that_nobody_reads_does_not_spoil_the_next_request(client: Client) -> None:
    for method in ('GET', 'DELETE'):
        code, _ = client.ask(method, f'/v3/volumes/{uuid.uuid4()}', b'GET /nonsense HTTP/1.1\r\n\r\n' * 500)
        assert code == 404
        assert client.ask('GET', '/v3/volumes')[0] == 200


def test_a_long_header_passes(client: Client) -> None:
    code, _ = client.ask('GET', '/v3/volumes', headers={'X-Long': 'x' * 7000})
    assert code == 200


def test_links_name_what_the_client_asked(client: Client) -> None:
    _, reply = client.ask('GET', '/', headers={'Host': 'volume.example.org:8776'})
    assert reply['versions'][0]['links'][1]['href'] == 'http://volume.example.org:8776/v3/'
