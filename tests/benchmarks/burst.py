# SPDX-License-Identifier: Apache-2.0
"""More requests than can be worked on, within one second: ``python -m tests.benchmarks.burst``.

MariaDB, RabbitMQ, the API under uWSGI and a volume worker, all with the options that they have by default. Each
request reserves an attachment of one volume for a server of its own, on a connection of its own; what the database has
afterwards is compared with what was answered.
"""

import argparse
import asyncio
import collections
import json
import pathlib
import signal
import sys
import tempfile
import time
import uuid

import sqlalchemy as sa

from multiattach.db import models
from tests.benchmarks.measures import Bench
from tests.benchmarks.parts import Parts

Reply = tuple[str, float]  # its status, and seconds


async def _ask(parts: Parts, volume: str, server: str, delay: float) -> Reply:
    await asyncio.sleep(delay)
    began, endpoint = time.monotonic(), parts.endpoint
    body = json.dumps({'attachment': {'volume_uuid': volume, 'instance_uuid': server}}).encode()
    head = (
        f'POST {endpoint.prefix}/attachments HTTP/1.1\r\n{endpoint.head}Content-Type: application/json\r\n'
        f'Connection: close\r\nContent-Length: {len(body)}\r\n\r\n'
    )
    try:
        reader, writer = await asyncio.open_connection(*endpoint.address)
        writer.write(head.encode() + body)
        reply = await reader.read()
        writer.close()
    except OSError as exc:
        return type(exc).__name__, time.monotonic() - began
    return reply[9:12].decode() or 'nothing', time.monotonic() - began


async def _burst(parts: Parts, volume: str, servers: list[str]) -> list[Reply]:
    asking = (_ask(parts, volume, server, number / len(servers)) for number, server in enumerate(servers))
    return await asyncio.gather(*asking)


def measure(parts: Parts, number: int) -> None:
    """Send a burst and tell what came of it."""
    bench = Bench(parts.endpoint, parts, 0)
    [volume] = bench.make_volumes(1)
    servers = [str(uuid.uuid4()) for _ in range(number)]
    began = time.monotonic()
    replies = asyncio.run(_burst(parts, volume, servers))
    print(f'all answered after {time.monotonic() - began:.1f} s')
    for status, count in sorted(collections.Counter(status for status, _ in replies).items()):
        times = sorted(seconds for one, seconds in replies if one == status)
        print(
            f'{status}: {count}, after {times[0]:.2f} to {times[-1]:.2f} s, half of them in {times[count // 2]:.2f} s'
        )
    served = {server for server, (status, _) in zip(servers, replies, strict=True) if status == '200'}
    with parts.engine.connect() as connection:
        query = sa.select(models.Attachment.instance_uuid).where(models.Attachment.volume_id == volume)
        held = {str(row[0]) for row in connection.execute(query)}
    lost, silent = len(served - held), len(held - served)
    print(f'in the database: {len(held)}; answered and not there: {lost}; there and not answered so: {silent}')


def main() -> int:
    """Measure one burst.

    :returns: exit code.
    """
    parser = argparse.ArgumentParser(prog='python -m tests.benchmarks.burst', description=__doc__)
    parser.add_argument('--requests', type=int, default=2000, help='requests within one second (default: 2000)')
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever is cut short takes the servers along
    with tempfile.TemporaryDirectory(prefix='ma-burst-') as folder, Parts(pathlib.Path(folder), 'null') as parts:
        measure(parts, options.requests)
    return 0


if __name__ == '__main__':
    sys.exit(main())
