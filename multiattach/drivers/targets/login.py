# SPDX-License-Identifier: Apache-2.0
"""Whether an iSCSI target answers at a portal: that its kernel takes a connection says nothing of it."""

import socket
import struct

from multiattach import listening

_NAME = 'iqn.2010-10.org.openstack:multiattach-probe'
# RFC 7143 section 11.12: an immediate login request of a discovery session, to leave the first stage at once.
_REQUEST = 0x43
_TRANSIT_TO_OPERATIONAL = 0x81
_HEADER = struct.Struct('>BBBB B3s 6s H I HH II 16s')


def answers(portal: str, timeout: float) -> bool:
    """Ask a target to log in, and tell whether anybody is there who answers.

    A refusal is an answer; so is the end of the connection: tgtd hangs up at once as long as it has no target, which
    the kernel alone does not do.

    :param portal: ``address:port``.
    :param timeout: seconds for all of it.
    """
    address = listening.parse_portal(portal)
    try:
        connection = socket.create_connection((address.host, address.port), timeout)
    except OSError:
        return False
    with connection:
        try:
            connection.sendall(_make_request())
            connection.recv(_HEADER.size)
        except TimeoutError:
            return False
        except OSError:
            return True
        return True


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
