# SPDX-License-Identifier: Apache-2.0
"""The writer behaves as hosts do, and would see a write that is lost."""

import dataclasses
import os
import pathlib
import time
from collections.abc import Callable

import pytest

from multiattach.drivers.targets.tgt.process import PrivateTgtd
from multiattach.drivers.targets.tgt.target import TgtTarget
from tests.functional.drivers.targets.tgt.conftest import Volume
from tests.initiators.ledger import BLOCK, Ledger, Stamp, TornBlock, make_block, read_block
from tests.initiators.wire import Claim, ConnectionEnded, Login, LoginRefused, Stage
from tests.initiators.writer import WriteFailed, Writer


@dataclasses.dataclass
class Bench:
    """A volume, who may write to it, and the way in which a fence or an extend ends its sessions."""

    tgtd: PrivateTgtd
    target: TgtTarget
    volume: Volume
    claim: Claim
    tid: int

    def cut(self) -> int:
        nexuses = self.tgtd.daemon.show_connections(self.tid)
        for nexus in nexuses:
            for connection in nexus.connections:
                self.tgtd.daemon.close_connection(self.tid, nexus.sid, connection.cid)
        return len(nexuses)

    def read_file(self, number: int) -> bytes:
        with pathlib.Path(self.volume.device).open('rb') as file:
            file.seek(number * BLOCK)
            return file.read(BLOCK)


@pytest.fixture
def bench(tgtd: PrivateTgtd, target: TgtTarget, volume: Volume) -> Bench:
    grant = volume.grant(1)
    info = volume.grant_all(target, [grant])
    claim = Claim(volume.portal, info.iqn, grant.initiator, grant.username, grant.secret)
    return Bench(tgtd, target, volume, claim, target.list_exports()[volume.id].tid)


def test_all_that_is_acknowledged_is_there(bench: Bench) -> None:
    writer = Writer(bench.claim, first=10, count=64).start()
    writer.await_more(2000)
    writer.stop()
    assert writer.error is None
    assert writer.logins == 1
    assert writer.verify() == []
    assert writer.verify(bench.read_file) == []
    entries = writer.ledger.acknowledged()
    assert len(entries) == len(writer.ledger) >= 2000
    assert {number for number, _, _ in entries} == set(range(10, 74))
    assert len({sequence for _, sequence, _ in entries}) == len(entries)
    assert [moment for _, _, moment in entries] == sorted(moment for _, _, moment in entries)
    assert read_block(bench.read_file(9)) is None
    assert read_block(bench.read_file(10)).writer == bench.claim.initiator  # type: ignore[union-attr]


def test_it_comes_back_after_each_cut_and_nothing_is_lost(bench: Bench) -> None:
    writer = Writer(bench.claim).start()
    for _ in range(20):
        writer.await_more(100)
        assert bench.cut() == 1
    writer.await_more(100)
    writer.stop()
    assert writer.verify() == []
    assert writer.logins == 21
    assert 0 < writer.longest_pause < 5


def test_it_waits_out_a_target_that_is_offline(bench: Bench, tune: Callable[[int, str, str], None]) -> None:
    writer = Writer(bench.claim).start()
    writer.await_more(100)
    tune(bench.tid, 'state', 'offline')
    bench.cut()
    time.sleep(1.0)
    count = len(writer.ledger)
    tune(bench.tid, 'state', 'ready')
    writer.await_more(100)
    writer.stop()
    assert writer.verify() == []
    assert writer.refusals > 0
    assert writer.longest_pause > 0.9
    assert count >= 100


def test_what_is_sent_again_may_have_a_number_of_its_own(bench: Bench) -> None:
    writer = Writer(bench.claim, count=32, renumber=True).start()
    writer.await_more(100)
    moment = time.monotonic()
    bench.cut()
    writer.await_more(100)
    writer.stop()
    assert writer.verify() == []
    late = writer.ledger.sent_after(moment)
    assert 100 <= len(late) < len(writer.ledger)
    assert min(late) > max(sequence for _, sequence, at in writer.ledger.acknowledged() if at < moment)


def test_without_coming_back_a_cut_is_its_end(bench: Bench) -> None:
    writer = Writer(bench.claim, comes_back=False).start()
    writer.await_more(100)
    bench.cut()
    writer.join(10)
    assert not writer.is_alive()
    assert isinstance(writer.error, ConnectionEnded)
    [wrong] = writer.verify(bench.read_file)
    assert 'ended' in wrong


def test_it_gives_up_who_is_not_let_in_again(bench: Bench) -> None:
    writer = Writer(bench.claim, give_up=1.0).start()
    writer.await_more(100)
    bench.tgtd.daemon.unbind_initiator(bench.tid, bench.claim.initiator)
    bench.cut()
    writer.join(20)
    assert isinstance(writer.error, LoginRefused)
    assert writer.refusals > 1


def test_the_first_login_is_refused_to_the_one_who_starts_it(bench: Bench) -> None:
    with pytest.raises(LoginRefused):
        Writer(dataclasses.replace(bench.claim, secret='x' * 16)).start()


def test_a_write_that_fails_is_its_end(bench: Bench) -> None:
    writer = Writer(bench.claim, first=8 * 1024 * 1024 // BLOCK, count=32).start()
    writer.join(10)
    assert isinstance(writer.error, WriteFailed)
    assert len(writer.ledger) == 0


def test_a_login_that_was_held_becomes_a_writer(bench: Bench) -> None:
    writer = Writer(Login(bench.claim).advance(Stage.PROVEN)).start()
    writer.await_more(100)
    bench.cut()
    writer.await_more(100)
    writer.stop()
    assert writer.verify() == []


def test_two_writers_do_not_disturb_each_other(bench: Bench) -> None:
    grant = bench.volume.grant(2)
    bench.volume.grant_all(bench.target, [grant])
    second = dataclasses.replace(bench.claim, initiator=grant.initiator, user=grant.username, secret=grant.secret)
    writers = [Writer(bench.claim, count=64).start(), Writer(second, first=64, count=64).start()]
    for writer in writers:
        writer.await_more(300)
    for writer in writers:
        writer.stop()
    assert [writer.verify() for writer in writers] == [[], []]


# -- it would see what it is there to see ------------------------------------------------------


@pytest.fixture
def written(bench: Bench) -> Writer:
    writer = Writer(bench.claim, count=32).start()
    writer.await_more(200)
    writer.stop()
    assert writer.verify() == []
    return writer


def change(bench: Bench, number: int, data: bytes) -> None:
    descriptor = os.open(bench.volume.device, os.O_WRONLY)
    os.pwrite(descriptor, data, number * BLOCK)
    os.close(descriptor)


def name(written: Writer) -> str:
    return written.ledger.writer


@pytest.mark.parametrize(
    'spoil',
    [
        lambda name, newest: bytes(BLOCK),
        lambda name, newest: make_block(Stamp(name, newest - 32, 5)),
        lambda name, newest: make_block(Stamp(name, newest + 9999, 5)),
        lambda name, newest: make_block(Stamp('iqn.x:another', newest, 5)),
        lambda name, newest: make_block(Stamp(name, newest, 6)),
        lambda name, newest: make_block(Stamp(name, newest, 5))[:2048] + bytes(2048),
        lambda name, newest: make_block(Stamp(name, newest, 5))[:-1] + b'?',
        lambda name, newest: b'?' * BLOCK,
    ],
    ids=['empty', 'older', 'never sent', 'of another', 'of another block', 'half', 'one byte', 'foreign'],
)
def test_a_lost_write_is_seen(bench: Bench, written: Writer, spoil: Callable[[str, int], bytes]) -> None:
    newest = max(sequence for number, sequence, _ in written.ledger.acknowledged() if number == 5)
    change(bench, 5, spoil(name(written), newest))
    [wrong] = written.verify(bench.read_file)
    assert wrong.startswith('block 5: ')
    assert written.verify() == [wrong]


def test_what_was_sent_later_may_be_there() -> None:
    ledger = Ledger('iqn.x:one')
    ledger.send(3, 1)
    ledger.acknowledge(3, 1)
    ledger.send(3, 2)
    assert ledger.verify(lambda _: make_block(Stamp('iqn.x:one', 1, 3))) == []
    assert ledger.verify(lambda _: make_block(Stamp('iqn.x:one', 2, 3))) == []
    assert len(ledger.verify(lambda _: make_block(Stamp('iqn.x:one', 3, 3)))) == 1
    ledger.acknowledge(3, 2)
    assert len(ledger.verify(lambda _: make_block(Stamp('iqn.x:one', 1, 3)))) == 1


def test_a_pause_is_measured_until_now() -> None:
    ledger = Ledger('iqn.x:one')
    ledger.send(0, 1)
    ledger.acknowledge(0, 1)
    time.sleep(0.05)
    assert ledger.pause()[0] < 0.05
    assert ledger.pause(time.monotonic())[0] >= 0.05


def test_stamps() -> None:
    stamp = Stamp('iqn.1994-05.com.redhat:é' + 'x' * 190, 2**60, 7)
    assert read_block(make_block(stamp)) == stamp
    assert read_block(bytes(BLOCK)) is None
    with pytest.raises(TornBlock):
        read_block(make_block(stamp)[:-1] + b'?')
