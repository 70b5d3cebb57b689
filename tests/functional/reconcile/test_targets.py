# SPDX-License-Identifier: Apache-2.0
"""Each way in which a real target and the database can drift apart: seen, put right, and gone."""

import uuid
from collections.abc import Callable

import pytest

from multiattach.db import models
from multiattach.domain.drift import TARGET_KINDS, Drift
from multiattach.domain.findings import DriftRules
from tests.deployments.targets import IS_KERNEL
from tests.functional.drivers.targets.tgt.initiator import LoginRefused
from tests.functional.reconcile.conftest import Bench
from tests.functional.reconcile.hands import PREFIX, STRANGER, TgtHands
from tests.functional.reconcile.relay import relay


def remove_row(bench: Bench, volume: str, row: models.Attachment) -> None:
    """As people did with SQL: the target knows nothing of it."""
    bench.write(models.Attachment, row.id, deleted_at=models.now(), state='detached')
    bench.write(models.Volume, volume, status='available')


def remove_volume(bench: Bench, volume: str, row: models.Attachment) -> None:
    remove_row(bench, volume, row)
    bench.write(models.Volume, volume, deleted_at=models.now(), status='deleted')
    (bench.deployed.directory / 'volumes' / f'volume-{volume}').unlink(missing_ok=True)


def leave_file(bench: Bench, volume: str, row: models.Attachment) -> None:
    assert isinstance(bench.hands, TgtHands)
    file = bench.hands.folder / f'volume-{volume}'
    text = file.read_text()
    bench.deployed.engine.attachments.delete(bench.deployed.ctx, row.id)
    file.write_text(text)


CASES = {Drift.UNUSED: remove_row, Drift.LEFTOVER: remove_volume, Drift.STRAY_FILE: leave_file}
BY_HAND = [Drift.NO_TARGET, Drift.NO_LUN, Drift.SHUT_OUT, Drift.SHUT, Drift.ADMITTED, Drift.NO_ACCOUNT, Drift.ACCOUNT]
OF_FILES = [Drift.NO_FILE, Drift.STRAY_FILE]
OF_REGISTRATIONS = [Drift.STRAY_REGISTRATION]
KINDS = [*BY_HAND, Drift.UNUSED, Drift.LEFTOVER, *(OF_REGISTRATIONS if IS_KERNEL else OF_FILES)]


@pytest.mark.every_target
@pytest.mark.parametrize('kind', KINDS)
def test_what_drifted_is_seen_and_put_right(bench: Bench, kind: Drift) -> None:
    volume = bench.deployed.make_volume('multi')
    row, kept = bench.attach(volume), bench.attach(bench.deployed.make_volume('multi'))
    assert bench.look() == []
    if kind in CASES:
        CASES[kind](bench, volume, row)
    else:
        bench.hands.acts[kind](volume, row)
    kinds = sorted({kind, *bench.hands.alongside.get(kind, ())})
    found = {one.kind: one for one in bench.look()}
    seen = found[kind]
    assert (seen.outcome, seen.volume_id, seen.host) == ('found', volume, 'testhost@file')
    assert bench.kinds() == kinds == sorted(found), 'to look changes nothing'
    found = {one.kind: one for one in bench.look(fix=None)}
    done = found[kind]
    assert (done.outcome, done.error, done.since, sorted(found)) == ('repaired', None, seen.since, kinds)
    assert bench.look() == []
    if kind in CASES:
        assert volume not in bench.deployed.target.list_exports()
        assert not bench.hands.has_file(volume)
    else:
        bench.login(row).close()
    bench.login(kept).close()


@pytest.mark.every_target
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


@pytest.mark.every_target
def test_somebody_elses_target_is_reported_and_left_alone(bench: Bench) -> None:
    stranger = str(uuid.uuid4())
    names = (f'{PREFIX}{stranger}', 'iqn.2010-10.org.example:something')
    for name in names:
        bench.hands.make_strange(name)
    try:
        for fix in (False, None, True):
            [seen] = bench.look(fix)
            assert (seen.kind, seen.outcome, seen.volume_id) == (Drift.NO_VOLUME, 'reported', stranger)
    finally:
        assert [bench.hands.remove_strange(name) for name in names] == [True, True]


def test_every_kind_of_a_target_is_provoked() -> None:
    elsewhere = {Drift.SESSION, Drift.NO_VOLUME, Drift.SHARED_LOGIN, Drift.OLD_PORTAL}  # test_portals.py
    assert {*BY_HAND, *CASES, *OF_FILES, *OF_REGISTRATIONS, *elsewhere} == set(TARGET_KINDS)


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


@pytest.mark.every_target
def test_the_operator_decides(make_bench: Callable[..., Bench]) -> None:
    rules = DriftRules({Drift.ADMITTED: 'report', Drift.NO_FILE: 'ignore'}, {Drift.UNUSED: 3600.0})
    bench = make_bench(rules=rules)
    volume, other = bench.deployed.make_volume('multi'), bench.deployed.make_volume('multi')
    row = bench.attach(volume)
    bench.hands.admit(volume, STRANGER)
    if Drift.NO_FILE in bench.hands.acts:
        bench.hands.acts[Drift.NO_FILE](volume, row)
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
