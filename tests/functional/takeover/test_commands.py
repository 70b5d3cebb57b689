# SPDX-License-Identifier: Apache-2.0
"""``multiattach-manage cinder`` as an operator calls it."""

import json

import pytest

from tests.functional.operations.test_manage import run


@pytest.fixture
def config(tmp_path, db):
    path = tmp_path / 'multiattach.conf'
    path.write_text(f'[database]\nconnection = {db.engine.url.render_as_string(False)}\n')
    return path


@pytest.fixture
def url_file(tmp_path, theirs):
    path = tmp_path / 'url'
    path.write_text(f'{theirs.url}\n')
    return path


def test_a_move_there_and_back(config, db, theirs, url_file):
    kind = theirs.add_type('multi')
    volume = theirs.add_volume(kind)
    theirs.attach(volume, 'h1')
    there = ('--cinder-connection-file', url_file, '--backend', 'old@lvm#LVM=new@lvm')
    seen = run('manage', config, 'cinder', 'check', *there)
    assert (seen.returncode, seen.stderr) == (0, '')
    assert 'volume               1: 1 new' in seen.stdout
    dry = run('manage', config, 'cinder', 'import', *there, '--dry-run', '-f', 'json')
    assert json.loads(dry.stdout)['new'] == {
        'qos-specs': 0,
        'volume-type': 1,
        'default-type': 0,
        'quota': 0,
        'volume': 1,
        'attachment': 1,
        'snapshot': 0,
    }
    done = run('manage', config, 'cinder', 'import', *there)
    assert done.returncode == 0, done.stderr
    assert 'Next: start multiattach-volume' in done.stdout
    assert 'secret0123456789' not in seen.stdout + dry.stdout + done.stdout
    refused = run('manage', config, 'cinder', 'undo')
    assert refused.returncode == 1
    assert 'stop multiattach-volume there first' in refused.stderr
    finished = run('manage', config, 'cinder', 'finish')
    assert finished.returncode == 0
    assert 'no way back' in finished.stdout


def test_what_cannot_move_is_listed_with_a_remedy(config, theirs, url_file):
    theirs.add_volume(theirs.add_type('multi'), encryption_key_id='k', display_name='hush')
    seen = run(
        'manage', config, 'cinder', 'check', '--cinder-connection-file', url_file, '--backend', 'old@lvm=new@lvm'
    )
    assert seen.returncode == 1
    assert '"hush" of project p1: It is encrypted.' in seen.stdout
    refused = run(
        'manage', config, 'cinder', 'import', '--cinder-connection-file', url_file, '--backend', 'old@lvm=new@lvm'
    )
    assert refused.returncode == 1
    assert '--partial imports the rest' in refused.stderr


def test_where_the_database_is_must_be_said(config, tmp_path):
    said = run('manage', config, 'cinder', 'check')
    assert said.returncode == 2
    assert '--cinder-connection-file FILE, or the variable CINDER_CONNECTION' in said.stderr
    empty = tmp_path / 'empty'
    empty.touch()
    assert 'is empty' in run('manage', config, 'cinder', 'check', '--cinder-connection-file', empty).stderr
    missing = run('manage', config, 'cinder', 'check', '--cinder-config', tmp_path / 'none.conf')
    assert missing.returncode == 2
    assert 'there is no file' in missing.stderr


@pytest.mark.parametrize('url', ['mysql+pymysql://cinder:hush@127.0.0.1:1/cinder', 'sqlite:////nowhere/x', 'hush'])
def test_a_database_that_is_not_there_gives_no_secret_away(config, tmp_path, url):
    path = tmp_path / 'cinder.conf'
    path.write_text(f'[database]\nconnection = {url}\n')
    said = run('manage', config, 'cinder', 'check', '--cinder-config', path)
    assert said.returncode == 2
    assert "Cinder's database cannot be opened" in said.stderr
    assert 'hush' not in said.stderr + said.stdout


def test_a_database_of_something_else(config, tmp_path, db):
    path = tmp_path / 'url'
    path.write_text(db.engine.url.render_as_string(False))
    said = run('manage', config, 'cinder', 'check', '--cinder-connection-file', path)
    assert said.returncode == 1
    assert 'no database of Cinder' in said.stderr
