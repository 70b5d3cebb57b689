# SPDX-License-Identifier: Apache-2.0
"""What a snapshot has of a volume that two initiators write to is what doc/source/user/snapshots.rst says."""

import contextlib
import dataclasses
import itertools
import pathlib
import time
from collections.abc import Callable, Iterator

import pytest

from multiattach.drivers.targets.tgt.process import PrivateTgtd
from multiattach.drivers.targets.tgt.target import TgtTarget
from tests.functional.drivers.stores import FileStore, Store
from tests.functional.drivers.targets.tgt.conftest import Volume
from tests.initiators.ledger import BLOCK, Stamp, read_block
from tests.initiators.wire import Claim
from tests.initiators.writer import Writer
from tests.testbed import reflink

pytestmark = pytest.mark.slow  # real load on real storage

COUNT = 256  # blocks of each writer
ROUNDS = 8


@dataclasses.dataclass
class Shot:
    """A snapshot that was taken, and what is in it by writer and block."""

    began: float
    ended: float
    content: dict[tuple[str, int], int]


@pytest.fixture
def xfs(tmp_path: pathlib.Path) -> Iterator[Store]:
    if not reflink.is_possible():
        pytest.skip('needs root, loop devices and xfsprogs')
    with reflink.mount(tmp_path) as place:
        yield FileStore(place / 'volumes')


def shoot(store: Store, volume_id: str, number: int) -> tuple[str, float, float]:
    began = time.monotonic()
    store.backend.create_snapshot(f's{number}', volume_id, lambda: True)
    return f's{number}', began, time.monotonic()


def read_shot(store: Store, volume_id: str, snapshot_id: str, writers: list[Writer]) -> dict[tuple[str, int], int]:
    """Read a snapshot by way of a volume that is made from it."""
    store.backend.clone_snapshot(f'of-{snapshot_id}', snapshot_id, volume_id, 1, lambda: True)
    found = {}
    data = store.read(f'of-{snapshot_id}', 0, COUNT * len(writers) * BLOCK)
    for number in range(COUNT * len(writers)):
        stamp = read_block(data[number * BLOCK :][:BLOCK])
        if stamp is not None:
            assert stamp == Stamp(writers[number // COUNT].ledger.writer, stamp.sequence, number)
            found[stamp.writer, number] = stamp.sequence
    return found


def find_early(writer: Writer, shot: Shot) -> list[str]:
    """Name the writes that were answered before the request and are not there."""
    return [
        f'{number}/{sequence}'
        for number, sequence, moment in writer.ledger.acknowledged()
        if moment < shot.began and shot.content.get((writer.ledger.writer, number), 0) < sequence
    ]


def find_late(writer: Writer, shot: Shot) -> list[int]:
    """Name the writes that went out after the end and are there."""
    sent = writer.ledger.sent()
    return [
        sequence
        for (name, _), sequence in shot.content.items()
        if name == writer.ledger.writer and sent[sequence] > shot.ended
    ]


def find_holes(before: Writer, after: Writer, shot: Shot) -> int:
    """Count the writes of one that are missing, though one of the other that went out after their answer is there."""
    sent = after.ledger.sent()
    newest = max(sent[sequence] for (name, _), sequence in shot.content.items() if name == after.ledger.writer)
    return sum(
        moment < newest and shot.content.get((before.ledger.writer, number), 0) < sequence
        for number, sequence, moment in before.ledger.acknowledged()
    )


@contextlib.contextmanager
def write(volume: Volume, tgtds: list[PrivateTgtd], folder: pathlib.Path) -> Iterator[list[Writer]]:
    """Have two initiators write, at one target or each at one of its own."""
    targets = [
        TgtTarget(one.daemon, portal=one.portal, volumes_dir=folder / f'targets{n}') for n, one in enumerate(tgtds)
    ]
    writers = []
    for number in range(2):
        tgtd, target = tgtds[number % len(tgtds)], targets[number % len(tgtds)]
        grant = volume.grant(number)
        info = target.grant(volume.id, volume.device, grant)
        claim = Claim(tgtd.portal, info.iqn, grant.initiator, grant.username, grant.secret)
        writers.append(Writer(claim, first=number * COUNT, count=COUNT, depth=4))
    for one in writers:
        one.start()
    try:
        yield writers
    finally:
        for one in writers:
            one.stop()


def run(store: Store, tgtds: list[PrivateTgtd], folder: pathlib.Path) -> tuple[list[Writer], list[Shot]]:
    volume = Volume('', tgtds[0].portal, store=store)
    store.backend.create(volume.id, 1)
    volume.device = store.backend.path(volume.id)
    with write(volume, tgtds, folder) as writers:
        taken = []
        for number in range(ROUNDS):
            for one in writers:
                one.await_more(150)
            taken.append(shoot(store, volume.id, number))
        for one in writers:
            one.await_more(150)
    for one in writers:
        assert one.verify() == []
    shots = [Shot(began, ended, read_shot(store, volume.id, ident, writers)) for ident, began, ended in taken]
    print([f'{shot.ended - shot.began:.3f} s' for shot in shots], [len(one.ledger) for one in writers])
    for writer, shot in itertools.product(writers, shots):
        assert find_early(writer, shot) == []
        assert find_late(writer, shot) == []
        assert find_holes(writer, writer, shot) == 0
    return writers, shots


def check_one_moment(writers: list[Writer], shots: list[Shot]) -> None:
    for shot in shots:
        assert find_holes(writers[0], writers[1], shot) == 0
        assert find_holes(writers[1], writers[0], shot) == 0


def test_of_a_file_that_shares_blocks(xfs: Store, make_tgtd: Callable[[], PrivateTgtd], tmp_path: pathlib.Path) -> None:
    check_one_moment(*run(xfs, [make_tgtd()], tmp_path))


def test_of_an_image_at_one_gateway(rbd: Store, make_tgtd: Callable[[], PrivateTgtd], tmp_path: pathlib.Path) -> None:
    check_one_moment(*run(rbd, [make_tgtd()], tmp_path))


def test_of_an_image_at_two_gateways(rbd: Store, make_tgtd: Callable[[], PrivateTgtd], tmp_path: pathlib.Path) -> None:
    """Each gateway has a moment of its own: what is asserted of each writer alone holds, and no more is promised."""
    writers, shots = run(rbd, [make_tgtd(), make_tgtd()], tmp_path)
    print('across gateways:', [find_holes(*pair, shot) for shot in shots for pair in itertools.permutations(writers)])
