# SPDX-License-Identifier: Apache-2.0
"""How long a fence takes that Ceph keeps, under write load, and that of a host with many attachments.

    python -m tests.benchmarks.native_fence [--count 20] [--attachments 200]

A private Ceph of one OSD; API to worker to Ceph; one librbd client per attachment writes as fast as it can.
"""

import argparse
import pathlib
import statistics
import tempfile
import time

from tests.functional.drivers.targets.rbd.cloud import Cloud, deploy_on, make_connector
from tests.testbed.ceph import Ceph


def fence_one(cloud: Cloud, volume_id: str) -> float:
    row = cloud.attach(volume_id, make_connector('a'))
    writer = cloud.write(row['connection_info'])
    started = time.monotonic()
    answer = cloud.ask('post_json', f'/v3/multiattach/attachments/{row["id"]}/fence', {'fence': {}})
    seconds = time.monotonic() - started
    assert answer['fence']['attachments'][0]['proof']['cut']['sessions']
    assert writer.read()[-1][1] < started + seconds
    writer.stop()
    cloud.detach(row['id'])
    return seconds


def fence_host(cloud: Cloud, count: int) -> float:
    volumes = [cloud.deployed.make_volume('multi') for _ in range(4)]
    for number in range(count):
        cloud.attach(volumes[number % len(volumes)], make_connector('many'))
    started = time.monotonic()
    answer = cloud.ask('post_json', '/v3/multiattach/hosts/many/fence', {'fence': {}})
    assert answer['fence']['complete']
    return time.monotonic() - started


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument('--count', type=int, default=20)
    parser.add_argument('--attachments', type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        with Ceph(folder / 'ceph') as ceph, deploy_on(ceph, folder) as cloud:
            volume_id = cloud.deployed.make_volume('multi')
            row = cloud.attach(volume_id, make_connector('b'))
            other = cloud.write(row['connection_info'], 1 << 20)
            taken = [fence_one(cloud, volume_id) for _ in range(options.count)]
            other.go_on()
            print(f'one attachment: median {statistics.median(taken):.3f} s, maximum {max(taken):.3f} s')
            seconds = fence_host(cloud, options.attachments)
            other.go_on()
            print(f'a host with {options.attachments} attachments: {seconds:.2f} s')


if __name__ == '__main__':
    main()
