# SPDX-License-Identifier: Apache-2.0
"""The TCP connections that a process of this machine has, and ending one of them from outside.

tgtd shows a connection only when its login is complete. What is held open half-way is seen in the
kernel's tables alone, and tgtd has no command that ends it: its descriptor is borrowed
(pidfd_getfd(2)) and shut down, as if the other side had hung up.
"""

import ctypes
import errno
import os
import re
import socket
from contextlib import suppress
from typing import NamedTuple

from multiattach.drivers.errors import TargetError
from multiattach.drivers.targets.tgt.tcp_table import list_connected, list_listening

_PIDFD_GETFD = 438  # the same number on every architecture
_SOCKET = re.compile(r'socket:\[(\d+)\]')
_ANY = ('0.0.0.0', '::')  # noqa: S104 - read, never bound
_libc = ctypes.CDLL(None, use_errno=True)


class Peer(NamedTuple):
    """One end of a TCP connection.

    :param inode: what tells it from all others on this machine.
    :param address: the other side's address, without port.
    """

    inode: int
    address: str


# Of each process the inodes that were listening on the machine when it was looked at, and those that are its own. To
# look is dear: a tgtd with images of Ceph has dozens of descriptors for each, and a fence asks several times.
_owned: dict[int, tuple[frozenset[int], frozenset[int]]] = {}


def list_peers(pid: int) -> dict[int, Peer]:
    """List the TCP connections that a process has accepted, by inode.

    Those that it made itself, as tgtd does to a Ceph whose images it exports, are none of its initiators'.

    :raises TargetError: its descriptors cannot be read.
    """
    try:
        owners = {one.local: one.inode for one in list_listening(pid)}
        own = _find_own(pid, frozenset(owners.values()))
        connected = list_connected(pid, {end.port for end, inode in owners.items() if inode in own})
    except OSError as exc:
        _owned.pop(pid, None)
        raise TargetError(
            f'the connections of tgtd (process {pid}) cannot be read: {exc.strerror or exc}; '
            'run this worker as the same user, or as root'
        ) from exc
    found = {}
    for inode, local, remote in connected:
        # Whoever listens at the very address was given it, else whoever listens at all of them; 0: not accepted yet.
        ends = [local, *(local._replace(address=any_) for any_ in _ANY)]
        owner = next((owners[end] for end in ends if end in owners), None)
        if owner in own and inode:
            found[inode] = Peer(inode, remote.address)
    return found


def _find_own(pid: int, listening: frozenset[int]) -> frozenset[int]:
    """Find out which of the listening sockets are a process's."""
    known = _owned.get(pid)  # once: other threads forget it
    if known is None or known[0] != listening:
        known = listening, listening & _list_inodes(pid).keys()
        _owned.clear()
        _owned[pid] = known
    return known[1]


def _list_inodes(pid: int) -> dict[int, int]:
    """List the sockets of a process: the descriptor of each, by inode."""
    folder = f'/proc/{pid}/fd'
    found = {}
    for name in os.listdir(folder):
        with suppress(FileNotFoundError):  # closed meanwhile
            match = _SOCKET.fullmatch(os.readlink(f'{folder}/{name}'))
            if match is not None:
                found[int(match[1])] = int(name)
    return found


def shut_down(pid: int, peer: Peer) -> None:
    """End a connection of another process; one that has ended is success.

    :raises TargetError: it cannot be reached.
    """
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        number = _find_descriptor(pid, peer)
        if number is None:
            return
        descriptor = _libc.syscall(_PIDFD_GETFD, process, number, 0)
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


def _find_descriptor(pid: int, peer: Peer) -> int | None:
    try:
        return _list_inodes(pid).get(peer.inode)
    except (FileNotFoundError, ProcessLookupError):
        return None
    except OSError as exc:
        raise TargetError(f'the connections of tgtd (process {pid}) cannot be read: {exc.strerror or exc}') from exc
