# SPDX-License-Identifier: Apache-2.0
"""Virtual environments in the cache: software whose libraries the project's own must not meet."""

import fcntl
import hashlib
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.testbed.kernel import find_cache
from tests.testbed.processes import run
from tests.testbed.progress import report

_STAMP = 'installed'


def ensure_venv(cache: Path | None, name: str, requirements: Sequence[str] | Path) -> Path:
    """Provide a virtual environment, from the cache when it is there.

    Scripts in it name its path, so it is built where it stays; a stamp written at the end tells a
    whole one from one whose making was cut off.

    :param cache: cache folder; the usual one when None
    :param name: what it is for, part of the folder's name
    :param requirements: what pip is to install, versions and all; or a file of it
    :returns: the environment's bin folder
    :raises TestbedError: when it cannot be made
    """
    lines = requirements.read_text().splitlines() if isinstance(requirements, Path) else list(requirements)
    text = ''.join(f'{line}\n' for line in lines)
    version = f'python {sys.version_info.major}.{sys.version_info.minor}\n'
    key = hashlib.sha256((version + text).encode()).hexdigest()[:12]
    root = find_cache(cache) / f'venv-{name}-{key}'
    with (root.parent / f'.venv-{name}.lock').open('w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (root / _STAMP).exists():
            _build(root, name, text)
    return root / 'bin'


def _build(root: Path, name: str, text: str) -> None:
    report(f'making the virtual environment for {name}')
    shutil.rmtree(root, ignore_errors=True)
    run([sys.executable, '-m', 'venv', root])
    wanted = root / 'requirements.txt'
    wanted.write_text(text)
    python = root / 'bin' / 'python'
    run([python, '-m', 'pip', 'install', '-q', '--disable-pip-version-check', '-r', wanted], timeout=1800)
    (root / _STAMP).touch()
    report(f'the virtual environment for {name} is in the cache')
