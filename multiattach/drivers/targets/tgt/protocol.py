# SPDX-License-Identifier: Apache-2.0
"""tgtd's management protocol: requests as bytes, replies as codes and text.

One request per connection: a fixed header, then the parameters as one text that ends with NUL.
The reply is a header of two numbers, then text. All numbers are in the host's byte order
(tgt 1.0.85 to 1.0.97, ``usr/tgtadm.h``, ``usr/mgmt.c``).

tgtd looks for its keywords anywhere in the parameter text (``strstr``) and splits it at commas,
without any escape. So an initiator name such as ``initiator-address=ALL`` would open a target
for everybody: every value is checked here against what it may consist of.
"""

import contextlib
import enum
import ipaddress
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from multiattach.domain.connection import INITIATOR_NAME
from multiattach.drivers.errors import TargetError, TargetRequestInvalid

SHOW_ALL = -1
# A rule for addresses that lets nobody in; with no rule at all tgt-admin would let everybody in.
NOBODY_ADDRESS = '255.255.255.255'
DRIVER = b'iscsi'
MAX_PARAMETERS = 8 * 1024
MAX_VALUE = 1000
_REQUEST = struct.Struct('=II64sIiQQIIIIII')
_REPLY = struct.Struct('=II')
REPLY_HEADER_SIZE = _REPLY.size


class Mode(enum.IntEnum):
    SYSTEM = 0
    TARGET = 1
    DEVICE = 2
    PORTAL = 3
    DRIVER = 4
    SESSION = 5
    CONNECTION = 6
    ACCOUNT = 7


class Op(enum.IntEnum):
    NEW = 0
    DELETE = 1
    SHOW = 2
    BIND = 3
    UNBIND = 4
    UPDATE = 5
    STATISTICS = 6


class ErrorCode(enum.IntEnum):
    """tgtd's answer codes; UNLISTED stands for one that this driver does not know."""

    SUCCESS = 0
    UNKNOWN_ERROR = 1
    NO_MEMORY = 2
    NO_DRIVER = 3
    NO_TARGET = 4
    NO_LUN = 5
    NO_SESSION = 6
    NO_CONNECTION = 7
    NO_BINDING = 8
    TARGET_EXISTS = 9
    LUN_EXISTS = 10
    BINDING_EXISTS = 11
    ACL_EXISTS = 12
    NO_ACL = 13
    USER_EXISTS = 14
    NO_USER = 15
    TOO_MANY_USERS = 16
    INVALID_REQUEST = 17
    OUTGOING_ACCOUNT_EXISTS = 18
    TARGET_ACTIVE = 19
    LUN_ACTIVE = 20
    DRIVER_ACTIVE = 21
    UNSUPPORTED_OPERATION = 22
    UNKNOWN_PARAMETER = 23
    PREVENT_REMOVAL = 24
    UNLISTED = -1

    @classmethod
    def _missing_(cls, value: object) -> 'ErrorCode':
        return cls.UNLISTED


class TgtError(TargetError):
    """tgtd refused a request; *action* tells it in words, without secrets."""

    def __init__(self, code: ErrorCode, action: str) -> None:
        super().__init__(f'tgtd refused to {action}: {code.name.lower().replace("_", " ")}')
        self.code = code


@contextlib.contextmanager
def tolerate(*codes: ErrorCode) -> Iterator[None]:
    """Take some of tgtd's refusals as "already as wished"."""
    try:
        yield
    except TgtError as exc:
        if exc.code not in codes:
            raise


# Which characters a value may have. Whatever is not listed has MAX_VALUE printable characters
# without the comma, which would end it.
_ADDRESS = re.compile(r'[A-Fa-f0-9:./\[\]]+')
_PRINTABLE = re.compile(r'[^\x00-\x1f\x7f,]+')
_RULES = {
    'targetname': re.compile(r'[A-Za-z0-9:.-]{1,223}'),
    'initiator-name': INITIATOR_NAME,
    'initiator-address': re.compile(r'[A-Fa-f0-9:./\[\]]{1,64}|ALL'),
    'state': re.compile(r'ready|offline'),
    'user': re.compile(r'[A-Za-z0-9._-]{1,64}'),
    'password': re.compile(r'[!-+\--~]{1,64}'),
}


def looks_like_address(text: str) -> bool:
    """Return whether an entry of an ACL is a rule for addresses: ``ALL``, an address or a network.

    tgtd shows them among the names.
    """
    if text == 'ALL':
        return True
    if not _ADDRESS.fullmatch(text):
        return False
    try:
        ipaddress.ip_network(text.replace('[', '').replace(']', ''), strict=False)
    except ValueError:
        return False
    return True


def check_value(name: str, value: str) -> None:
    """Refuse a value that tgtd would read as something else.

    :raises TargetRequestInvalid: it has characters or a length that cannot be passed on; the message
        does not repeat it, as it may be a secret.
    """
    rule = _RULES.get(name, _PRINTABLE)
    foreign = name == 'initiator-name' and looks_like_address(value)
    if foreign or not rule.fullmatch(value) or len(value.encode()) > MAX_VALUE:
        raise TargetRequestInvalid(f'the {name.replace("-", " ")} has characters or a length that tgt cannot take')


@dataclass(frozen=True)
class Request:
    """One management request.

    :param action: the request in words for logs and errors; it must not have secrets.
    :param params: parameters in order; never shown.
    :param force: delete although in use.
    """

    action: str
    mode: Mode
    op: Op
    params: tuple[tuple[str, str], ...] = ()
    tid: int = SHOW_ALL
    lun: int = 0
    sid: int = 0
    cid: int = 0
    force: bool = False

    def __repr__(self) -> str:
        return f'<Request {self.action}>'

    def encode(self) -> bytes:
        """Return the bytes to send.

        :raises TargetRequestInvalid: a value cannot be passed on.
        """
        for name, value in self.params:
            check_value(name, value)
        text = b''
        if self.params:
            text = ','.join(f'{name}={value}' for name, value in self.params).encode() + b'\0'
        if len(text) > MAX_PARAMETERS:
            raise TargetRequestInvalid(f'the request to {self.action} is too long')
        header = _REQUEST.pack(
            self.mode,
            self.op,
            DRIVER,
            _REQUEST.size + len(text),
            self.tid,
            self.sid,
            self.lun,
            self.cid,
            0,
            0,
            0,
            0,
            int(self.force),
        )
        return header + text


def decode_reply_header(header: bytes) -> tuple[ErrorCode, int]:
    """Return tgtd's code, and how many bytes of text follow.

    :raises ValueError: the header makes no sense.
    """
    code, length = _REPLY.unpack(header)
    if length < _REPLY.size:
        raise ValueError("the reply's length is less than its header")
    return ErrorCode(code), length - _REPLY.size


def decode_reply_text(text: bytes) -> str:
    """Return the text of a reply without the NUL at its end."""
    return text.rstrip(b'\0').decode('utf-8', 'replace')
