# SPDX-License-Identifier: Apache-2.0
"""What is made of this tree: source distribution, wheel, and what programs say they are."""

import configparser
import email
import os
import pathlib
import shutil
import subprocess
import sys
import zipfile

import pytest

TOP = pathlib.Path(__file__).parents[2]
_BUILD = 'import sys, pbr.build as build; getattr(build, f"build_{sys.argv[1]}")(sys.argv[2])'
_SETUP = configparser.ConfigParser()
_SETUP.read(TOP / 'setup.cfg')
PROGRAMS = [line.split()[0] for line in _SETUP['entry_points']['console_scripts'].strip().splitlines()]


def run(*words, cwd=TOP, **env):
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env={**os.environ, **env},
        timeout=300,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(kind, tree, folder):
    """Build without an environment of its own: the tools are those of the tests."""
    folder.mkdir(parents=True)
    run(sys.executable, '-W', 'ignore', '-c', _BUILD, kind, folder, cwd=tree, PYTHONPATH='')
    [made] = folder.iterdir()
    return made


@pytest.fixture(scope='module')
def built(tmp_path_factory):
    """The source distribution, the wheel of the tree, and the wheel of the source distribution."""
    folder = tmp_path_factory.mktemp('built')
    run('git', 'clone', '-q', TOP, folder / 'tree')
    source = build('sdist', folder / 'tree', folder / 'sdist')
    wheel = build('wheel', folder / 'tree', folder / 'wheel')
    (folder / 'unpacked').mkdir()
    run('tar', '-xzf', source, '-C', folder / 'unpacked')
    [unpacked] = (folder / 'unpacked').iterdir()
    # As a distribution builds it: below a repository of its own.
    run('git', 'init', '-q', folder / 'unpacked')
    return source, wheel, build('wheel', unpacked, folder / 'again')


def read(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        [name] = [name for name in names if name.endswith('.dist-info/METADATA')]
        return email.message_from_bytes(archive.read(name)), names


def test_all_have_one_version(built):
    source, wheel, again = built
    metadata, _ = read(wheel)
    version = metadata['Version']
    assert version.startswith(_SETUP['metadata']['version'])
    assert source.name == f'multiattach-{version}.tar.gz'
    assert wheel.name == again.name == f'multiattach-{version}-py3-none-any.whl'
    assert read(again)[0]['Version'] == version


def test_a_tree_without_its_history_has_the_release(tmp_path):
    run('git', 'clone', '-q', TOP, tmp_path / 'tree')
    shutil.rmtree(tmp_path / 'tree' / '.git')
    run('git', 'init', '-q', tmp_path)  # of something else
    wheel = build('wheel', tmp_path / 'tree', tmp_path / 'wheel')
    assert read(wheel)[0]['Version'] == _SETUP['metadata']['version']


def test_the_wheel_has_what_the_guide_needs(built):
    metadata, names = read(built[1])
    assert metadata['Name'] == 'multiattach'
    assert metadata['License-Expression'] or metadata['License']
    assert 'Quick start' in metadata.get_payload()
    tails = {name.partition('.data/data/')[2] for name in names}
    assert {
        'share/multiattach/alembic/alembic.ini',
        'share/multiattach/systemd/multiattach-api.service',
        'etc/multiattach/uwsgi.ini',
        'share/multiattach/nginx/multiattach.conf',
    } <= tails
    assert sorted(names) == sorted(read(built[2])[1])


def test_what_is_installed_tells_its_version(built, tmp_path):
    wheel = built[1]
    run(sys.executable, '-m', 'pip', 'install', '-q', '--no-deps', '--no-index', '--target', tmp_path, wheel)
    version = read(wheel)[0]['Version']
    assert len(PROGRAMS) >= 6
    for name in PROGRAMS:
        said = run(
            tmp_path / 'bin' / name, '--version', cwd=tmp_path, PYTHONPATH=str(tmp_path), PYTHONWARNINGS='ignore'
        )
        assert said.strip() == f'{name} {version}'
