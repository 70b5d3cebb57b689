# SPDX-License-Identifier: Apache-2.0
"""Logins that are held open half-way: the kernel waits for them, with the entry of the initiator that they named.

Linux 6.1 has no limit for that. It shows sessions, each with an address, and connections; which of several of one
address is none of its sessions it does not show. So all of that address are ended, and whoever has an account logs in
again by itself.
"""

import collections
import ipaddress
import os
import socket
import struct
from pathlib import Path

from oslo_log import log

from multiattach import listening
from multiattach.drivers.targets.lio.configfs import Configfs
from multiattach.drivers.targets.lio.session_text import read_sessions
from multiattach.drivers.targets.tgt.tcp_table import TcpSocket, list_connected, plain_address

LOG = log.getLogger(__name__)

# sock_diag(7), linux/inet_diag.h: end a socket whosever it is (inet_diag_req_v2)
_NETLINK_SOCK_DIAG, _SOCK_DESTROY, _REQUEST_ACK = 4, 21, 0x5
_HEADER = struct.Struct('=IHHII')
_ASKED = struct.Struct('=BBBxI')
_PORTS = struct.Struct('>HH')
_ALL, _NO_COOKIE = 0xFFF, b'\xff' * 8
_PATIENCE = 5  # s


def end_half_open(configfs: Configfs, portal: str) -> None:
    """End the connections to a portal of each address that has more of them than sessions."""
    port = listening.parse_portal(portal).port
    connected = list_connected(os.getpid(), [port])
    sessions = _count_sessions(configfs.root / 'iscsi', configfs)
    counts = collections.Counter(one.remote.address for one in connected)
    for one in connected:
        if counts[one.remote.address] > sessions[one.remote.address]:
            LOG.warning('A login from %s may be held open half-way: its connection is ended', one.remote.address)
            _destroy(one)


def _count_sessions(folder: Path, configfs: Configfs) -> collections.Counter[str]:
    found: collections.Counter[str] = collections.Counter()
    for target in configfs.list_names(folder):
        if configfs.is_changing(folder / target):
            continue  # it is the one that waits, or does for a moment: its sessions are to be ended, or come back
        acls = folder / target / 'tpgt_1' / 'acls'
        for name in configfs.list_names(acls):
            found.update(plain_address(one) for one in read_sessions(configfs.read(acls / name / 'info')))
    return found


def _destroy(one: TcpSocket) -> None:
    local, remote = (ipaddress.ip_address(end.address) for end in (one.local, one.remote))
    family = socket.AF_INET if local.version == 4 else socket.AF_INET6
    addresses = local.packed.ljust(16, b'\0') + remote.packed.ljust(16, b'\0')
    identity = _PORTS.pack(one.local.port, one.remote.port) + addresses + bytes(4) + _NO_COOKIE
    body = _ASKED.pack(family, socket.IPPROTO_TCP, 0, _ALL) + identity
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as asking:
        asking.settimeout(_PATIENCE)
        asking.send(_HEADER.pack(_HEADER.size + len(body), _SOCK_DESTROY, _REQUEST_ACK, 0, 0) + body)
        (code,) = struct.unpack_from('=i', asking.recv(4096), _HEADER.size)
    if code:  # it may have ended meanwhile
        LOG.info('The connection from %s is not ended: %s', one.remote.address, os.strerror(-code))
