# SPDX-License-Identifier: Apache-2.0
"""The TCP sockets of this machine, as its kernel lists them.

Asked by sock_diag(7), it lists those at one port only: a tgtd that exports images of Ceph has thousands of connections
to the cluster, and /proc/net/tcp prints all of them, 3 ms for each thousand. From there are read a kernel that has no
sock_diag, and another network namespace than this thread's.
"""

import contextlib
import errno
import ipaddress
import os
import socket
import struct
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_REQUEST_DUMP = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_ERROR, _DONE = 2, 3
_HEADER = struct.Struct('=IHHII')  # nlmsghdr
_ASKED = struct.Struct('=BBBxI')  # inet_diag_req_v2 before its socket's identity
_CODE = struct.Struct('=i')
_PORTS = struct.Struct('>HH')
_ADDRESSES, _INODE, _ENTRY = 8, 68, 72  # offsets in inet_diag_msg, and its size
# TCP_TIME_WAIT, TCP_LISTEN, and a bit for each state that is a connection
_OVER, _LISTENING = 6, 10
_CONNECTED = 0xFFF & ~(1 << _OVER | 1 << _LISTENING)
_NO_FAMILY = (errno.ENOENT, errno.EAFNOSUPPORT)  # a kernel without IPv6
_PATIENCE = 5  # seconds that the kernel has for an answer


class End(NamedTuple):
    """One end of a connection; the address is written as :func:`plain_address` does."""

    address: str
    port: int


class TcpSocket(NamedTuple):
    """A socket; *inode* is 0 for one that its program has not accepted yet."""

    inode: int
    local: End
    remote: End


def list_listening(pid: int) -> list[TcpSocket]:
    """List the sockets that listen in a process's network namespace, whosever they are.

    :raises OSError: there is no such process, or it may not be looked at.
    """
    if _is_in_our_namespace(pid):
        with contextlib.suppress(_NoDiagError):
            return list(_ask(1 << _LISTENING, 0))
    return [found for state, found in _read(pid) if state == _LISTENING]


def list_connected(pid: int, ports: Collection[int]) -> list[TcpSocket]:
    """List the connections whose own end has one of these ports, as :func:`list_listening` does.

    One that has ended, and that the kernel remembers for a minute, is none.
    """
    if _is_in_our_namespace(pid):
        with contextlib.suppress(_NoDiagError):
            return [found for port in ports for found in _ask(_CONNECTED, port)]
    return [found for state, found in _read(pid) if _CONNECTED >> state & 1 and found.local.port in ports]


def plain_address(text: str) -> str:
    """Write an address in one way: IPv4 mapped into IPv6 or with a zone as well; another text as it is."""
    try:
        address = ipaddress.ip_address(text.partition('%')[0])
    except ValueError:
        return text
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


class _NoDiagError(Exception):
    """This kernel does not answer sock_diag for TCP."""


def _is_in_our_namespace(pid: int) -> bool:
    theirs, ours = os.stat(f'/proc/{pid}/ns/net'), os.stat('/proc/thread-self/ns/net')
    return (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino)


def _ask(states: int, port: int) -> Iterator[TcpSocket]:
    """Ask for the sockets in these states, a bit each, at a port, 0 for all."""
    try:
        asking = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG)
    except OSError as exc:
        raise _NoDiagError from exc
    found: list[TcpSocket] = []
    with asking:
        asking.settimeout(_PATIENCE)
        for family in (socket.AF_INET, socket.AF_INET6):
            identity = _PORTS.pack(port, 0) + bytes(36) + b'\xff' * 8
            body = _ASKED.pack(family, socket.IPPROTO_TCP, 0, states) + identity
            asking.send(_HEADER.pack(_HEADER.size + len(body), _SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP, family, 0) + body)
            found += _receive(asking, family)
    yield from found


def _receive(asking: socket.socket, family: int) -> Iterator[TcpSocket]:
    while True:
        data, start = asking.recv(1 << 16), 0
        while start < len(data):
            length, kind, *_ = _HEADER.unpack_from(data, start)
            if kind in (_DONE, _ERROR):
                # Also the end of a list says whether it was one: else some would be missing unseen.
                code = _CODE.unpack_from(data, start + _HEADER.size)[0] if length >= _HEADER.size + _CODE.size else 0
                if code and not (kind == _ERROR and family == socket.AF_INET6 and -code in _NO_FAMILY):
                    raise _NoDiagError
                return
            yield _parse(data[start + _HEADER.size : start + _HEADER.size + _ENTRY])
            start += (length + 3) & ~3


def _parse(entry: bytes) -> TcpSocket:
    size = 4 if entry[0] == socket.AF_INET else 16
    local, remote = _PORTS.unpack_from(entry, 4)
    source, destination = entry[_ADDRESSES : _ADDRESSES + size], entry[_ADDRESSES + 16 : _ADDRESSES + 16 + size]
    (inode,) = struct.unpack_from('=I', entry, _INODE)
    return TcpSocket(inode, End(_name(source), local), End(_name(destination), remote))


def _read(pid: int) -> Iterator[tuple[int, TcpSocket]]:
    """Read all sockets with the state of each."""
    for table in ('tcp', 'tcp6'):
        path = Path(f'/proc/{pid}/net/{table}')
        if table == 'tcp6' and not path.exists():  # a kernel without IPv6
            continue
        for line in path.read_text(encoding='ascii').splitlines()[1:]:
            _, local, remote, state, *_more, inode = line.split(None, 10)[:10]
            yield int(state, 16), TcpSocket(int(inode), _read_end(local), _read_end(remote))


def _read_end(text: str) -> End:
    # The kernel prints words of 32 bits as numbers of this machine.
    address, port = text.split(':')
    words = bytes.fromhex(address)
    swapped = b''.join(words[i : i + 4][::-1] for i in range(0, len(words), 4))
    return End(_name(swapped if sys.byteorder == 'little' else words), int(port, 16))


def _name(address: bytes) -> str:
    return plain_address(str(ipaddress.ip_address(address)))
