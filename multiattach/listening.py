# SPDX-License-Identifier: Apache-2.0
"""Addresses to listen at, addresses to tell others, and who holds a port.

The two are not one: nobody reaches ``0.0.0.0``, and a name is no iSCSI portal.
"""

import contextlib
import dataclasses
import ipaddress
import os
import pathlib
import pwd
import socket

_PROC = pathlib.Path('/proc')
_LISTENING = '0A'  # TCP_LISTEN, as /proc/net/tcp writes it
_MOST_PORT = 65535
# Somewhere that is neither here nor beside us (RFC 5737, RFC 3849): which of our addresses leads there?
_OUTSIDE = {socket.AF_INET: '192.0.2.1', socket.AF_INET6: '2001:db8::1'}


@dataclasses.dataclass(frozen=True)
class Address:
    """Where something listens: a name or an address (an IPv6 one without brackets), and a port, 0 for any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f'{bracket(self.host)}:{self.port}'


def parse(text: str) -> Address:
    """Read HOST:PORT.

    :raises ValueError: it is of another form; the message says what it must be.
    """
    host, colon, port = text.strip().rpartition(':')
    if host.startswith('[') and host.endswith(']'):
        host = host[1:-1]
        well = _is_ip(host, 6)
    else:
        well = bool(host) and not set(host) & set('[]:/@, \t')
    if not colon or not well or not (port.isascii() and port.isdigit()) or int(port) > _MOST_PORT:
        raise ValueError(f'must be HOST:PORT such as 127.0.0.1:8776, [::1]:8776 or localhost:8776, not {text!r}')
    return Address(host, int(port))


def parse_portal(text: str) -> Address:
    """Read ADDRESS:PORT; what initiators are told cannot be a name. The address is as tgtd writes it.

    :raises ValueError: it is of another form; the message says what it must be.
    """
    found = None
    with contextlib.suppress(ValueError):
        found = parse(text)
    if found is None or not (_is_ip(found.host, 4) or _is_ip(found.host, 6)) or not found.port:
        raise ValueError(f'must be ADDRESS:PORT such as 192.0.2.20:3260 or [2001:db8::20]:3260, not {text!r}')
    return Address(str(ipaddress.ip_address(found.host)), found.port)


def _is_ip(host: str, version: int) -> bool:
    try:
        return ipaddress.ip_address(host).version == version and '%' not in host
    except ValueError:
        return False


def bracket(host: str) -> str:
    """Write a host as URLs and portals have it: an IPv6 address in brackets."""
    return f'[{host}]' if ':' in host else host


def resolve(host: str) -> list[tuple[socket.AddressFamily, str]]:
    """Find the families and addresses of a name, those of IPv4 first; never empty.

    :raises OSError: it has none.
    """
    found = {
        (info[0], str(info[4][0])): None
        for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        if info[0] in (socket.AF_INET, socket.AF_INET6)
    }
    if not found:
        raise OSError(f'{host} has no address')
    return sorted(found, key=lambda one: one[0] != socket.AF_INET)


def is_wildcard(host: str) -> bool:
    """Return whether an address (``0.0.0.0``, ``::``) stands for all of this machine."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def find_told(host: str) -> str:
    """Find the address that others are told of something that listens at a host.

    :raises OSError: the name has no address.
    """
    family, address = resolve(host)[0]
    if not is_wildcard(address):
        return address
    for each in sorted(_OUTSIDE, key=lambda one: one != family):
        if each == socket.AF_INET6 and family == socket.AF_INET:
            continue  # nobody listens there
        with contextlib.suppress(OSError), socket.socket(each, socket.SOCK_DGRAM) as probe:
            probe.connect((_OUTSIDE[each], 9))  # nothing is sent
            return str(probe.getsockname()[0])
    return '127.0.0.1' if family == socket.AF_INET else '::1'


def find_near(host: str) -> str:
    """Find the name by which this machine itself reaches what listens at a host: loopback for all addresses."""
    if not is_wildcard(host):
        return host
    return '::1' if ':' in host else '127.0.0.1'


def is_free(address: Address) -> bool:
    """Return whether something may listen at an address of this machine now."""
    try:
        probe(address)
    except OSError:
        return False
    return True


def probe(address: Address) -> None:
    """Listen at an address for a moment."""
    family = socket.AF_INET6 if ':' in address.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as made:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((address.host, address.port))
        made.listen(1)


def describe_holder(port: int) -> str:
    """Say who listens at a port of this machine, ``tgtd (pid 812) has the port``; empty if nobody is seen."""
    found = _find_inodes(port)
    for entry in _PROC.glob('[0-9]*'):
        with contextlib.suppress(OSError):
            for link in (entry / 'fd').iterdir():
                with contextlib.suppress(OSError):
                    if os.readlink(link) in found:
                        return f'{(entry / "comm").read_text().strip()} (pid {entry.name}) has the port'
    for uid in found.values():  # a process of somebody else shows its descriptors to root only
        with contextlib.suppress(KeyError):
            return f'a process of the user {pwd.getpwuid(uid).pw_name} has the port'
        return f'a process of the user {uid} has the port'
    return ''


def _find_inodes(port: int) -> dict[str, int]:
    """Find the sockets that listen at a port: how /proc/PID/fd names them, and whose they are."""
    found: dict[str, int] = {}
    for table in ('tcp', 'tcp6'):
        with contextlib.suppress(OSError):
            for line in (_PROC / 'net' / table).read_text().splitlines()[1:]:
                words = line.split()
                if words[3] == _LISTENING and int(words[1].rpartition(':')[2], 16) == port:
                    found[f'socket:[{words[9]}]'] = int(words[7])
    return found


def explain(exc: OSError, port: int) -> str:
    """Say why something cannot listen at a port, and who holds it."""
    said = exc.strerror or str(exc)
    holder = describe_holder(port) if port else ''
    return f'{said}: {holder}' if holder else said
