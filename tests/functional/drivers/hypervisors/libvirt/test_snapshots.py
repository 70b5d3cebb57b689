# SPDX-License-Identifier: Apache-2.0
"""What a snapshot has of a volume that two guests write to: what doc/source/user/snapshots.rst says, by the API."""

import functools
import pathlib
from collections.abc import Iterator

import pytest

from multiattach.drivers.targets.tgt.process import PrivateTgtd
from multiattach.drivers.targets.tgt.target import TgtTarget
from multiattach.engine.snapshots import SnapshotWish
from multiattach.engine.volumes import VolumeWish
from multiattach.rpc import clients, transport
from tests.deployments import embedded
from tests.e2e import facts
from tests.functional.drivers.stores import FileStore, Store
from tests.testbed import reflink
from tests.testbed.guest import BLOCK_SIZE

from .bench import NAME, Bench
from .conftest import Host

pytestmark = pytest.mark.slow  # guests that write for half a minute

ROUNDS = 4
PLACES = (0, 100)  # blocks of the first guest, and of the second one


class Writer(facts.Writer):
    SPAN = 8


def quote(device: str) -> str:
    """Have each stamp say what the other guest's newest write was that its sender had read before."""
    newest = f'dd if={device} bs={BLOCK_SIZE} skip={PLACES[0]} count=1 iflag=direct 2>/dev/null'
    return f"two'$({newest} | tr -d '\\000' | tr ' ' '_')'"


@pytest.fixture(params=['xfs', 'rbd'])
def storage(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Iterator[Store]:
    if request.param == 'rbd':
        yield request.getfixturevalue('rbd')
        return
    if not reflink.is_possible():
        pytest.skip('needs root, loop devices and xfsprogs')
    with reflink.mount(tmp_path, 16 << 30) as place:
        yield FileStore(place / 'volumes')


@pytest.fixture
def bench(host: Host, tgtd: PrivateTgtd, storage: Store, tmp_path: pathlib.Path) -> Iterator[Bench]:
    target = TgtTarget(tgtd.daemon, portal=tgtd.portal, volumes_dir=tmp_path / 'targets')
    with embedded.deploy(tmp_path, target, report_interval=3600, backend=storage.backend) as deployed:
        made = Bench(deployed, host)
        server = transport.make_server(deployed.rpc, clients.HOST_TOPIC, NAME, made.agent)
        server.start()
        yield made
        server.stop()
        server.wait()
        made.hypervisor.close()


def take(bench: Bench, writers: list[Writer]) -> tuple[str, list[range]]:
    """Take a snapshot; tell in which range the newest write of each guest must be that it has."""
    d = bench.deployed
    answered = [one.count() for one in writers]
    snapshot = d.engine.snapshots.create(d.ctx, SnapshotWish(bench.volume_id, in_use_allowed=True)).id
    d.wait(lambda: d.engine.snapshots.show(d.ctx, snapshot).status == 'available', 60)
    # One write may be under way that is not counted, and may have begun before.
    return snapshot, [range(first - 1, one.count() + 1) for first, one in zip(answered, writers, strict=True)]


def read(bench: Bench, storage: Store, snapshot: str) -> list[list[tuple[str, int]]]:
    """Read what a volume of a snapshot has where the guests write."""
    d = bench.deployed
    volume = d.engine.volumes.create(d.ctx, VolumeWish(None, snapshot_id=snapshot)).id
    d.wait(lambda: d.status(volume) == 'available', 60)
    return [facts.read_stamps(storage.read(volume, place * BLOCK_SIZE, Writer.SPAN * BLOCK_SIZE)) for place in PLACES]


def is_attached(bench: Bench, ident: str) -> bool:
    return bench.state(ident) == 'attached'


def test_a_snapshot_while_two_guests_write(bench: Bench, storage: Store) -> None:
    idents = [bench.ask_attach(number) for number in (0, 1)]
    for ident in idents:
        bench.deployed.wait(functools.partial(is_attached, bench, ident), 60)
    guests = bench.host.guests
    devices = [guest.wait_for_disk(bench.volume_id) for guest in guests]
    one = Writer(guests[0], devices[0], PLACES[0], 'one')
    two = Writer(guests[1], devices[1], PLACES[1], quote(devices[1]))
    with one.running(), two.running():
        taken = []
        for _ in range(ROUNDS):
            for writer in (one, two):
                writer.wait_progress(120, 2 * Writer.SPAN)
            taken.append(take(bench, [one, two]))
    for snapshot, newest in taken:
        found = read(bench, storage, snapshot)
        for stamps, allowed in zip(found, newest, strict=True):
            numbers = [number for _, number in stamps]
            last = max(numbers)
            assert last in allowed
            # Each guest waits for an answer before it writes again: it has all up to its newest one.
            assert set(numbers) == set(range(last - Writer.SPAN + 1, last + 1))
        # One moment for both: what one has read of the other before it wrote is there, if that write is.
        quoted = max(int(stamp.removeprefix('twoone_')) for stamp, _ in found[1] if stamp != 'two')
        assert quoted <= max(number for _, number in found[0])
        print(f'{snapshot}: {[max(number for _, number in stamps) for stamps in found]}, quoted {quoted}')
    for number in (0, 1):
        bench.ask_detach(number)
    bench.deployed.wait(lambda: bench.deployed.status(bench.volume_id) == 'available', 60)
