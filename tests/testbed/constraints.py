# SPDX-License-Identifier: Apache-2.0
"""Versions of libraries to test on: the lowest that are allowed, and those that OpenStack installs.

The files in ``tests/constraints`` are ``upper-constraints.txt`` of openstack/requirements, each with its
commit and date in the first line. ``constraints.txt`` at the top is ours: what all tests are run with.
"""

import configparser
import hashlib
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.testbed.environments import ensure_venv
from tests.testbed.errors import TestbedError
from tests.testbed.processes import run

TOP = Path(__file__).parents[2]
FILES = TOP / 'tests' / 'constraints'
PINS = TOP / 'constraints.txt'
REPOSITORY = 'https://opendev.org/openstack/requirements'
LOWEST, CHOICES = 'lowest', ('lowest', 'master', 'stable')
# uWSGI is compiled, and is no library of the code; what checks style and types is no library at all.
_EXTRAS = ('mysql', 'postgresql', 'redis', 'etcd', 'gunicorn', 'host', 'client')
_TOOLS = frozenset({'gabbi', 'hypothesis', 'pytest', 'pytest-xdist', 'webtest'})
_LINE = re.compile(r'^(?P<name>[\w.-]+)(?P<extra>\[\w+\])?>=(?P<version>[\w.]+)$')


def list_requirements() -> list[str]:
    """List what the code and its tests need, as ``requirements.txt`` and ``setup.cfg`` have it.

    :returns: requirements, each with its lower bound, without those of style and types.
    """
    conf = configparser.ConfigParser()
    conf.read(TOP / 'setup.cfg')
    found = (TOP / 'requirements.txt').read_text().split()
    for extra in _EXTRAS:
        found += conf['extras'][extra].split()
    found += [line for line in conf['extras']['test'].split() if line.split('>=')[0].lower() in _TOOLS]
    return sorted(set(found), key=str.lower)


def make_lines(choice: str) -> list[str]:
    """Make a requirements file for pip, which refuses it where a lower bound is above a constraint.

    :param choice: one of CHOICES.
    :returns: its lines.
    """
    if choice == LOWEST:
        return [line.replace('>=', '==') for line in list_requirements()]
    path = FILES / f'{choice}.txt'
    # Its content is part of what the environment is known by.
    return [*list_requirements(), f'-c {path}  # {hashlib.sha256(path.read_bytes()).hexdigest()}']


def ensure(choice: str, cache: Path | None = None) -> Path:
    """Provide the environment of a choice.

    :param choice: one of CHOICES.
    :param cache: cache folder; the usual one when None.
    :returns: its bin folder.
    :raises TestbedError: pip finds no such versions; the message says which.
    """
    return ensure_venv(cache, f'constraints-{choice}', make_lines(choice))


def find_low_constraints(choice: str) -> Iterator[str]:
    """Find the lower bounds that are above what OpenStack installs.

    :param choice: master or stable.
    :returns: an explanation for each.
    """
    text = (FILES / f'{choice}.txt').read_text()
    constraints = {
        _normalise(name): version
        for name, version in re.findall(r'^([\w.-]+)===([\w.]+)(?:;python_version>=\S+)?$', text, re.MULTILINE)
    }
    for line in list_requirements():
        if (found := _LINE.match(line)) is None:
            yield f'{line}: not NAME>=VERSION'
        elif _count(constraints.get(_normalise(found['name']), '9999')) < _count(found['version']):
            yield f'{line}: {choice} has {constraints[_normalise(found["name"])]}'


def _normalise(name: str) -> str:
    return re.sub(r'[-_.]+', '-', name).lower()


def _count(version: str) -> tuple[int, ...]:
    return tuple(int(word) for word in re.findall(r'\d+', version))


def refresh(repository: str = REPOSITORY) -> list[str]:
    """Read the constraints of master and of the newest stable branch anew.

    :param repository: address, or path, of openstack/requirements.
    :returns: the first line of each file.
    :raises TestbedError: git cannot read it.
    """
    heads = re.findall(
        r'refs/heads/(stable/\d{4}\.\d)$', run(['git', 'ls-remote', '--heads', repository]), re.MULTILINE
    )
    if not heads:
        raise TestbedError(f'{repository} has no stable branch')
    return [_read(repository, branch, choice) for branch, choice in (('master', 'master'), (max(heads), 'stable'))]


def _read(repository: str, branch: str, choice: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        run(['git', 'clone', '-q', '--bare', '--depth', '1', '--branch', branch, repository, folder], timeout=600)
        text = run(['git', '-C', folder, 'show', 'HEAD:upper-constraints.txt'])
        commit = run(['git', '-C', folder, 'log', '-1', '--format=%H, %cs']).strip()
    title = f'# upper-constraints.txt of openstack/requirements, {branch} at {commit}'
    FILES.mkdir(exist_ok=True)
    (FILES / f'{choice}.txt').write_text(f'{title}\n{text}')
    return title


def write_metadata(folder: Path) -> None:
    """Write what an installation says of this tree, entry points above all, for environments without it.

    :param folder: to be put into PYTHONPATH, before the tree.
    """
    conf = configparser.ConfigParser()
    conf.read(TOP / 'setup.cfg')
    info = folder / 'multiattach-0.dist-info'
    info.mkdir(parents=True)
    (info / 'METADATA').write_text(
        f'Metadata-Version: 2.1\nName: multiattach\nVersion: {conf["metadata"]["version"]}\n'
    )
    lines = [f'[{group}]\n{entries.strip()}\n' for group, entries in conf['entry_points'].items()]
    (info / 'entry_points.txt').write_text('\n'.join(lines))


def list_all_requirements() -> list[str]:
    """List all lines of ``requirements.txt`` and of every extra in ``setup.cfg``."""
    conf = configparser.ConfigParser()
    conf.read(TOP / 'setup.cfg')
    lines = (TOP / 'requirements.txt').read_text().split()
    return sorted({*lines, *(line for extra in conf['extras'].values() for line in extra.split())}, key=str.lower)


def write_pins(python: Path, target: Path = PINS) -> None:
    """Write what an environment has as constraints for pip."""
    text = run([python, '-m', 'pip', 'freeze', '--all', '--exclude-editable', '--disable-pip-version-check'])
    pins = [line for line in text.splitlines() if re.fullmatch(r'[\w.-]+==\S+', line)]
    target.write_text(
        '# Every library that the tests are run with, on Python 3.11; quick start, tools/test and tox install these.\n'
        '# "tools/constraints --pin" takes the newest versions that are admitted; run tools/test after it.\n'
        + ''.join(f'{line}\n' for line in sorted(pins, key=str.lower))
    )


def pin() -> None:
    """Read anew which versions are the newest, in an environment of its own.

    :raises TestbedError: pip finds no versions that go together.
    """
    with tempfile.TemporaryDirectory() as folder:
        run([sys.executable, '-m', 'venv', folder])
        python = Path(folder, 'bin', 'python')
        install = [python, '-m', 'pip', 'install', '-q', '--disable-pip-version-check']
        run([*install, '--upgrade', 'pip', 'setuptools', 'wheel'], timeout=600)
        run([*install, *list_all_requirements()], timeout=3600)
        write_pins(python)


if __name__ == '__main__':
    if sys.argv[1:] == ['--pin']:
        pin()
    else:
        print('\n'.join(refresh(*sys.argv[1:2])))
