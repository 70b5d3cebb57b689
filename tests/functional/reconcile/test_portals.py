# SPDX-License-Identifier: Apache-2.0
"""An operator changes the portal: what hosts were told before, what they are told now, on a real tgtd."""

import pathlib
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import webtest

from multiattach.api import deploy
from multiattach.api.settings import ApiSettings
from multiattach.db.attachments import Shown
from multiattach.domain import errors
from multiattach.domain.drift import Drift
from multiattach.domain.findings import DriftRules
from multiattach.drivers.targets.tgt.process import PrivateTgtd
from multiattach.drivers.targets.tgt.target import TgtTarget
from tests.deployments import embedded
from tests.functional.drivers.targets.tgt.conftest import free_portal
from tests.functional.drivers.targets.tgt.initiator import LoginRefused
from tests.functional.reconcile.conftest import Bench
from tests.functional.reconcile.hands import TgtHands

SECRETS = ('auth_method', 'auth_username', 'auth_password')


class Move:
    """A deployment whose tgtd, and so its portal, is another one after :meth:`move`."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        self._running: list[Any] = []
        self.tgtds: list[PrivateTgtd] = []
        self.bench = self._deploy()

    def _start_tgtd(self) -> PrivateTgtd:
        portal = free_portal()
        while any(portal == one.portal for one in self.tgtds):
            portal = free_portal()
        tgtd = PrivateTgtd(portal=portal, threads=1)
        tgtd.start()
        self.tgtds.append(tgtd)
        return tgtd

    def _deploy(self, told: str = '') -> Bench:
        tgtd = self.tgtds[-1] if told else self._start_tgtd()
        target = TgtTarget(
            tgtd.daemon, portal=told or tgtd.portal, listen=tgtd.portal, volumes_dir=self._folder / 'targets'
        )
        running = embedded.deploy(self._folder, target, report_interval=3600, rules=DriftRules())
        self._running.append(running)
        deployed = running.__enter__()
        if len(self._running) == 1:
            return Bench(deployed, TgtHands(tgtd, self._folder / 'targets'))
        bench = Bench.__new__(Bench)
        bench.deployed, bench.hands = deployed, TgtHands(tgtd, self._folder / 'targets')
        return bench

    def move(self) -> Bench:
        """Stop worker and tgtd; start them with another portal in their configuration."""
        self._running[-1].__exit__(None, None, None)
        self.tgtds[-1].stop()
        self.bench = self._deploy()
        return self.bench

    def tell(self, portal: str) -> Bench:
        """Start the worker again, with another address of the same tgtd in its configuration."""
        self._running[-1].__exit__(None, None, None)
        self.bench = self._deploy(portal)
        return self.bench

    def stop(self) -> None:
        self._running[-1].__exit__(None, None, None)
        for tgtd in self.tgtds:
            tgtd.stop()


@pytest.fixture
def moving(tmp_path: pathlib.Path) -> Iterator[Move]:
    move = Move(tmp_path)
    yield move
    move.stop()


def show(bench: Bench, ident: str) -> dict[str, Any]:
    info: dict[str, Any] = bench.deployed.engine.attachments.show(bench.deployed.ctx, ident).connection_info
    return info


def login(bench: Bench, row: Shown) -> None:
    bench.login(row._replace(connection_info=show(bench, row.id))).close()


def test_a_portal_that_the_target_no_longer_has_is_drift_and_refreshed(moving: Move) -> None:
    bench = moving.bench
    row = bench.attach(bench.deployed.make_volume('multi'))
    before = dict(row.connection_info)
    bench = moving.move()
    assert bench.tgtd.portal != before['target_portal']
    with pytest.raises(LoginRefused):
        bench.login(row)
    [seen] = bench.look()
    assert (seen.kind, seen.attachment_id, seen.outcome) == (Drift.OLD_PORTAL, row.id, 'found')
    assert seen.about == f'{before["target_portal"]}, now {bench.tgtd.portal}'
    assert show(bench, row.id) == before, 'to look changes nothing'
    found = bench.deployed.engine.explanations.explain_attachment(bench.deployed.ctx, row.id, live=True)
    assert found.truth is not None
    assert [one.kind for one in found.truth.findings] == [Drift.OLD_PORTAL]
    assert [one.outcome for one in bench.look(fix=None)] == ['repaired']
    after = show(bench, row.id)
    assert after == {**before, 'target_portal': bench.tgtd.portal}
    login(bench, row)
    assert bench.look() == []


def call(bench: Bench, method: str, path: str, body: Any = None) -> Any:
    """As a service does over HTTP."""
    app = webtest.TestApp(deploy.make_application(bench.deployed.engine, ApiSettings()))
    headers = {'OpenStack-API-Version': 'volume 3.71'}
    if body is None:
        return app.request(f'/v3{path}', method=method, headers=headers).json
    return getattr(app, f'{method.lower()}_json')(f'/v3{path}', body, headers=headers).json


def test_a_host_that_asks_again_is_told_the_portal_of_today(moving: Move) -> None:
    bench = moving.bench
    row = bench.attach(bench.deployed.make_volume('multi'))
    before = dict(row.connection_info)
    bench = moving.move()
    again = call(
        bench,
        'PUT',
        f'/attachments/{row.id}',
        {'attachment': {'connector': {'host': 'one', 'initiator': row.initiator}}},
    )['attachment']
    assert again['connection_info'] == {**before, 'target_portal': bench.tgtd.portal}
    assert again['status'] == 'attached'
    assert call(bench, 'GET', f'/attachments/{row.id}')['attachment']['connection_info'] == (again['connection_info'])
    login(bench, row)
    assert bench.look() == []


def test_os_initialize_connection_answers_the_portal_of_today(moving: Move) -> None:
    bench = moving.bench
    volume = bench.deployed.make_volume()
    body = {
        'os-initialize_connection': {
            'connector': {'host': 'h', 'initiator': 'iqn.1994-05.com.example:h', 'multipath': True}
        }
    }
    before = call(bench, 'POST', f'/volumes/{volume}/action', body)['connection_info']['data']
    assert call(bench, 'POST', f'/volumes/{volume}/action', body)['connection_info']['data'] == before
    bench = moving.move()
    after = call(bench, 'POST', f'/volumes/{volume}/action', body)['connection_info']['data']
    assert after == {**before, 'target_portal': bench.tgtd.portal, 'target_portals': [bench.tgtd.portal]}
    assert bench.look() == []


def test_a_worker_that_does_not_answer_keeps_nobody_from_what_is_stored(
    moving: Move, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = moving.bench
    row = bench.attach(bench.deployed.make_volume('multi'))
    before = dict(row.connection_info)
    bench = moving.move()

    def be_silent(*_: Any) -> None:
        raise errors.Unanswered('No answer.')

    monkeypatch.setattr(bench.deployed.engine.orders._workers, 'export', be_silent)
    again = bench.deployed.engine.attachments.connect(
        bench.deployed.ctx, row.id, {'host': 'one', 'initiator': row.initiator}
    )
    assert again.connection_info == before


def test_a_host_that_is_logged_in_by_the_old_portal_keeps_what_it_has_to_end(moving: Move) -> None:
    """tgtd serves both addresses, and the configuration names the other one now."""
    bench = moving.bench
    row = bench.attach(bench.deployed.make_volume('multi'))
    session = bench.login(row)
    told = bench.tgtd.portal
    bench = moving.tell(told.replace('127.0.0.1', '127.0.0.9'))
    for fix in (False, None, None):
        [seen] = bench.look(fix)
        assert (seen.kind, seen.outcome) == (Drift.OLD_PORTAL, 'waiting')
        assert 'is logged in' in str(seen.error)
    assert show(bench, row.id)['target_portal'] == told
    session.write(0, b'x' * 512)
    session.close()
    bench.deployed.wait(lambda: [one.outcome for one in bench.look(fix=None)] == ['repaired'])
    assert show(bench, row.id)['target_portal'].startswith('127.0.0.9:')


def test_a_person_may_have_it_done_at_once(moving: Move) -> None:
    bench = moving.bench
    row = bench.attach(bench.deployed.make_volume('multi'))
    session = bench.login(row)
    bench = moving.tell('127.0.0.9:1')
    assert [(one.kind, one.outcome) for one in bench.look(fix=True)] == [(Drift.OLD_PORTAL, 'repaired')]
    session.write(0, b'y' * 512)  # nobody is cut off
    session.close()
    secrets = {key: row.connection_info[key] for key in SECRETS}
    assert {key: show(bench, row.id)[key] for key in SECRETS} == secrets


def test_what_was_right_is_not_read_again(moving: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = moving.bench
    side, asked = bench.deployed.reconciler._side, []
    read = side.list_infos
    monkeypatch.setattr(side, 'list_infos', lambda idents: asked.append(len(idents)) or read(idents))
    volume = bench.deployed.make_volume('multi')
    for host in ('one', 'two'):
        bench.attach(volume, host, str(uuid.uuid4()))
    for _ in range(3):
        assert bench.look() == []
    assert asked == [2]
    bench.attach(volume, 'three')
    assert bench.look() == []
    assert asked == [2, 1]
