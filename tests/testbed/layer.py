# SPDX-License-Identifier: Apache-2.0
"""Packages that only some guests have: a layer over this machine's own system, made once and kept in the cache."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.testbed.initramfs import FILES
from tests.testbed.kernel import find_cache
from tests.testbed.processes import run
from tests.testbed.progress import report


def ensure_layer(name: str, packages: Sequence[str], cache: Path | None = None) -> Path:
    """Provide a layer, from the cache when it is there.

    :param name: of its folder in the cache
    :param packages: of Debian, installed there without what they only recommend
    :param cache: cache folder
    :returns: folder with what they add to /etc, /usr and /var
    :raises TestbedError: when apt-get fails
    """
    cache = find_cache(cache)
    layer = cache / f'layer-{name}'
    with (cache / f'.layer-{name}.lock').open('w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not layer.exists():
            report(f'installing {" ".join(packages)} into a layer of its own')
            # Beside, renamed at the end: the cache holds whole layers only.
            work = Path(tempfile.mkdtemp(prefix='.layer-', dir=cache))
            try:
                argv = ['unshare', '--mount', 'bash', FILES / 'layer-main', work, *packages]
                run(argv, timeout=3600, env={**os.environ, 'DEBIAN_FRONTEND': 'noninteractive'})
                work.chmod(0o755)
                work.rename(layer)
            finally:
                shutil.rmtree(work, ignore_errors=True)
    return layer
