# SPDX-License-Identifier: Apache-2.0
"""Logins and commands against a real tgtd."""

import dataclasses
import os
import signal
import time
from collections.abc import Callable

import pytest

from multiattach.drivers.connectors import chap
from multiattach.drivers.targets.base import Grant
from multiattach.drivers.targets.tgt.process import PrivateTgtd
from multiattach.drivers.targets.tgt.protocol import Mode, Op, Request
from multiattach.drivers.targets.tgt.target import TgtTarget
from tests.functional.drivers.targets.tgt.conftest import VOLUME_SIZE, Volume
from tests.initiators import pdu, wire
from tests.initiators.session import SECTOR, CommandFailed, Session, encode_write
from tests.initiators.wire import Claim, ConnectionEnded, Login, LoginRefused, Stage


@pytest.fixture
def grants(target: TgtTarget, volume: Volume) -> tuple[Grant, Grant]:
    found = volume.grant(1), volume.grant(2)
    volume.grant_all(target, list(found))
    return found


@pytest.fixture
def claim(target: TgtTarget, volume: Volume, grants: tuple[Grant, Grant]) -> Claim:
    return make_claim(target, volume, grants[0])


def make_claim(target: TgtTarget, volume: Volume, grant: Grant) -> Claim:
    iqn = target.list_exports()[volume.id].iqn
    return Claim(volume.portal, iqn, grant.initiator, grant.username, grant.secret)


def pattern(length: int) -> bytes:
    return b''.join(number.to_bytes(4) for number in range(length // 4))


def test_data_comes_back(claim: Claim) -> None:
    with Session(claim) as session:
        session.test_ready()
        assert session.capacity() == VOLUME_SIZE
        session.write(7, pattern(3 * SECTOR))
        assert session.read(7, 3) == pattern(3 * SECTOR)
        assert session.read(10) == bytes(SECTOR)


@pytest.mark.parametrize('ready', ['Yes', 'No'])
@pytest.mark.parametrize('immediate', ['Yes', 'No'])
@pytest.mark.parametrize('length', [1, 16, 129, 1024])
def test_all_ways_in_which_data_may_go_out(
    claim: Claim,
    target: TgtTarget,
    volume: Volume,
    tune: Callable[[int, str, str], None],
    ready: str,
    immediate: str,
    length: int,
) -> None:
    """With the command, after it without being asked for, and when the target asks for it."""
    tune(target.list_exports()[volume.id].tid, 'InitialR2T', ready)
    offers = {'InitialR2T': ready, 'ImmediateData': immediate}
    with Session(dataclasses.replace(claim, offers=offers)) as session:
        assert session.login.agreed['InitialR2T'] == ready
        assert session.login.agreed['ImmediateData'] == immediate
        session.write(3, pattern(length * SECTOR))
        assert session.read(3, length) == pattern(length * SECTOR)


def test_a_command_that_is_wrong_fails_and_says_how(claim: Claim) -> None:
    with Session(claim) as session:
        with pytest.raises(CommandFailed) as caught:
            session.write(VOLUME_SIZE // SECTOR, bytes(SECTOR))
        assert (caught.value.result.key, caught.value.result.code) == (5, 0x2100)
        session.test_ready()


def test_many_commands_are_out_at_once(claim: Claim) -> None:
    with Session(claim) as session:
        session.test_ready()
        tags = {session.submit(encode_write(number, 1), pattern(SECTOR)) for number in range(300)}
        assert session.outstanding > 32
        results = [session.wait() for _ in tags]
        assert {each.tag for each in results} == tags
        assert {each.status for each in results} == {0}
        assert session.read(0, 300) == pattern(SECTOR) * 300


@pytest.mark.parametrize(
    ('change', 'status'),
    [
        ({'secret': 'not the secret'}, 0x0201),
        ({'user': 'nobody'}, 0x0201),
        ({'user': ''}, None),
        ({'initiator': 'iqn.2010-10.org.openstack.test:stranger'}, None),
        ({'target': 'iqn.2010-10.org.openstack:none'}, 0x0203),
    ],
)
def test_who_is_not_let_in(claim: Claim, change: dict[str, str], status: int | None) -> None:
    with pytest.raises(LoginRefused) as caught:
        Session(dataclasses.replace(claim, **change))  # type: ignore[arg-type]
    assert status in (None, caught.value.status)
    assert caught.value.status >> 8 == 2


@pytest.mark.parametrize('stage', list(Stage)[:-1])
def test_a_login_is_held_anywhere_and_finished_later(
    claim: Claim, target: TgtTarget, volume: Volume, stage: Stage
) -> None:
    login = Login(claim).advance(stage)
    assert login.stage is stage
    time.sleep(0.3)
    assert target.list_exports()[volume.id].sessions == ()
    with Session(login) as session:
        session.write(0, pattern(SECTOR))
        assert [one.initiator for one in target.list_exports()[volume.id].sessions] == [claim.initiator]
        assert session.read(0) == pattern(SECTOR)


def test_a_held_login_has_proven_its_secret(claim: Claim) -> None:
    """Else a test that holds one would hold nothing that matters."""
    liar = dataclasses.replace(claim, secret='not the secret')
    Login(liar).advance(Stage.CHALLENGED).close()
    with pytest.raises(LoginRefused):
        Login(liar).advance(Stage.PROVEN)


def test_an_account_may_be_used_under_another_name(
    claim: Claim, target: TgtTarget, volume: Volume, grants: tuple[Grant, Grant]
) -> None:
    with Session(dataclasses.replace(claim, initiator=grants[1].initiator)) as session:
        assert [one.initiator for one in target.list_exports()[volume.id].sessions] == [grants[1].initiator]
        session.write(0, pattern(SECTOR))


@pytest.mark.parametrize(
    ('alias', 'shown'),
    [
        (b'plain', 'alias: plain\n'),
        (b'two\nlines: x\n', 'alias: two\nlines: x\n\n'),
        (b'\xff\xfe\r\v', 'alias: \ufffd\ufffd\r\v\n'),
        (b'y' * 6000, 'alias: ' + 'y' * 500),
    ],
)
def test_an_alias_may_be_anything(claim: Claim, tgtd: PrivateTgtd, alias: bytes, shown: str) -> None:
    with Session(dataclasses.replace(claim, alias=alias)) as session:
        session.test_ready()
        listing = tgtd.daemon.call(Request('list the targets', Mode.TARGET, Op.SHOW))
    assert shown in listing


def test_each_isid_is_a_session_and_the_same_one_replaces_it(claim: Claim, target: TgtTarget, volume: Volume) -> None:
    with Session(claim) as first, Session(dataclasses.replace(claim, isid=wire.make_isid())) as second:
        assert len(target.list_exports()[volume.id].sessions) == 2
        with Session(claim) as third:
            third.test_ready()
            second.test_ready()
            assert len(target.list_exports()[volume.id].sessions) == 2
            with pytest.raises((ConnectionEnded, TimeoutError)):
                first.test_ready()


def test_a_connection_that_is_closed_is_seen(
    claim: Claim, target: TgtTarget, tgtd: PrivateTgtd, volume: Volume
) -> None:
    with Session(claim) as session:
        session.test_ready()
        tid = target.list_exports()[volume.id].tid
        [nexus] = tgtd.daemon.show_connections(tid)
        tgtd.daemon.close_connection(tid, nexus.sid, nexus.connections[0].cid)
        with pytest.raises(ConnectionEnded):
            session.write(0, pattern(SECTOR))


def test_a_target_that_does_not_answer_is_told_from_one_that_is_gone(claim: Claim, tgtd: PrivateTgtd) -> None:
    session = Session(dataclasses.replace(claim, timeout=0.5))
    session.test_ready()
    assert tgtd.pid is not None
    os.kill(tgtd.pid, signal.SIGSTOP)
    try:
        with pytest.raises(TimeoutError):
            session.test_ready()
    finally:
        os.kill(tgtd.pid, signal.SIGCONT)
    session.hang_up()


def test_pings_are_answered(
    target: TgtTarget, tune: Callable[[int, str, str], None], claim: Claim, volume: Volume
) -> None:
    tid = target.list_exports()[volume.id].tid
    tune(tid, 'nop_interval', '1')
    tune(tid, 'nop_count', '2')
    with Session(claim) as session:
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            session.poll(0.2)
        session.test_ready()


@pytest.mark.parametrize(
    ('change', 'shown'), [({}, True), ({'initiator': 'iqn.2010-10.org.openstack.test:stranger'}, False)]
)
def test_discovery_shows_what_its_name_may_see(claim: Claim, change: dict[str, str], shown: bool) -> None:
    found = dataclasses.replace(claim, target='', user='', secret='', **change)  # type: ignore[arg-type]
    with Session(found) as session:
        assert session.list_targets() == ([claim.target] if shown else [])


def test_reservations(claim: Claim, target: TgtTarget, volume: Volume, grants: tuple[Grant, Grant]) -> None:
    with Session(claim) as one, Session(make_claim(target, volume, grants[1])) as two:
        one.reserve(0, service_key=0xABC)
        one.reserve(1, kind=5, key=0xABC)
        assert one.list_keys() == [0xABC]
        assert two.holder() == 0xABC
        with pytest.raises(CommandFailed) as caught:
            two.write(0, pattern(SECTOR))
        assert caught.value.result.status == 0x18
        two.reserve(0, service_key=0xDEF)
        two.write(0, pattern(SECTOR))
        two.reserve(4, kind=5, key=0xDEF, service_key=0xABC)
        assert two.list_keys() == [0xDEF]
        with pytest.raises(CommandFailed):
            one.write(0, pattern(SECTOR))
        two.reserve(3, key=0xDEF)
        assert two.list_keys() == []
        assert two.holder() is None


def test_messages_keep_their_form() -> None:
    message = pdu.Message(0x41, 0xA1, 2, 3, b'12345678', 9, (1, 2, 3, 4, 5, 6, 7), b'abcde')
    raw = message.encode()
    assert len(raw) == pdu.measure(raw) == 48 + 8
    assert pdu.decode(raw) == message
    keys = [('A', 'b'), ('A', b'c=d'), ('E', '')]
    assert pdu.decode_keys(pdu.encode_keys(keys)) == [('A', 'b'), ('A', 'c=d'), ('E', '')]


@pytest.mark.parametrize(
    'line',
    [
        '',
        '#node.session.auth.chap_algs = SHA3-256,SHA256,SHA1,MD5',
        'node.session.auth.chap_algs = MD5',
        'node.session.auth.chap_algs = SHA3-256,SHA256',
        'node.session.auth.chap_algs = SHA1',
        'node.session.auth.chap_algs = SHA3-256,SHA256,SHA1,MD5',
        'node.session.auth.chap_algs = SHA1,MD5,SHA256',
        'node.session.auth.chap_algs = SHA256,MD5',
        'node.session.auth.chap_algs = SHA3-256,MD5',
    ],
)
def test_what_is_known_of_digests_is_what_tgtd_does(claim: Claim, line: str) -> None:
    """The agent warns of exactly those settings of open-iscsi with which tgtd refuses the right secret."""
    names = chap.parse_digests(f'# what Debian has before\n{line}\nnode.startup = manual\n')
    offer = dataclasses.replace(claim, digests=tuple(chap.DIGESTS[name] for name in names))
    if chap.is_taken(names):
        with Session(offer) as session:
            session.test_ready()
    else:
        with pytest.raises((LoginRefused, ConnectionEnded)):
            Session(offer)
