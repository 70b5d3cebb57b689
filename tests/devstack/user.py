# SPDX-License-Identifier: Apache-2.0
"""The user that devstack runs as: not root, but with sudo. It exists in a mount namespace only."""

import os
import pathlib
import shlex
from collections.abc import Sequence

NAME, NUMBER = 'stack', 20776
# As devstack's tools/create-stack-user.sh has it; the variables are the tests' own.
_SUDOERS = f"""Defaults env_reset
Defaults secure_path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
Defaults env_keep += "TGT_IPC_SOCKET PYTHONPATH PYTHONWARNINGS LC_ALL no_proxy"
root ALL=(ALL:ALL) ALL
{NAME} ALL=(root) NOPASSWD: ALL
"""


def give(path: pathlib.Path) -> None:
    """Let the user have a file or a folder.

    :param path: of it.
    """
    os.chown(path, NUMBER, NUMBER)


def wrap(argv: Sequence[str | pathlib.Path], folder: pathlib.Path, needed: Sequence[pathlib.Path]) -> list[str]:
    """Have a command run as the user, who has a real sudo; for root.

    :param argv: the command.
    :param folder: for the files that are /etc's there.
    :param needed: folders that the user has to be able to read, wherever they are.
    :returns: the command to run.
    """
    etc = folder / 'user'
    etc.mkdir(mode=0o700, exist_ok=True)
    files = {
        # No "x": it has no entry in shadow.
        'passwd': f'{NAME}:*:{NUMBER}:{NUMBER}::{folder}:/bin/bash\n',
        'group': f'{NAME}:*:{NUMBER}:\n',
    }
    script = ['set -e']
    for name, line in files.items():
        path = etc / name
        path.write_text(pathlib.Path('/etc', name).read_text() + line)
        path.chmod(0o644)
        script.append(f'mount --bind {path} /etc/{name}')
    sudoers = etc / 'sudoers'
    sudoers.unlink(missing_ok=True)
    sudoers.write_text(_SUDOERS)
    sudoers.chmod(0o440)
    script += [f'mount --bind {sudoers} /etc/sudoers', *_open(etc, needed)]
    words = ['setpriv', f'--reuid={NAME}', f'--regid={NAME}', '--init-groups', *map(str, argv)]
    script.append(f'exec {shlex.join(words)}')
    return ['unshare', '--mount', 'bash', '-c', '\n'.join(script)]


def _open(place: pathlib.Path, needed: Sequence[pathlib.Path]) -> list[str]:
    """Show folders below one that is root's alone, such as a clone in /root, and nothing else of that."""
    resolved = [path.resolve() for path in needed]
    closed = {
        parent
        for path in resolved
        for parent in [one for one in list(path.parents)[::-1] if not one.stat().st_mode & 1][:1]
    }
    lines = []
    hidden = [path for path in resolved if closed & set(path.parents)]
    for number, path in enumerate(hidden):
        lines.append(f'mkdir -p {place}/{number}; mount --bind {path} {place}/{number}')
    lines += [f'mount -t tmpfs -o mode=755 tmpfs {path}' for path in sorted(closed)]
    for number, path in enumerate(hidden):
        lines.append(f'mkdir -p {path}; mount --bind {place}/{number} {path}')
    return lines
