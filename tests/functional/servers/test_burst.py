# SPDX-License-Identifier: Apache-2.0
"""More requests at once than can be worked on."""

import asyncio
import contextlib
import json
import pathlib
import time
import uuid

import pytest

from tests.deployments.noauth import HEADERS, make_connector
from tests.deployments.web_servers import Backend, Client, Server
from tests.functional.servers.conftest import SERVERS, make_shared

BURST = 2000


async def ask(port: int, method: str, path: str, body: object = None) -> tuple[int, dict[str, str], bytes]:
    """Make a request on a connection of its own."""
    reader, writer = await asyncio.open_connection('127.0.0.1', port)
    data = b'' if body is None else json.dumps(body).encode()
    fields = HEADERS | {'Host': '127.0.0.1', 'Connection': 'close', 'Content-Length': str(len(data))}
    head = ''.join(f'{name}: {value}\r\n' for name, value in fields.items())
    writer.write(f'{method} {path} HTTP/1.1\r\n{head}\r\n'.encode() + data)
    reply = await reader.read()
    writer.close()
    top, _, text = reply.partition(b'\r\n\r\n')
    status, *lines = top.decode().split('\r\n')
    return int(status.split()[1]), {k.lower(): v for k, v in (line.split(': ', 1) for line in lines)}, text


async def attach_all(port: int, volume: str, servers: list[str]) -> list[tuple[int, dict[str, str], bytes]]:
    async def attach(number: int, server: str) -> tuple[int, dict[str, str], bytes]:
        await asyncio.sleep(number / len(servers))
        return await ask(
            port, 'POST', '/v3/attachments', {'attachment': {'volume_uuid': volume, 'instance_uuid': server}}
        )

    async def look() -> None:
        # A health check stands in the same queue, but is never refused.
        for _ in range(3):
            code, _headers, text = await ask(port, 'GET', '/healthcheck')
            assert code == 200, text
            await asyncio.sleep(0.5)

    looking = asyncio.create_task(look())
    replies = await asyncio.wait_for(asyncio.gather(*(attach(*one) for one in enumerate(servers))), 240)
    await looking
    return replies


@pytest.mark.parametrize('kind', SERVERS)
def test_each_request_of_a_burst_is_answered_or_told_when_to_come_back(
    backend: Backend, kind: str, tmp_path: pathlib.Path
) -> None:
    # With 20 s, as it is by default, a fast machine would be done with all of them.
    server = Server(backend, kind, tmp_path)
    server.config.write_text(server.config.read_text().replace('[api]\n', '[api]\nmax_queue_time = 0.5\n', 1))
    try:
        server.start()
        with contextlib.closing(Client(server.port)) as client:
            volume = make_shared(client)
        servers = [str(uuid.uuid4()) for _ in range(BURST)]
        replies = asyncio.run(attach_all(server.port, volume, servers))
        served = {one for one, (code, _, _) in zip(servers, replies, strict=True) if code == 200}
        refused = [(headers, json.loads(text)) for code, headers, text in replies if code == 503]
        assert len(served) + len(refused) == BURST, {code for code, _, _ in replies}
        assert served
        assert refused
        for headers, body in refused:
            assert list(body) == ['serviceUnavailable']
            assert headers['retry-after'] == body['serviceUnavailable']['retryAfter'] == '1'
            assert headers['x-openstack-request-id'].startswith('req-')
        with contextlib.closing(Client(server.port)) as client:
            code, listed = client.ask('GET', f'/v3/attachments/detail?volume_id={volume}&limit=1000')
            assert code == 200
            held = {one['instance'] for one in listed['attachments']}
            while 'attachments_links' in listed:
                path = listed['attachments_links'][0]['href'].partition(f':{server.port}')[2]
                _, listed = client.ask('GET', path)
                held |= {one['instance'] for one in listed['attachments']}
            assert held == served
            code, made = client.ask(
                'POST',
                '/v3/attachments',
                {
                    'attachment': {
                        'volume_uuid': volume,
                        'instance_uuid': str(uuid.uuid4()),
                        'connector': make_connector('host-after'),
                    }
                },
            )
            assert code == 200, made
            assert client.ask('DELETE', f'/v3/attachments/{made["attachment"]["id"]}')[0] == 200
        said = server.log.read_text()
        assert 'Traceback' not in said
        assert said.count('The queue of requests') < 20
    finally:
        server.stop()


def test_requests_wait_for_a_hung_worker_only_so_long(backend: Backend, tmp_path: pathlib.Path) -> None:
    """All threads wait for the worker: the others are refused when they have waited, and not served late."""
    server = Server(backend, 'uwsgi', tmp_path)
    server.config.write_text(
        server.config.read_text()
        .replace('[api]\n', '[api]\nmax_queue_time = 3\n', 1)
        .replace('rpc_response_timeout = 60', 'rpc_response_timeout = 8')
    )
    try:
        server.start()
        with contextlib.closing(Client(server.port)) as client:
            volume = make_shared(client)

        async def hang() -> tuple[list[tuple[int, dict[str, str], bytes]], list[int]]:
            attaching = [
                asyncio.create_task(
                    ask(
                        server.port,
                        'POST',
                        '/v3/attachments',
                        {
                            'attachment': {
                                'volume_uuid': volume,
                                'instance_uuid': str(uuid.uuid4()),
                                'connector': make_connector(f'host-{number}'),
                            }
                        },
                    )
                )
                for number in range(80)
            ]
            await asyncio.sleep(2)
            late = [asyncio.create_task(ask(server.port, 'GET', '/v3/volumes')) for _ in range(5)]
            return await asyncio.gather(*attaching), [one[0] for one in await asyncio.gather(*late)]

        with backend.frozen():
            replies, late = asyncio.run(hang())
        codes = [code for code, _, _ in replies]
        # As many as there are threads of two processes wait for the worker.
        assert codes.count(504) == 64, codes
        assert codes.count(503) == 16, codes
        assert late == [503] * 5
        started = time.monotonic()
        with contextlib.closing(Client(server.port)) as client:
            assert client.ask('GET', '/v3/volumes')[0] == 200
        assert time.monotonic() - started < 3
    finally:
        server.stop()
