# SPDX-License-Identifier: Apache-2.0
"""Where a guest's files are: on this machine, or inside a compute host."""

import socket
from pathlib import Path
from typing import Protocol

from tests.testbed.errors import TestbedError


def check_socket_path(path: Path) -> Path:
    """Refuse a path that no Unix socket can have.

    :param path: of the socket to be
    :returns: the same
    :raises TestbedError: when it is longer than 107 bytes (unix(7))
    """
    if len(bytes(path)) > 107:
        raise TestbedError(f'{path}: too long a path for a Unix socket')
    return path


class Place(Protocol):
    """What Guest needs of the machine that its libvirtd runs on."""

    def make_disk(self, path: Path, size: int) -> None:
        """Make an empty disk image and its folder.

        :param path: the image
        :param size: bytes
        """

    def dial(self, path: Path) -> socket.socket:
        """Connect to a Unix socket.

        :param path: the socket
        :returns: a connection to it
        :raises OSError: when nobody listens there
        """

    def read_text(self, path: Path) -> str:
        """Read a file.

        :param path: the file
        :returns: its text; nothing where there is no file
        """


class Here:
    """This machine."""

    def make_disk(self, path: Path, size: int) -> None:
        """See Place."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open('wb') as disk:
            disk.truncate(size)

    def dial(self, path: Path) -> socket.socket:
        """See Place."""
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(path))
        except OSError:
            connection.close()
            raise
        return connection

    def read_text(self, path: Path) -> str:
        """See Place."""
        return path.read_text(errors='replace') if path.exists() else ''
