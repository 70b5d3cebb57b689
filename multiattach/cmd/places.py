# SPDX-License-Identifier: Apache-2.0
"""Folders and names out of options, checked before anything is made with them.

What a target cannot take would fail at each attach; what a URL or a pattern cannot, nobody knows when.
"""

import contextlib
import os
import pathlib
import re
import stat

from oslo_log import log

from multiattach.domain import errors

LOG = log.getLogger(__name__)

# Letters are those of any language. Everything else means something to tgtd (a comma, a keyword with "="),
# to tgt-admin (a blank, quotes, "#", "$", "<", patterns), to oslo.config ("$") or in a URL ("?", "#").
_PATH = re.compile(r'[\w/.:@+%-]+')
_LONGEST_PATH = 512
_IQN_PREFIX = re.compile(r'iqn\.[0-9]{4}-[0-9]{2}\.[a-z0-9:.-]{1,150}')
# What an older start has left; a folder with other things is not ours to close.
_MARK = 'standalone.lock'
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def check_path(option: str, path: pathlib.Path) -> None:
    """Refuse a folder that volumes cannot be exported from.

    :param option: how the message names the option.
    :param path: the folder.
    :raises ConfigurationError: its path has characters or a length that the target cannot take.
    """
    text = os.path.abspath(path)
    for sign in text:
        if not _PATH.fullmatch(sign):
            raise errors.ConfigurationError(
                f'{option}: {text!r} has the character {sign!r}, which targets cannot take. Use '
                'letters, digits and . _ - + : @ % only.'
            )
    if len(os.fsencode(text)) > _LONGEST_PATH:
        raise errors.ConfigurationError(f'{option}: the path is longer than {_LONGEST_PATH} bytes.')


def check_iqn_prefix(option: str, prefix: str) -> None:
    """Refuse a start of names that no target and no initiator can have.

    :param option: how the message names the option.
    :param prefix: what names start with.
    :raises ConfigurationError: iSCSI names cannot start so.
    """
    if not _IQN_PREFIX.fullmatch(prefix):
        raise errors.ConfigurationError(
            f'{option} must be such as iqn.2010-10.org.openstack: (small letters, digits, . : and -, at '
            f'most 160 characters), not {prefix!r}.'
        )


def close_folder(option: str, folder: pathlib.Path) -> int:
    """See that nobody else reads a folder that keeps secrets, nor what is in it.

    :param option: how the message names the option.
    :param folder: the folder, which is there.
    :returns: how many folders and files were open to others.
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
