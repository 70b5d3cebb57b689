# SPDX-License-Identifier: Apache-2.0
"""The TCP connections that a process of this machine has, and ending one of them from outside.

tgtd shows a connection only when its login is complete. What is held open half-way is seen in the
kernel's tables alone, and tgtd has no command that ends it: its descriptor is borrowed
(pidfd_getfd(2)) and shut down, as if the other side had hung up.
"""

import ctypes
import errno
import ipaddress
import os
import re
import socket
import sys
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from multiattach.drivers.errors import TargetError

_PIDFD_GETFD = 438  # the same number on every architecture
_SOCKET = re.compile(r'socket:\[(\d+)\]')
_LISTEN = '0A'
_libc = ctypes.CDLL(None, use_errno=True)


class Peer(NamedTuple):
    """One end of a TCP connection.

    :param inode: what tells it from all others on this machine.
    :param address: the other side's address, without port.
    """

    inode: int
    fd: int
    address: str


def list_peers(pid: int) -> dict[int, Peer]:
    """List the TCP connections that a process has accepted, by inode.

    Those that it made itself, as tgtd does to a Ceph whose images it exports, are none of its initiators'.

    :raises TargetError: its descriptors cannot be read.
    """
    try:
        inodes = _list_inodes(pid)
        remote = _list_accepted(pid, inodes)
    except OSError as exc:
        raise TargetError(
            f'the connections of tgtd (process {pid}) cannot be read: {exc.strerror or exc}; '
            'run this worker as the same user, or as root'
        ) from exc
    return {inode: Peer(inode, fd, remote[inode]) for inode, fd in inodes.items() if inode in remote}


def _list_inodes(pid: int) -> dict[int, int]:
    folder = f'/proc/{pid}/fd'
    found = {}
    for name in os.listdir(folder):
        with suppress(FileNotFoundError):  # closed meanwhile
            match = _SOCKET.fullmatch(os.readlink(f'{folder}/{name}'))
            if match is not None:
                found[int(match[1])] = int(name)
    return found


def _list_accepted(pid: int, inodes: Collection[int]) -> dict[int, str]:
    """List the other side's addresses of connections at a port where the process listens; of all if it does nowhere."""
    ports: set[str] = set()
    found: list[tuple[int, str, str]] = []
    for table in ('tcp', 'tcp6'):
        path = Path(f'/proc/{pid}/net/{table}')
        if not path.exists():  # a kernel without IPv6
            continue
        for line in path.read_text(encoding='ascii').splitlines()[1:]:
            fields = line.split()
            port, inode = fields[1].rpartition(':')[2], int(fields[9])
            if fields[3] != _LISTEN:
                found.append((inode, port, fields[2].partition(':')[0]))
            elif inode in inodes:
                ports.add(port)
    return {inode: _read_address(remote) for inode, port, remote in found if not ports or port in ports}


def _read_address(text: str) -> str:
    # The kernel prints words of 32 bits as numbers of this machine.
    words = bytes.fromhex(text)
    swapped = b''.join(words[i : i + 4][::-1] for i in range(0, len(words), 4))
    data = swapped if sys.byteorder == 'little' else words
    return plain_address(str(ipaddress.ip_address(data)))


def plain_address(text: str) -> str:
    """Write an address in one way: IPv4 mapped into IPv6 or with a zone as well; another text as it is."""
    try:
        address = ipaddress.ip_address(text.partition('%')[0])
    except ValueError:
        return text
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def shut_down(pid: int, peer: Peer) -> None:
    """End a connection of another process; one that has ended is success.

    :raises TargetError: it cannot be reached.
    """
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        descriptor = _libc.syscall(_PIDFD_GETFD, process, peer.fd, 0)
        code = ctypes.get_errno()
    finally:
        os.close(process)
    if descriptor < 0:
        if code in (errno.EBADF, errno.ESRCH):
            return
        raise TargetError(
            f'a connection of tgtd (process {pid}) cannot be ended: {os.strerror(code)}; this worker '
            'needs the capability CAP_SYS_PTRACE, or to run as the same user'
        )
    with socket.socket(fileno=descriptor) as borrowed:
        if os.fstat(borrowed.fileno()).st_ino == peer.inode:  # else the descriptor is another's by now
            with suppress(OSError):
                borrowed.shutdown(socket.SHUT_RDWR)
