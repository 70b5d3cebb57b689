# SPDX-License-Identifier: Apache-2.0
"""Shell files of the whole tree, as shellcheck and bashate want them; not those for busybox."""

import os
import pathlib
import subprocess

from tests.devstack.machine import BIN, TOP


def find_scripts() -> list[pathlib.Path]:
    found = []
    for folder, names, files in os.walk(TOP):
        names[:] = [name for name in names if name == '.ci' or not name.startswith('.')]
        found += [pathlib.Path(folder, name) for name in files]
    return [path for path in found if path.suffix == '.sh' or _has_shell_line(path)]


def _has_shell_line(path: pathlib.Path) -> bool:
    with path.open('rb') as file:
        line = file.readline(80)
    return line.startswith(b'#!') and line.rstrip().endswith((b'/sh', b'/bash', b'env sh', b'env bash'))


def test_shellcheck_finds_nothing() -> None:
    scripts = find_scripts()
    assert TOP / 'devstack/lib/multiattach' in scripts
    # SC1091: a file that is on another machine only
    done = subprocess.run(
        ['shellcheck', '-x', '-e', 'SC1091', '--source-path', TOP, *scripts],
        cwd=TOP,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_bashate_finds_nothing() -> None:
    # As devstack itself does: E006 is lines of 79 characters.
    done = subprocess.run(
        [BIN / 'bashate', '-i', 'E006', '-e', 'E005,E042', *find_scripts()], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
