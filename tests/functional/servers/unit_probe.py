# SPDX-License-Identifier: Apache-2.0
"""Runs in a program's place: tries each argument, KIND:SUBJECT, and prints as JSON how it ended.

Standard library only: it runs where the units' own programs are not.
"""

import ctypes
import errno
import json
import os
import pathlib
import socket
import sys

_PIDFD_OPEN, _PIDFD_GETFD = 434, 438  # on every architecture


def _take_socket(pid: str) -> None:
    """Get hold of a socket of another process, as a fence does with a session's connection."""
    libc = ctypes.CDLL(None, use_errno=True)
    for entry in pathlib.Path('/proc', pid, 'fd').iterdir():
        if not os.readlink(entry).startswith('socket:'):
            continue
        process = libc.syscall(_PIDFD_OPEN, int(pid), 0)
        taken = libc.syscall(_PIDFD_GETFD, process, int(entry.name), 0)
        if taken < 0:
            raise OSError(ctypes.get_errno(), 'pidfd_getfd')
        socket.socket(fileno=taken).close()
        return
    raise FileNotFoundError(errno.ENOENT, 'no socket')


def _connect(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)


_KINDS = {
    'connect': _connect,
    'read': lambda path: pathlib.Path(path).read_bytes(),
    'take-socket': _take_socket,
    'write': lambda path: pathlib.Path(path).write_text('probe'),
}


def _try(word: str) -> str:
    kind, _, subject = word.partition(':')
    try:
        _KINDS[kind](subject)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return 'done'


print(
    json.dumps(
        {word: _try(word) for word in sys.argv[1:]} | {'uid': os.getuid(), 'folder': os.environ.get('STATE_DIRECTORY')}
    )
)
