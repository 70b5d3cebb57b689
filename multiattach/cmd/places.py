# SPDX-License-Identifier: Apache-2.0
"""Folders that keep secrets, checked before anything is put there."""

import contextlib
import os
import pathlib
import stat

from oslo_log import log

from multiattach.domain import errors

LOG = log.getLogger(__name__)

# What an older start has left; a folder with other things is not ours to close.
_MARK = 'standalone.lock'
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def close_folder(option: str, folder: pathlib.Path) -> int:
    """See that nobody else reads a folder that keeps secrets; return how many files and folders were open to others.

    :raises ConfigurationError: it belongs to somebody else, or holds other things, too.
    """
    found = folder.stat()
    if found.st_uid != os.geteuid():
        raise errors.ConfigurationError(
            f'{option}: {folder} belongs to another user, who could read the secrets in it. Name another '
            'folder, or give it to the user of this program (chown).'
        )
    if found.st_mode & _OTHERS and not _is_ours(folder):
        raise errors.ConfigurationError(
            f'{option}: {folder} holds other things, and other users can use it (mode '
            f'{stat.S_IMODE(found.st_mode):04o}): CHAP secrets are to be kept in it. Name a folder of '
            'its own, or close this one (chmod 700).'
        )
    closed = _close(folder)
    for place, folders, files in os.walk(folder):
        closed += sum(_close(pathlib.Path(place, name)) for name in (*folders, *files))
    return closed


def _is_ours(folder: pathlib.Path) -> bool:
    names = [path.name for path in folder.iterdir()]
    return _MARK in names or all(name.endswith(('.conf', '.yaml')) for name in names)


def _close(path: pathlib.Path) -> int:
    with contextlib.suppress(FileNotFoundError):  # a log that was just rotated
        found = path.lstat()
        if not stat.S_ISLNK(found.st_mode) and found.st_mode & _OTHERS and found.st_uid == os.geteuid():
            path.chmod(stat.S_IMODE(found.st_mode) & ~_OTHERS)
            return 1
    return 0
