# SPDX-License-Identifier: Apache-2.0
"""The form of iSCSI's messages (RFC 7143), as far as an initiator needs it."""

import dataclasses
import enum
import struct
from collections.abc import Iterable

HEADER = 48
NO_TAG = 0xFFFFFFFF
FINAL = 0x80
IMMEDIATE = 0x40

# Opcode, flags, two bytes that each kind uses differently; AHS length, data length; LUN or ISID and TSIH;
# task tag; and seven words that each kind uses differently.
_LAYOUT = struct.Struct('>BBBBI8sI7I')


class Opcode(enum.IntEnum):
    """Kinds of messages."""

    NOP_OUT = 0x00
    COMMAND = 0x01
    LOGIN = 0x03
    TEXT = 0x04
    DATA_OUT = 0x05
    LOGOUT = 0x06
    NOP_IN = 0x20
    RESPONSE = 0x21
    LOGIN_RESPONSE = 0x23
    TEXT_RESPONSE = 0x24
    DATA_IN = 0x25
    LOGOUT_RESPONSE = 0x26
    READY = 0x31
    ASYNC = 0x32
    REJECT = 0x3F


@dataclasses.dataclass(slots=True)
class Message:
    """One message.

    :param opcode: its kind, with ``IMMEDIATE`` where it is.
    :param flags: second byte.
    :param third: third byte.
    :param fourth: fourth byte.
    :param lun: bytes 8 to 15: a LUN, or ISID and TSIH.
    :param tag: the initiator's task tag.
    :param words: bytes 20 to 47, as seven words.
    :param data: the data segment.
    """

    opcode: int
    flags: int = FINAL
    third: int = 0
    fourth: int = 0
    lun: bytes = bytes(8)
    tag: int = NO_TAG
    words: tuple[int, ...] = (0,) * 7
    data: bytes = b''

    def encode(self) -> bytes:
        """Return what goes over the wire."""
        return (
            _LAYOUT.pack(
                self.opcode, self.flags, self.third, self.fourth, len(self.data), self.lun, self.tag, *self.words
            )
            + self.data
            + bytes(-len(self.data) % 4)
        )


def measure(header: bytes | bytearray) -> int:
    """Tell how long a message is, from its header.

    :param header: its first 48 bytes.
    """
    length = int.from_bytes(header[5:8])
    return HEADER + header[4] * 4 + length + -length % 4


def decode(raw: bytes) -> Message:
    """Read a whole message.

    :param raw: all its bytes.
    """
    opcode, flags, third, fourth, lengths, lun, tag, *words = _LAYOUT.unpack_from(raw)
    start = HEADER + (lengths >> 24) * 4
    return Message(opcode, flags, third, fourth, lun, tag, tuple(words), raw[start : start + (lengths & 0xFFFFFF)])


def encode_keys(pairs: Iterable[tuple[str, str | bytes]]) -> bytes:
    """Write the keys of a login or a text request; a value may be any bytes.

    :param pairs: keys and values.
    """
    return b''.join(
        key.encode() + b'=' + (value.encode() if isinstance(value, str) else value) + b'\0' for key, value in pairs
    )


def decode_keys(data: bytes) -> list[tuple[str, str]]:
    """Read the keys of an answer; a key may come more than once.

    :param data: the data segment.
    """
    found = []
    for part in data.split(b'\0'):
        key, equals, value = part.decode('utf-8', 'replace').partition('=')
        if equals:
            found.append((key, value))
    return found
