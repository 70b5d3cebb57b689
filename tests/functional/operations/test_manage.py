# SPDX-License-Identifier: Apache-2.0
"""multiattach-manage and multiattach-status as an operator calls them."""

import datetime
import json
import os
import subprocess
import sys
import uuid

import pytest
import sqlalchemy as sa

from multiattach.db import models, services as db_services
from multiattach.domain import release
from tests.deployments.nursery import open_nursery
from tests.deployments.programs import BIN

SECRET = 's3cretword'


def run(program, config, *words):
    """Call a program, multiattach-manage in a fork that need not import it again.

    The library of multiattach-status keeps the words that its process was started with.
    """
    if program != 'manage':
        return run_installed(program, config, *words)
    return check(open_nursery().call('multiattach-manage', '--config-file', config, *words))


def run_installed(program, config, *words):
    done = subprocess.run(
        [BIN / f'multiattach-{program}', '--config-file', config, *words],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, 'PYTHONWARNINGS': 'ignore', 'COLUMNS': '400'},
    )
    return check(done)


def check(done):
    assert 'Traceback' not in done.stderr + done.stdout, done.stderr
    return done


@pytest.fixture
def config(tmp_path, deployed):
    path = tmp_path / 'multiattach.conf'
    path.write_text(
        f'[database]\nconnection = {deployed.db.engine.url.render_as_string(False)}\n'
        f'[oslo_policy]\npolicy_file = {tmp_path}/policy.yaml\n'
    )
    return path


def add(config, text):
    with config.open('a') as out:
        out.write(text)


# -- services and database ---------------------------------------------------------------------


def forget(deployed, host, binary='multiattach-volume', *, days=2, **report):
    db_services.beat(deployed.db, binary, host, 'nova', report)
    with deployed.db.writer() as session:
        session.execute(
            sa.update(models.Service)
            .where(models.Service.host == host)
            .values(heartbeat_at=models.now() - datetime.timedelta(days=days))
        )


def test_services(config, deployed):
    forget(deployed, 'gone@file')
    listed = json.loads(run('manage', config, 'service', 'list', '-f', 'json').stdout)
    assert {row['host']: row['state'] for row in listed} == {'gone@file': 'down', 'testhost@file': 'up'}
    assert 'gone@file' in run_installed('manage', config, 'service', 'list').stdout
    refused = run('manage', config, 'service', 'remove', 'multiattach-volume', 'testhost@file')
    assert refused.returncode == 1
    assert 'alive' in refused.stderr
    assert run('manage', config, 'service', 'remove', 'multiattach-volume', 'gone@file').returncode == 0
    assert 'gone@file' not in run('manage', config, 'service', 'list').stdout
    assert run('manage', config, 'service', 'remove', 'multiattach-volume', 'gone@file').returncode == 1


def test_a_service_whose_volumes_stay_is_not_forgotten_by_mistake(config, deployed):
    deployed.make_type()
    volume = deployed.make_volume('multi')
    deployed.engine.attachments.create(deployed.ctx, volume, str(uuid.uuid4()), None, None)
    deployed.make_volume()
    deployed.worker.stop()
    forget(deployed, 'testhost@file')
    remove = ('service', 'remove', 'multiattach-volume', 'testhost@file')
    refused = run('manage', config, *remove)
    assert refused.returncode == 1
    assert '2 volumes with 1 attachments are on testhost@file' in refused.stderr
    assert 'volume update-host --current-host testhost@file' in refused.stderr
    assert 'testhost@file' in run('manage', config, 'service', 'list').stdout
    assert run('manage', config, *remove, '--force').returncode == 0
    assert 'testhost@file' not in run('manage', config, 'service', 'list').stdout


def test_one_of_a_cluster_may_go_while_another_serves_its_volumes(config, deployed):
    deployed.make_volume()
    deployed.worker.stop()
    forget(deployed, 'testhost@file')
    forget(deployed, 'second@file', cluster='testhost@file')
    assert run('manage', config, 'service', 'remove', 'multiattach-volume', 'second@file').returncode == 0
    assert run('manage', config, 'service', 'remove', 'multiattach-volume', 'testhost@file').returncode == 1


def test_an_agent_whose_attachments_stay_is_not_forgotten_by_mistake(config, deployed):
    volume = deployed.make_volume()
    row = deployed.engine.attachments.create(deployed.ctx, volume, str(uuid.uuid4()), None, None)
    with deployed.db.writer() as session:
        session.execute(sa.update(models.Attachment).where(models.Attachment.id == row.id).values(agent_host='c1'))
    forget(deployed, 'c1', 'multiattach-host')
    forget(deployed, 'c2', 'multiattach-host')
    refused = run('manage', config, 'service', 'remove', 'multiattach-host', 'c1')
    assert refused.returncode == 1
    assert '1 attachments of servers on c1' in refused.stderr
    assert 'multiattach host fence c1' in refused.stderr
    assert run('manage', config, 'service', 'remove', 'multiattach-host', 'c2').returncode == 0
    assert run('manage', config, 'service', 'remove', 'multiattach-host', 'c1', '--force').returncode == 0


def test_logs_are_apart_from_what_was_asked_for(config):
    """oslo.messaging logs a reply that comes too late: it must not end up in the JSON."""
    script = (
        'import logging, sys\nfrom multiattach.cmd import manage\n'
        "manage._tell_state = lambda *_: logging.getLogger('oslo_messaging').info('late') or 'up'\n"
        'sys.exit(manage.manage(sys.argv[1:]))'
    )
    argv = [sys.executable, '-c', script, '--config-file', config, 'service', 'list', '-f', 'json']
    done = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=120)
    assert [row['host'] for row in json.loads(done.stdout)] == ['testhost@file']
    assert 'INFO oslo_messaging [-] late' in done.stderr


def test_database(config):
    assert run('manage', config, 'db', 'check').returncode == 0
    assert 'revision' in run('manage', config, 'db', 'sync').stdout
    assert 'rows purged' in run('manage', config, 'db', 'purge').stdout


def test_an_empty_database(tmp_path):
    path = tmp_path / 'x.conf'
    path.write_text(f'[database]\nconnection = sqlite:///{tmp_path}/empty.sqlite\n')
    done = run('manage', path, 'db', 'check')
    assert done.returncode == 2
    assert 'multiattach-manage db sync' in done.stderr
    assert run('manage', path, 'db', 'sync').returncode == 0
    assert run('manage', path, 'db', 'check').returncode == 0


def test_config_check_says_all_at_once(config):
    add(
        config,
        f"""[DEFAULT]
transport_url = rabbit://u:{SECRET}@127.0.0.1:1/
[api]
auth_strategy = hope
[tgt]
prtal = x
""",
    )
    done = run('manage', config, 'config', 'check')
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 2
    config.write_text(config.read_text().partition('[api]')[0])
    done = run('manage', config, 'config', 'check')
    assert (done.returncode, done.stderr) == (0, '')
    done = run('manage', config, 'config', 'check', '--connect')
    assert done.returncode == 1
    assert 'Option transport_url in [DEFAULT]' in done.stderr
    assert SECRET not in done.stderr


def test_policy_check(config, tmp_path):
    (tmp_path / 'policy.yaml').write_text('"volume:gett": "role:reader"\n')
    done = run('manage', config, 'policy', 'check')
    assert done.returncode == 1
    assert 'did you mean volume:get?' in done.stderr


# -- upgrade check -----------------------------------------------------------------------------


def checks(done):
    """The table of ``upgrade check``: results by name."""
    found, name = {}, None
    for line in done.stdout.splitlines():
        text = line.strip('|').strip()
        if text.startswith('Check: '):
            name = text.removeprefix('Check: ')
            found[name] = ''
        elif name and not line.startswith('+'):
            found[name] += f'{text} '
    return found


def test_upgrade_check_of_a_good_deployment(config):
    add(config, '[DEFAULT]\ntransport_url = inproc://\n')
    found = checks(run('status', config, 'upgrade', 'check'))
    assert {name for name, text in found.items() if 'Success' not in text} == {'Message broker'}


def test_upgrade_check_finds_what_is_wrong(config, deployed, tmp_path):
    forget(deployed, 'other1@file')
    db_services.beat(deployed.db, 'multiattach-host', 'other2', 'nova', {})
    with deployed.db.writer() as session:
        old = session.query(models.Service).filter_by(host='other2').one()
        old.report = {'release': '0.0.9'}
    volume_id = deployed.make_volume()
    with deployed.db.writer() as session:
        session.execute(sa.update(models.Volume).where(models.Volume.id == volume_id).values(status='hovering'))
    (tmp_path / 'policy.yaml').write_text('{"volume:gett": "role:reader"}')
    add(config, f'[DEFAULT]\ntransport_url = rabbit://u:{SECRET}@127.0.0.1:1/\n')
    done = run('status', config, 'upgrade', 'check')
    assert done.returncode == 2
    found = checks(done)
    assert 'Success' in found['Database schema']
    assert 'volume:get?' in found['Policy file']
    assert 'JSON-formatted' in found['Policy file format']
    assert 'transport_url' in found['Message broker']
    assert 'other1@file' in found['Workers and agents']
    assert 'multiattach-manage service remove' in found['Workers and agents']
    assert 'other2 (0.0.9)' in found['Workers and agents']
    assert "1 in 'hovering'" in found['States of rows']
    if deployed.db.engine.dialect.name == 'sqlite':
        assert 'MariaDB' in found['SQLite']
    assert SECRET not in done.stdout + done.stderr


def test_services_report_their_release(deployed):
    with deployed.db.reader() as session:
        [service] = db_services.list_all(session)
    assert service.report['release'] == release.version()


def test_upgrade_check_without_a_schema(tmp_path):
    path = tmp_path / 'x.conf'
    path.write_text(f'[database]\nconnection = sqlite:///{tmp_path}/empty.sqlite\n')
    done = run('status', path, 'upgrade', 'check')
    assert done.returncode == 2
    assert 'manage db sync' in checks(done)['Database schema']
    path.write_text('[api]\nthreads = no\n')
    assert run('status', path, 'upgrade', 'check').returncode == 2
