# SPDX-License-Identifier: Apache-2.0
"""The systemd units, as far as systemd can judge them without running."""

import configparser
import pathlib
import re
import subprocess

import pytest

from tests.deployments.programs import BIN, TOP

UNITS = sorted((TOP / 'etc/systemd').glob('*.service'))


def test_there_is_a_unit_for_each_program() -> None:
    assert [unit.stem for unit in UNITS] == ['multiattach-api', 'multiattach-host', 'multiattach-volume']


@pytest.mark.parametrize('unit', UNITS, ids=lambda unit: unit.stem)
def test_systemd_understands_a_unit(unit: pathlib.Path, tmp_path: pathlib.Path) -> None:
    # The programs are in the environment of the tests, not in /opt.
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text().replace('/opt/multiattach/bin', str(BIN)))
    done = subprocess.run(
        ['systemd-analyze', 'verify', '--man=no', '--recursive-errors=no', copy],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert unit.name not in done.stderr


def test_a_wrong_unit_is_noticed(tmp_path: pathlib.Path) -> None:
    unit = tmp_path / 'wrong.service'
    unit.write_text('[Service]\nExecStart=/bin/true\nProtectSystem=nonsense\n')
    done = subprocess.run(['systemd-analyze', 'verify', '--man=no', unit], capture_output=True, text=True, check=False)
    assert done.returncode != 0 or unit.name in done.stderr


@pytest.mark.parametrize('unit', UNITS, ids=lambda unit: unit.stem)
def test_a_unit_starts_a_program_that_there_is(unit: pathlib.Path) -> None:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(unit)
    program = parser['Service']['ExecStart'].split()[0].removeprefix('/opt/multiattach/bin/')
    assert (BIN / program).exists()
    for name in re.findall(r'/etc/multiattach/(\S+)', unit.read_text()):
        assert (TOP / 'etc/multiattach' / name).exists(), name
