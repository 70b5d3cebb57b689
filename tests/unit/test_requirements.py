# SPDX-License-Identifier: Apache-2.0
"""Lower bounds, and what OpenStack installs: pip refuses the one above the other."""

import importlib.metadata
import pathlib
import re
import subprocess
import sys

import packaging.requirements
import pytest

from tests.testbed import constraints


@pytest.mark.parametrize('choice', ['master', 'stable'])
def test_no_lower_bound_is_above_a_constraint_of_openstack(choice):
    assert list(constraints.find_low_constraints(choice)) == []


@pytest.mark.parametrize('choice', ['master', 'stable'])
def test_the_constraints_say_of_when_they_are(choice):
    first = (constraints.FILES / f'{choice}.txt').read_text().splitlines()[0]
    branch = r'stable/\d{4}\.\d' if choice == 'stable' else 'master'
    assert re.fullmatch(
        rf'# upper-constraints.txt of openstack/requirements, {branch} at [0-9a-f]{{40}}, '
        r'20\d\d-\d\d-\d\d',
        first,
    )


def test_a_bound_that_is_too_high_is_found(tmp_path, monkeypatch):
    """As SQLAlchemy 2.1.0 was against 2.0.52; also where the names are spelt otherwise."""
    (tmp_path / 'master.txt').write_text('SQLAlchemy===1.4.52\noslo-db===17.2.1\nWEBOB===1.8.9\n')
    monkeypatch.setattr(constraints, 'FILES', tmp_path)
    monkeypatch.setattr(
        constraints, 'list_requirements', lambda: ['SQLAlchemy>=2.0.38', 'oslo.db>=17.2.10', 'WebOb>=1.8.9', 'tooz>=99']
    )
    assert list(constraints.find_low_constraints('master')) == [
        'SQLAlchemy>=2.0.38: master has 1.4.52',
        'oslo.db>=17.2.10: master has 17.2.1',
    ]


def test_every_line_has_one_lower_bound():
    assert constraints.list_requirements()
    for line in constraints.list_requirements():
        assert re.fullmatch(r'[\w.-]+(\[\w+\])?>=[\d.]+', line)


def test_each_requirement_is_pinned_at_a_version_that_it_admits():
    pins = dict(line.split('==') for line in constraints.PINS.read_text().splitlines() if not line.startswith('#'))
    versions = {re.sub(r'[-_.]+', '-', name).lower(): version for name, version in pins.items()}
    for line in constraints.list_all_requirements():
        requirement = packaging.requirements.Requirement(line)
        assert requirement.specifier.contains(versions[re.sub(r'[-_.]+', '-', requirement.name).lower()]), line
    assert {'pip', 'setuptools', 'wheel'} <= versions.keys()


def test_pins_are_what_an_environment_has(tmp_path):
    constraints.write_pins(sys.executable, tmp_path / 'constraints.txt')
    lines = (tmp_path / 'constraints.txt').read_text().splitlines()
    assert f'pytest=={importlib.metadata.version("pytest")}' in lines
    assert all(line.startswith('#') or '==' in line for line in lines)
    assert not any(line.startswith('multiattach') for line in lines)


def test_refresh_takes_the_newest_stable_branch(tmp_path, monkeypatch):
    clone = tmp_path / 'requirements'
    git = ['git', '-C', str(clone), '-c', 'user.name=a', '-c', 'user.email=a@example.org']
    subprocess.run(['git', 'init', '-q', '-b', 'master', clone], check=True)
    for branch in ('master', 'stable/2024.2', 'stable/2025.1', 'unmaintained/2026.1'):
        if branch != 'master':
            subprocess.run([*git, 'checkout', '-q', '-b', branch], check=True)
        (clone / 'upper-constraints.txt').write_text(f'# of {branch}\n')
        subprocess.run([*git, 'add', '.'], check=True)
        subprocess.run([*git, 'commit', '-q', '-m', 'a'], check=True)
    monkeypatch.setattr(constraints, 'FILES', tmp_path / 'files')
    titles = constraints.refresh(str(clone))
    assert [title.split(', ')[1].split()[0] for title in titles] == ['master', 'stable/2025.1']
    written = pathlib.Path(tmp_path, 'files', 'stable.txt').read_text()
    assert written == f'{titles[1]}\n# of stable/2025.1\n'
