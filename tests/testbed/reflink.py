# SPDX-License-Identifier: Apache-2.0
"""A file system whose files can share blocks, on a file."""

import contextlib
import os
import pathlib
import shutil
import subprocess
from collections.abc import Iterator

_SIZE = 320 << 20  # bytes; XFS takes no less than 300 MiB


def is_possible() -> bool:
    """Tell whether this machine can have one: it takes root, loop devices and xfsprogs."""
    return os.geteuid() == 0 and os.path.exists('/dev/loop-control') and shutil.which('mkfs.xfs') is not None


@contextlib.contextmanager
def mount(folder: pathlib.Path, size: int = _SIZE) -> Iterator[pathlib.Path]:
    """Have XFS at ``folder/xfs`` while the block lasts.

    :param size: bytes, of which only what is written takes room
    """
    image, place = folder / 'xfs.img', folder / 'xfs'
    place.mkdir()
    with image.open('wb') as file:
        file.truncate(size)
    subprocess.run(['mkfs.xfs', '-q', '-m', 'reflink=1', str(image)], check=True)
    subprocess.run(['mount', '-o', 'loop', str(image), str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(['umount', '--lazy', str(place)], check=True)
        image.unlink()
