# SPDX-License-Identifier: Apache-2.0
"""Each way in which a real target and the database can drift apart: seen, put right, and gone."""

import uuid
from collections.abc import Callable

import pytest

from multiattach.db import models
from multiattach.domain.drift import TARGET_KINDS, Drift
from multiattach.domain.findings import DriftRules
from multiattach.drivers.targets.tgt.protocol import Mode, Op, Request
from tests.functional.drivers.targets.tgt.initiator import LoginRefused
from tests.functional.reconcile.conftest import Bench
from tests.functional.reconcile.relay import relay

STRANGER = 'iqn.1994-05.com.example:stranger'


def remove_target(bench: Bench, volume: str, row: models.Attachment) -> None:
    bench.daemon.delete_target(bench.tid(volume), force=True)


def remove_unit(bench: Bench, volume: str, row: models.Attachment) -> None:
    bench.daemon.call(Request('delete a unit', Mode.DEVICE, Op.DELETE, tid=bench.tid(volume), lun=1))


def shut_out(bench: Bench, volume: str, row: models.Attachment) -> None:
    bench.daemon.unbind_initiator(bench.tid(volume), str(row.initiator))


def shut(bench: Bench, volume: str, row: models.Attachment) -> None:
    """As a worker that died in the middle of a fence leaves it."""
    bench.daemon.set_open(bench.tid(volume), False)


def admit(bench: Bench, volume: str, row: models.Attachment) -> None:
    bench.daemon.bind_initiator(bench.tid(volume), STRANGER)


def unbind_account(bench: Bench, volume: str, row: models.Attachment) -> None:
    bench.daemon.unbind_account(bench.tid(volume), row.connection_info['auth_username'])


def bind_account(bench: Bench, volume: str, row: models.Attachment) -> None:
    bench.daemon.new_account('stranger', 'secret0123456789')
    bench.daemon.bind_account(bench.tid(volume), 'stranger')


def remove_file(bench: Bench, volume: str, row: models.Attachment) -> None:
    (bench.folder / f'volume-{volume}').unlink()


def remove_row(bench: Bench, volume: str, row: models.Attachment) -> None:
    """As people did with SQL: the target knows nothing of it."""
    bench.write(models.Attachment, row.id, deleted_at=models.now(), state='detached')
    bench.write(models.Volume, volume, status='available')


def remove_volume(bench: Bench, volume: str, row: models.Attachment) -> None:
    remove_row(bench, volume, row)
    bench.write(models.Volume, volume, deleted_at=models.now(), status='deleted')


def leave_file(bench: Bench, volume: str, row: models.Attachment) -> None:
    text = (bench.folder / f'volume-{volume}').read_text()
    bench.deployed.engine.attachments.delete(bench.deployed.ctx, row.id)
    (bench.folder / f'volume-{volume}').write_text(text)


CASES = {
    Drift.NO_TARGET: remove_target,
    Drift.NO_LUN: remove_unit,
    Drift.SHUT_OUT: shut_out,
    Drift.SHUT: shut,
    Drift.ADMITTED: admit,
    Drift.NO_ACCOUNT: unbind_account,
    Drift.ACCOUNT: bind_account,
    Drift.NO_FILE: remove_file,
    Drift.UNUSED: remove_row,
    Drift.LEFTOVER: remove_volume,
    Drift.STRAY_FILE: leave_file,
}


@pytest.mark.parametrize('kind', list(CASES))
def test_what_drifted_is_seen_and_put_right(bench: Bench, kind: Drift) -> None:
    volume = bench.deployed.make_volume('multi')
    row, kept = bench.attach(volume), bench.attach(bench.deployed.make_volume('multi'))
    assert bench.look() == []
    CASES[kind](bench, volume, row)
    [seen] = bench.look()
    assert (seen.kind, seen.outcome, seen.volume_id, seen.host) == (kind, 'found', volume, 'testhost@file')
    assert bench.kinds() == [kind], 'to look changes nothing'
    [done] = bench.look(fix=None)
    assert (done.kind, done.outcome, done.error, done.since) == (kind, 'repaired', None, seen.since)
    assert bench.look() == []
    if kind in (Drift.UNUSED, Drift.LEFTOVER, Drift.STRAY_FILE):
        assert volume not in bench.deployed.target.list_exports()
        assert not (bench.folder / f'volume-{volume}').exists()
    else:
        bench.login(row).close()
    bench.login(kept).close()


def test_a_login_that_nobody_knows_of_is_ended(bench: Bench) -> None:
    volume = bench.deployed.make_volume('multi')
    row, kept = bench.attach(volume), bench.attach(volume, 'two')
    sessions = [bench.login(row), bench.login(kept)]
    remove_row(bench, volume, row)
    bench.write(models.Volume, volume, status='in-use')
    assert bench.kinds() == [Drift.ACCOUNT, Drift.ADMITTED, Drift.SESSION]
    assert {one.outcome for one in bench.look(fix=True)} == {'repaired'}
    assert bench.look() == []
    [left] = bench.deployed.target.list_exports()[volume].sessions
    assert left.initiator == kept.initiator
    sessions[1].close()
    with pytest.raises(LoginRefused):
        bench.login(row)


def test_somebody_elses_target_is_reported_and_left_alone(bench: Bench) -> None:
    stranger = str(uuid.uuid4())
    bench.daemon.new_target(999, f'iqn.2010-10.org.openstack:volume-{stranger}')
    bench.daemon.new_target(1000, 'iqn.2010-10.org.example:something')
    try:
        for fix in (False, None, True):
            [seen] = bench.look(fix)
            assert (seen.kind, seen.outcome, seen.volume_id) == (Drift.NO_VOLUME, 'reported', stranger)
        assert bench.daemon.show_targets().tids() >= {999, 1000}
    finally:
        bench.daemon.delete_target(999, force=True)
        bench.daemon.delete_target(1000, force=True)


def test_every_kind_of_a_target_is_provoked() -> None:
    elsewhere = {Drift.SESSION, Drift.NO_VOLUME, Drift.SHARED_LOGIN}
    elsewhere |= {Drift.OLD_PORTAL, Drift.STRAY_REGISTRATION}  # test_portals.py, test_registrations.py
    assert {*CASES, *elsewhere} == set(TARGET_KINDS)


def test_two_addresses_that_are_logged_in_under_one_name_are_reported(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    volume = bench.deployed.make_volume('multi')
    row, kept = bench.attach(volume), bench.attach(volume, 'two')
    sessions = [bench.login(row), bench.login(row), bench.login(kept)]
    assert bench.look() == [], 'one host may be logged in twice'
    with relay(bench.tgtd.portal, '127.0.0.7') as portal:
        relayed = row._replace(connection_info={**row.connection_info, 'target_portal': portal})
        sessions.append(bench.login(relayed))
        for fix in (False, None, True):
            [seen] = bench.look(fix)
            assert (seen.kind, seen.volume_id, seen.outcome) == (Drift.SHARED_LOGIN, volume, 'reported')
            assert seen.about == f'{row.initiator}: 127.0.0.1, 127.0.0.7'
        assert f'Drift {Drift.SHARED_LOGIN} (reported)' in caplog.text
        found = bench.deployed.engine.explanations.explain_volume(bench.deployed.ctx, volume, live=True)
        assert found.truth is not None
        assert [one.kind for one in found.truth.findings] == [Drift.SHARED_LOGIN]
        assert len(bench.deployed.target.list_exports()[volume].sessions) == 4, 'nobody is cut off'
        sessions.pop().close()
    bench.deployed.wait(lambda: bench.look() == [])
    for session in sessions:
        session.close()


def test_the_operator_decides(make_bench: Callable[..., Bench]) -> None:
    rules = DriftRules({Drift.ADMITTED: 'report', Drift.NO_FILE: 'ignore'}, {Drift.UNUSED: 3600.0})
    bench = make_bench(rules=rules)
    volume, other = bench.deployed.make_volume('multi'), bench.deployed.make_volume('multi')
    row = bench.attach(volume)
    admit(bench, volume, row)
    remove_file(bench, volume, row)
    remove_row(bench, other, bench.attach(other))
    for fix in (None, False, None):
        assert {(one.kind, one.outcome) for one in bench.look(fix)} == {
            (Drift.ADMITTED, 'reported'),
            (Drift.UNUSED, 'waiting'),
        }
    assert {(one.kind, one.outcome) for one in bench.look(fix=True)} == {
        (Drift.ADMITTED, 'reported'),
        (Drift.UNUSED, 'repaired'),
    }
