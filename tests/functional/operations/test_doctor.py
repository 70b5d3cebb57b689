# SPDX-License-Identifier: Apache-2.0
"""multiattach-manage doctor, as an operator calls it."""

import argparse
import json
import pathlib
import time
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa

from multiattach.cmd import doctor, parts
from multiattach.db import models, services as db_services
from multiattach.domain.services import HOST_BINARY
from tests.deployments import embedded
from tests.deployments.standalone import Standalone
from tests.functional.operations.test_manage import forget, run


@pytest.fixture
def service(tmp_path: pathlib.Path) -> Iterator[Standalone]:
    running = Standalone(tmp_path / 'state')
    config = running.state / 'multiattach.conf'
    config.write_text(f'{config.read_text()}[reconcile]\ninterval = 0\n[api]\nlisten_port = {running.port}\n')
    running.start()
    yield running
    assert running.stop() == 0


def test_it_asks_the_api_of_standalone(service: Standalone, tmp_path: pathlib.Path) -> None:
    config = tmp_path / 'manage.conf'
    config.write_text(f'[DEFAULT]\ntransport_url = inproc://\n[api]\nlisten_port = {service.port}\n')
    volume = service.make_volume()
    well = run('manage', config, 'doctor')
    assert well.returncode == 0, well.stdout + well.stderr
    assert 'multiattach-standalone: its API at http://127.0.0.1' in well.stdout
    assert 'No differences found by 1 workers and agents, 0 left' in well.stdout
    engine = sa.create_engine(f'sqlite:///{service.state}/multiattach.sqlite')
    with engine.begin() as connection:
        connection.execute(sa.update(models.Volume).where(models.Volume.id == volume).values(status='in-use'))
    engine.dispose()
    seen = run('manage', config, 'doctor')
    assert seen.returncode == 1
    assert f'status on {deployment_host(service)}: volume {volume} in-use' in seen.stdout
    assert 'To be done (--fix does it now): The status is derived' in seen.stdout
    assert service.status(volume) == 'in-use'
    done = run('manage', config, 'doctor', '--fix', '-f', 'json')
    assert done.returncode == 0, done.stdout + done.stderr
    [finding] = json.loads(done.stdout)['findings']
    assert (finding['kind'], finding['outcome'], finding['left']) == ('status', 'repaired', False)
    assert service.status(volume) == 'available'
    assert run('manage', config, 'doctor').returncode == 0


def deployment_host(service: Standalone) -> str:
    _code, reply = service.ask('GET', '/v3/os-services')
    return str(next(one['host'] for one in reply['services']))


def test_nobody_listens(tmp_path: pathlib.Path) -> None:
    config = tmp_path / 'manage.conf'
    config.write_text('[DEFAULT]\ntransport_url = inproc://\n')
    done = run('manage', config, 'doctor', '--url', 'http://127.0.0.1:1')
    assert done.returncode == 2
    assert 'is multiattach-standalone running?' in done.stderr


def test_keystone_wants_a_token(tmp_path: pathlib.Path) -> None:
    config = tmp_path / 'manage.conf'
    config.write_text('[DEFAULT]\ntransport_url = inproc://\n[api]\nauth_strategy = keystone\n')
    done = run('manage', config, 'doctor')
    assert done.returncode == 2
    assert 'use "openstack multiattach doctor"' in done.stderr


def test_a_house_where_nobody_lives_is_not_well(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        doctor, '_ask_api', lambda *_args, **_more: {'findings': [], 'unanswered': [], 'answered': 0, 'left': 0}
    )

    class Conf:
        command = argparse.Namespace(fix=False, release=[], format='table', url='http://127.0.0.1:1')
        transport_url = 'rabbit://'

    assert doctor.examine(Conf()) == 1  # type: ignore[arg-type]
    assert 'Nobody was there to ask' in capsys.readouterr().out


@pytest.mark.parametrize('fix', [False, True])
def test_it_asks_over_the_broker(
    deployed: embedded.Deployment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], fix: bool
) -> None:
    """Whatever carries the messages: who does not answer is told, and counts."""
    volume = deployed.make_volume()
    with deployed.db.writer() as session:
        session.execute(sa.update(models.Volume).where(models.Volume.id == volume).values(status='in-use'))
    forget(deployed, 'gone@file')
    monkeypatch.setattr(parts, 'ask_database', lambda _conf: deployed.db)
    monkeypatch.setattr(deployed.db, 'close', lambda: None)

    class Conf:
        command = argparse.Namespace(fix=fix, release=[], format='table', url=None)
        transport_url = 'rabbit://'

        def __getattr__(self, name: str) -> object:
            return getattr(deployed.conf, name)

        def __getitem__(self, name: str) -> object:
            return deployed.conf[name]

    monkeypatch.setattr(parts, 'open_transport', lambda _conf: deployed.rpc)
    monkeypatch.setattr(deployed.rpc, 'cleanup', lambda: None)
    assert doctor.examine(Conf()) == 1  # type: ignore[arg-type]
    text = capsys.readouterr().out
    assert ('Done: ' if fix else 'To be done') in text
    assert 'No answer from multiattach-volume on gone@file: gone@file does not report' in text
    assert f'1 difference found by 1 workers and agents, {0 if fix else 1} left, 1 without an answer.' in text
    assert deployed.status(volume) == ('available' if fix else 'in-use')


def test_drift_is_counted(deployed: embedded.Deployment, scrape: Callable[[], str]) -> None:
    volume = deployed.make_volume()
    with deployed.db.writer() as session:
        session.execute(sa.update(models.Volume).where(models.Volume.id == volume).values(status='in-use'))
    for fix in (False, True, False):
        deployed.reconciler.run(fix=fix)
    text = scrape()
    for outcome in ('found', 'repaired'):
        assert f'multiattach_drift_total{{kind="status",outcome="{outcome}"}} 1.0' in text


def test_an_agent_that_gives_no_answer_is_named_in_ten_seconds(deployed: embedded.Deployment) -> None:
    db_services.beat(deployed.db, HOST_BINARY, 'mute', 'nova', {})
    began = time.monotonic()
    found = deployed.engine.doctor.diagnose(deployed.ctx, fix=False)
    assert time.monotonic() - began < 10
    assert found.answered == 1
    [one] = found.unanswered
    assert (one.host, one.reason.partition(';')[0]) == ('mute', 'No answer from mute in time')
