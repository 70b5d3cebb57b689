# SPDX-License-Identifier: Apache-2.0
"""How long a fence takes through two gateways, while the one that is cut off and another one write through both.

    python -m tests.benchmarks.gateway_fence [--count 20]

A private Ceph of one OSD, RabbitMQ, Redis, an API, two volume workers, each with a tgtd of its own.
"""

import argparse
import contextlib
import pathlib
import statistics
import tempfile
import time

from tests.deployments.gateways import Deployment
from tests.functional.cluster.client import Client, Place
from tests.functional.drivers.gateways.paths import SPAN, PathWriter
from tests.testbed.ceph import Ceph

_FAR = 1000  # first block of the other one


def fence_one(cloud: Deployment, client: Client, volume: str) -> float:
    place = Place(volume, 'a')
    client.attach(place)
    with contextlib.ExitStack() as writing:
        cut = [
            writing.enter_context(PathWriter(place, [gateway.portal], number * SPAN))
            for number, gateway in enumerate(cloud.gateways)
        ]
        started = time.monotonic()
        code, reply = client.ask('POST', f'/v3/multiattach/attachments/{place.ident}/fence', {'fence': {}})
        seconds = time.monotonic() - started
        before = [writer.acknowledged for writer in cut]
        assert code == 200, reply
        gateways = reply['fence']['attachments'][0]['proof']['gateways']
        assert [len(one['left']['sessions']) for one in gateways.values()] == [0, 0]
        time.sleep(0.5)
        assert [writer.acknowledged for writer in cut] == before
    client.detach(place)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument('--count', type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        with Ceph(folder / 'ceph') as ceph, Deployment(folder / 'gateways', ceph).run() as cloud:
            client = Client(cloud.ports)
            client.make_type('shared', {'multiattach': '<is> True'})
            volume = client.make_volumes('shared', 1)[0]
            other = Place(volume, 'b')
            client.attach(other)
            with PathWriter(other, [one.portal for one in cloud.gateways], _FAR) as near:
                taken = [fence_one(cloud, client, volume) for _ in range(options.count)]
                near.wait_progress()
            print(f'one attachment: median {statistics.median(taken):.3f} s, maximum {max(taken):.3f} s')
            print(f'the other one: {near.acknowledged} writes without an error, longest pause {near.pause:.2f} s')


if __name__ == '__main__':
    main()
