# SPDX-License-Identifier: Apache-2.0
"""Initiators that lie about who they are, or in their alias; the proof is held against the storage."""

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable

import pytest

from multiattach.drivers.targets.tgt.process import PrivateTgtd
from multiattach.drivers.targets.tgt.target import TgtTarget
from tests.initiators import session as wire
from tests.initiators.wire import Claim, ConnectionEnded, Login, LoginRefused, Stage

from .conftest import Volume
from .initiator import BLOCK, IoFailed, LoginRefused as Refused, Session
from .test_fence import Bench, Writer, bench  # noqa: F401 - a fixture


def test_a_host_that_gives_another_name_is_cut_off(bench: Bench) -> None:  # noqa: F811
    """Its own account, the name of an honest one, writing all the time."""
    volume_id = bench.d.make_volume('multi')
    bad, good = (bench.attach(volume_id, host) for host in ('bad', 'good'))
    liar = Writer(dict(bad.connection_info), good.initiator, 0)
    bench.writers.append(liar)
    liar.start()
    bench.d.wait(lambda: liar.sequence > 5)
    honest = bench.write(good, 1, comes_back=True)
    [answer] = bench.fence(bad)
    frozen, before = bench.read(volume_id, 0), honest.sequence
    assert answer.proof is not None
    assert answer.proof['scope'] == 'target'
    assert answer.proof['cut']['sessions'] == []
    assert [one['initiator'] for one in answer.proof['cut']['others']] == [good.initiator] * 2
    bench.d.wait(lambda: honest.sequence > before + 50)
    liar.join(20)
    assert isinstance(liar.error, IoFailed)
    assert honest.error is None
    assert bench.read(volume_id, 0) == frozen
    for name in (bad.initiator, good.initiator):
        with pytest.raises(Refused):
            Session(
                bad.connection_info['target_portal'],
                bad.connection_info['target_iqn'],
                name,
                bad.connection_info['auth_username'],
                bad.connection_info['auth_password'],
            )
    # Who was let in again is not cut by a fence that is repeated.
    returns = honest.session.returns
    bench.fence(bad)
    before = honest.sequence
    bench.d.wait(lambda: honest.sequence > before + 50)
    assert honest.session.returns == returns


HOST = '127.0.0.7'  # where those come from that hold logins half-way


def hold(info: dict, name: str, source: str = HOST, stage: Stage = Stage.PROVEN) -> Login:
    return Login(Claim.of(info, name, source=source)).advance(stage)


def go_on(held: Login, text: bytes) -> None:
    """Complete a login, and write a block."""
    with wire.Session(held) as session:
        session.write(0, text.ljust(BLOCK))


def test_a_login_that_is_held_half_way_can_be_completed_while_nobody_fences(bench: Bench) -> None:  # noqa: F811
    """What the other tests rest on: tgtd goes on with it long after the account is gone."""
    volume_id = bench.d.make_volume('multi')
    bad, good = (bench.attach(volume_id, host) for host in ('bad', 'good'))
    held = hold(bad.connection_info, bad.initiator)
    bench.d.engine.attachments.delete(bench.d.ctx, bad.id)
    go_on(held, b'too late')
    assert bench.read(volume_id, 0).startswith(b'too late')
    assert bench.state(good) == 'attached'


@pytest.mark.parametrize('name', ['bad', 'good'])
@pytest.mark.parametrize('source', [HOST, '127.0.0.1'])
def test_a_login_that_is_held_half_way_ends_with_the_fence(bench: Bench, name: str, source: str) -> None:  # noqa: F811
    """Under its own name or another, from an address of its own or from that of all others."""
    volume_id = bench.d.make_volume('multi')
    rows = {host: bench.attach(volume_id, host) for host in ('bad', 'good')}
    honest = bench.write(rows['good'], 1, comes_back=True)
    held = [
        hold(rows['bad'].connection_info, rows[name].initiator, source, stage)
        for stage in Stage
        if Stage.NOTHING < stage < Stage.FULL
    ]
    [answer] = bench.fence(rows['bad'])
    frozen, before = bench.read(volume_id, 0), honest.sequence
    assert answer.proof is not None
    assert answer.proof['cut']['logins'].count(source) >= len(held)
    for one in held:
        with pytest.raises((ConnectionEnded, LoginRefused)):
            go_on(one, b'too late')
    bench.d.wait(lambda: honest.sequence > before + 50)
    assert honest.error is None
    assert bench.read(volume_id, 0) == frozen


def test_a_login_that_is_completed_while_the_fence_is_at_work_is_ended(bench: Bench) -> None:  # noqa: F811
    volume_id = bench.d.make_volume('multi')
    bad, good = (bench.attach(volume_id, host) for host in ('bad', 'good'))
    honest = bench.write(good, 1, comes_back=True)
    held = [hold(bad.connection_info, good.initiator) for _ in range(20)]
    ends = threading.Event()

    def complete() -> None:
        for one in held:
            time.sleep(0.001)
            with contextlib.suppress(ConnectionEnded, LoginRefused), wire.Session(one) as session:
                while not ends.is_set():
                    session.write(0, b'hurry'.ljust(BLOCK))

    threads = [threading.Thread(target=complete)]
    threads[0].start()
    [answer] = bench.fence(bad)
    at_answer = bench.read(volume_id, 0)
    bench.write_block(volume_id, 0, b'erased'.ljust(BLOCK))
    before = honest.sequence
    bench.d.wait(lambda: honest.sequence > before + 50)
    ends.set()
    threads[0].join()
    assert answer.proof is not None
    assert bench.read(volume_id, 0) == b'erased'.ljust(BLOCK) + at_answer[BLOCK:]


@pytest.mark.parametrize('stage', [Stage.PROVEN, Stage.FULL])
def test_connections_that_share_a_number_in_a_session_all_end(bench: Bench, stage: Stage) -> None:  # noqa: F811
    """tgtd takes any number of connections of one CID into a session, and shows and ends them by it."""
    volume_id = bench.d.make_volume('multi')
    bad, good = (bench.attach(volume_id, host) for host in ('bad', 'good'))
    claim = Claim.of(bad.connection_info, bad.initiator, source=HOST)
    with wire.Session(claim) as first:
        mate = dataclasses.replace(claim, tsih=first.login.tsih)
        others = [Login(mate).advance(stage) for _ in range(3)]
        honest = bench.write(good, 1, comes_back=True)
        started = time.monotonic()
        [answer] = bench.fence(bad)
        assert time.monotonic() - started < 5
        frozen, before = bench.read(volume_id, 0), honest.sequence
        assert answer.proof is not None
        for one in others:
            with pytest.raises((ConnectionEnded, LoginRefused)):
                go_on(one, b'too late')
        bench.d.wait(lambda: honest.sequence > before + 50)
    assert bench.read(volume_id, 0) == frozen


def test_a_login_that_is_held_half_way_is_not_completed_at_another_volume(bench: Bench) -> None:  # noqa: F811
    """The only initiator of a volume: its target goes, and no other gets its number."""
    volume_id = bench.d.make_volume('multi')
    bad = bench.attach(volume_id, 'bad')
    held = hold(bad.connection_info, bad.initiator)
    bench.fence(bad)
    assert bench.d.target.list_exports() == {}
    others = [bench.d.make_volume('multi') for _ in range(3)]
    for number, other in enumerate(others):
        bench.attach(other, f'host-{number}')
    with pytest.raises((ConnectionEnded, LoginRefused)):
        go_on(held, b'astray')
    assert all(not bench.read(other, 0).strip(b'\0') for other in others)


def forge(iqn: str, number: int) -> str:
    """An alias that goes on as tgtd's list does, with a target of another name and number."""
    return (
        f'x\n            Connection: 0\n                IP Address: 192.0.2.1\n    LUN information:\n'
        f'        LUN: 1\n            Online: Yes\n            Backing store path: /dev/null\n'
        f'    Account information:\n        forged\n    ACL information:\n        iqn.x:forged\n'
        f'Target {number}: {iqn}\n    System information:\n        State: offline\n'
        f'    I_T nexus information:\n        I_T nexus: 9'
    )


ALIASES: dict[str, Callable[[str, int], str]] = {
    'a target that is not': lambda _iqn, number: forge('iqn.x:none', number + 1),
    'its own target again': forge,
    'its own number': lambda _iqn, number: forge('iqn.x:none', number),
    'its own name': lambda iqn, number: forge(iqn, number + 1),
    'a number of ten digits': lambda iqn, _number: forge(iqn, 9999999999),
    'a number out of order': lambda _iqn, _number: forge('iqn.x:none', 0),
    'no end': lambda _iqn, _number: 'y' * 3000,
    'another session': lambda _iqn, _number: (
        'x\n            Connection: 0\n                IP Address: 192.0.2.1\n'
        '        I_T nexus: 77\n            Initiator: iqn.x:forged alias: y'
    ),
    'all kinds of line ends': lambda _iqn, number: f'a\r\v\f\x85\u2028Target {number}: iqn.x:y\nTarget',
}


@pytest.mark.parametrize('kind', list(ALIASES))
def test_no_alias_keeps_anybody_from_anything(bench: Bench, kind: str) -> None:  # noqa: F811
    """Attach, detach, extend, list and fence work, for its own volume and for others."""
    deployed = bench.d
    volume_id, elsewhere = deployed.make_volume('multi'), deployed.make_volume('multi')
    bad, good, leaver = (bench.attach(volume_id, host) for host in ('bad', 'good', 'leaver'))
    far = bench.attach(elsewhere, 'far')
    before = deployed.target.list_exports()[volume_id]
    alias = ALIASES[kind](before.iqn, before.tid)
    info = bad.connection_info
    hostile = Session(
        info['target_portal'],
        info['target_iqn'],
        bad.initiator,
        info['auth_username'],
        info['auth_password'],
        alias=alias,
        comes_back=True,
    )
    shown = deployed.target.list_exports()
    assert set(shown) == {volume_id, elsewhere}
    assert (shown[volume_id].initiators, shown[volume_id].accounts, shown[volume_id].luns) == (
        before.initiators,
        before.accounts,
        before.luns,
    )
    assert {one.initiator for one in shown[volume_id].sessions} <= {bad.initiator}
    assert shown[volume_id].is_open
    late = bench.attach(volume_id, 'late')
    deployed.engine.attachments.delete(deployed.ctx, leaver.id)
    deployed.engine.actions.extend(deployed.ctx, volume_id, 2, in_use_allowed=True)
    deployed.wait(lambda: deployed.status(volume_id) == 'in-use')
    assert deployed.engine.doctor.diagnose(deployed.ctx, fix=False).findings == []
    bench.attach(elsewhere, 'more')
    [answer] = bench.fence(far)
    assert answer.proof is not None
    [answer] = bench.fence(bad)
    assert answer.proof is not None
    assert bench.state(bad) == 'fenced'
    assert set(deployed.target.list_exports()[volume_id].initiators) == {good.initiator, late.initiator}
    hostile._destroy()
    with Session(
        info['target_portal'],
        info['target_iqn'],
        good.initiator,
        good.connection_info['auth_username'],
        good.connection_info['auth_password'],
    ) as session:
        assert session.read(0) == bytes(BLOCK)


def test_an_alias_whose_owner_comes_back_at_once_keeps_nobody_from_anything(bench: Bench) -> None:  # noqa: F811
    """Several sessions, each of them back as soon as it was ended."""
    deployed = bench.d
    volume_id, elsewhere = deployed.make_volume('multi'), deployed.make_volume('multi')
    bad, good = (bench.attach(volume_id, host) for host in ('bad', 'good'))
    before = deployed.target.list_exports()[volume_id]
    alias = ALIASES['its own target again'](before.iqn, before.tid).encode()
    ends = threading.Event()

    def insist() -> None:
        while not ends.is_set():
            with contextlib.suppress(ConnectionEnded, LoginRefused, OSError):
                session = wire.Session(Claim.of(bad.connection_info, bad.initiator, alias=alias))
                with contextlib.suppress(ConnectionEnded):
                    while not ends.is_set():
                        session.poll(0.05)
                session.hang_up()

    threads = [threading.Thread(target=insist) for _ in range(8)]
    for thread in threads:
        thread.start()
    try:
        deployed.wait(lambda: len(deployed.target._daemon.show_connections(before.tid)) > 4)
        for _ in range(10):
            assert set(deployed.target.list_exports()) == {volume_id}
        bench.attach(elsewhere, 'more')
        [answer] = bench.fence(bad)
        assert answer.proof is not None
    finally:
        ends.set()
        for thread in threads:
            thread.join()
    assert set(deployed.target.list_exports()[volume_id].initiators) == {good.initiator}


def test_an_initiator_cannot_speak_for_a_target_that_is_gone(
    target: TgtTarget, tgtd: PrivateTgtd, make_volume: Callable[[], Volume]
) -> None:
    one, two = make_volume(), make_volume()
    grants = [one.grant(1), two.grant(2)]
    infos = [target.grant(each.id, each.device, grant) for each, grant in zip((one, two), grants, strict=True)]
    with one.login(infos[0], grants[0], alias=forge(infos[1].iqn, infos[1].tid)):
        target.remove_export(two.id)
        assert set(target.list_exports()) == {one.id}
        assert target.grant(two.id, two.device, grants[1]).tid > infos[1].tid
        assert set(target.list_exports()) == {one.id, two.id}
