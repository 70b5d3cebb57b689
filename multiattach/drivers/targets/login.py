# SPDX-License-Identifier: Apache-2.0
"""Whether an iSCSI target answers at a portal: that its kernel takes a connection says nothing of it."""

import contextlib
import socket
import struct
import time

from multiattach import listening

_NAME = 'iqn.2010-10.org.openstack:multiattach-probe'
# RFC 7143 section 11.12: an immediate login request of a discovery session, to leave the first stage at once.
_REQUEST, _RESPONSE = 0x43, 0x23
_TRANSIT_TO_OPERATIONAL = 0x81
_HEADER = struct.Struct('>BBBB B3s 6s H I HH II 16s')
_LENGTH = 48


def answers(portal: str, timeout: float) -> bool:
    """Ask a target to log in, and tell whether it answers, be it with a refusal.

    :param portal: ``address:port``.
    :param timeout: seconds for all of it.
    """
    address = listening.parse_portal(portal)
    deadline = time.monotonic() + timeout
    with contextlib.suppress(OSError):
        with socket.create_connection((address.host, address.port), timeout) as connection:
            connection.sendall(_make_request())
            said = b''
            while len(said) < _LENGTH:
                connection.settimeout(max(deadline - time.monotonic(), 0.001))
                chunk = connection.recv(_LENGTH - len(said))
                if not chunk:
                    return False
                said += chunk
            return said[0] == _RESPONSE
    return False


def _make_request() -> bytes:
    text = f'InitiatorName={_NAME}\0SessionType=Discovery\0AuthMethod=None\0'.encode()
    padded = text + bytes(-len(text) % 4)
    header = _HEADER.pack(
        _REQUEST,
        _TRANSIT_TO_OPERATIONAL,
        0,
        0,
        0,
        len(text).to_bytes(3, 'big'),
        b'\x80' + bytes(5),  # ISID of a random kind
        0,
        1,
        0,
        0,
        1,
        0,
        bytes(16),
    )
    return header + padded
