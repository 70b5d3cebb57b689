# SPDX-License-Identifier: Apache-2.0
"""A login that may stop anywhere and go on later, by whoever it says it is.

libiscsi and open-iscsi log in as one step, and as themselves. What a fence has to hold against does not.
"""

import dataclasses
import enum
import hashlib
import os
import socket
from collections.abc import Callable, Mapping
from typing import Any

from tests.initiators import pdu
from tests.initiators.pdu import Message, Opcode

TIMEOUT = 10.0
_SECURITY, _OPERATIONAL, _FULL = 0, 1, 3
# by their numbers (IANA, iSCSI CHAP)
_DIGESTS = {'5': 'md5', '6': 'sha1', '7': 'sha256', '8': 'sha3_256'}
_OFFERS = {
    'HeaderDigest': 'None',
    'DataDigest': 'None',
    'ErrorRecoveryLevel': '0',
    'InitialR2T': 'No',
    'ImmediateData': 'Yes',
    'MaxBurstLength': '262144',
    'FirstBurstLength': '65536',
    'MaxOutstandingR2T': '1',
    'MaxRecvDataSegmentLength': '262144',
    'DefaultTime2Wait': '0',
    'DefaultTime2Retain': '0',
    'IFMarker': 'No',
    'OFMarker': 'No',
    'MaxConnections': '1',
    'DataPDUInOrder': 'Yes',
    'DataSequenceInOrder': 'Yes',
}
# What holds unless something else was agreed upon.
DEFAULTS = {
    'InitialR2T': 'Yes',
    'ImmediateData': 'Yes',
    'MaxBurstLength': '262144',
    'FirstBurstLength': '65536',
    'MaxRecvDataSegmentLength': '8192',
}


class LoginRefused(Exception):
    """The target said no.

    :param status: class and detail, as one number: 0x0201 is a failed authentication.
    """

    def __init__(self, status: int) -> None:
        super().__init__(f'login refused: {status:#06x}')
        self.status = status


class ConnectionEnded(ConnectionError):
    """The target closed the connection, or it broke."""


class Stage(enum.IntEnum):
    """How far a login has come."""

    NOTHING = 0
    #: the connection is there, nothing was said
    CONNECTED = 1
    #: names are told, and the target has said how it wants them proven
    GREETED = 2
    #: the target has sent its challenge
    CHALLENGED = 3
    #: the target has accepted the secret, and the stage of security is over
    PROVEN = 4
    #: parameters are agreed upon
    NEGOTIATED = 5
    #: commands may be sent
    FULL = 6


class Connection:
    """Sends and receives whole messages.

    :param portal: ``address:port``.
    :param source: address to come from, '' for any.
    :param timeout: how long to wait for an answer, seconds.
    """

    def __init__(self, portal: str, source: str = '', timeout: float = TIMEOUT) -> None:
        host, _, port = portal.rpartition(':')
        self.socket = socket.create_connection(
            (host.strip('[]'), int(port)), timeout, source_address=(source, 0) if source else None
        )
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._rest = bytearray()

    def send(self, data: bytes) -> None:
        """Send messages.

        :param data: encoded.
        :raises ConnectionEnded: the other end is gone.
        """
        try:
            self.socket.sendall(data)
        except OSError as exc:
            raise ConnectionEnded(f'{type(exc).__name__}: {exc}') from exc

    def receive(self, timeout: float | None = None) -> Message:
        """Wait for the next message.

        :param timeout: another time to wait, seconds.
        :raises ConnectionEnded: the other end is gone.
        :raises TimeoutError: nothing came.
        """
        self._fill(pdu.HEADER, timeout)
        length = pdu.measure(self._rest)
        self._fill(length, timeout)
        raw = bytes(self._rest[:length])
        del self._rest[:length]
        return pdu.decode(raw)

    def _fill(self, length: int, timeout: float | None) -> None:
        while len(self._rest) < length:
            previous = self.socket.gettimeout()
            if timeout is not None:
                self.socket.settimeout(timeout)
            try:
                chunk = self.socket.recv(262144)
            except TimeoutError:
                raise
            except OSError as exc:
                raise ConnectionEnded(f'{type(exc).__name__}: {exc}') from exc
            finally:
                if self.socket.fileno() >= 0:
                    self.socket.settimeout(previous)
            if not chunk:
                raise ConnectionEnded('the target closed the connection')
            self._rest += chunk

    def close(self) -> None:
        """Close it, without a word."""
        self.socket.close()


def make_isid() -> bytes:
    """Make an ISID of the random kind, as each session of one initiator name needs its own."""
    return bytes([0x80]) + os.urandom(5)


@dataclasses.dataclass(frozen=True)
class Claim:
    """Who an initiator says it is; nothing of it need be true.

    :param portal: ``address:port`` of the target.
    :param target: its name, '' for a discovery session.
    :param initiator: name of the initiator.
    :param user: CHAP name, '' for none.
    :param secret: CHAP secret.
    :param digests: what it offers for the CHAP answer, by number, the dearest first.
    :param alias: InitiatorAlias, any bytes, None for none.
    :param isid: six bytes: with another one it is another session of the same initiator.
    :param offers: keys to offer instead of the usual ones.
    :param source: address to come from, '' for any.
    :param timeout: how long to wait for an answer, seconds.
    :param tsih: two bytes: of the session, by its ISID, that gets another connection; zeros for a new one.
    :param cid: number of the connection.
    :param lun: number of the logical unit that it reads and writes.
    """

    portal: str
    target: str
    initiator: str
    user: str = ''
    secret: str = ''
    digests: tuple[str, ...] = ('5',)
    alias: bytes | None = None
    isid: bytes = dataclasses.field(default_factory=make_isid)
    offers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    source: str = ''
    timeout: float = TIMEOUT
    tsih: bytes = bytes(2)
    cid: int = 0
    lun: int = 1

    @classmethod
    def of(cls, info: Mapping[str, Any], initiator: str, **changes: object) -> 'Claim':
        """Make the claim that a connection_info is for.

        :param info: connection_info, or its ``data``.
        :param initiator: name of the initiator.
        :param changes: fields that shall be otherwise.
        """
        found = cls(
            info['target_portal'],
            info['target_iqn'],
            initiator,
            info.get('auth_username') or '',
            info.get('auth_password') or '',
            lun=int(info.get('target_lun', 1)),
        )
        return dataclasses.replace(found, **changes)  # type: ignore[arg-type]


class Login:
    """One login, stage by stage.

    :param claim: who it says it is.
    """

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.stage = Stage.NOTHING
        self.connection: Connection | None = None
        #: what was agreed upon
        self.agreed = dict(DEFAULTS)
        self.command_number = 1
        #: of the session, as soon as there is one
        self.tsih = bytes(2)
        #: of the target's next answer
        self.status_number = 0
        self._challenge: dict[str, str] = {}
        self._steps: dict[Stage, Callable[[], None]] = {
            Stage.CONNECTED: self._connect,
            Stage.GREETED: self._greet,
            Stage.CHALLENGED: self._ask,
            Stage.PROVEN: self._prove,
            Stage.NEGOTIATED: self._negotiate,
            Stage.FULL: self._enter,
        }

    def advance(self, stage: Stage) -> 'Login':
        """Go on to a stage, and stop there.

        :param stage: how far.
        :returns: itself.
        :raises LoginRefused: the target said no.
        :raises ConnectionEnded: the target closed the connection.
        :raises TimeoutError: it does not answer.
        """
        try:
            for each in Stage:
                if self.stage < each <= stage:
                    self._steps[each]()
                    self.stage = each
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """Hang up."""
        if self.connection is not None:
            self.connection.close()

    # -- stages --------------------------------------------------------------------------------

    def _connect(self) -> None:
        self.connection = Connection(self.claim.portal, self.claim.source, self.claim.timeout)

    def _greet(self) -> None:
        claim = self.claim
        keys: list[tuple[str, str | bytes]] = [('InitiatorName', claim.initiator)]
        if claim.alias is not None:
            keys.append(('InitiatorAlias', claim.alias))
        if claim.target:
            keys += [('TargetName', claim.target), ('SessionType', 'Normal')]
        else:
            keys.append(('SessionType', 'Discovery'))
        keys.append(('AuthMethod', 'CHAP' if claim.user else 'None'))
        answer = self._say(keys, _SECURITY, None if claim.user else _OPERATIONAL)
        if claim.user and answer.get('AuthMethod') != 'CHAP':
            raise ConnectionEnded(f'the target does not ask for a secret: {answer}')

    def _ask(self) -> None:
        if self.claim.user:
            self._challenge = self._say([('CHAP_A', ','.join(self.claim.digests))], _SECURITY)

    def _prove(self) -> None:
        if not self.claim.user:
            return
        number = int(self._challenge['CHAP_I'])
        challenge = bytes.fromhex(self._challenge['CHAP_C'].removeprefix('0x').removeprefix('0X'))
        digest = _DIGESTS[self._challenge['CHAP_A']]
        answer = hashlib.new(digest, bytes([number]) + self.claim.secret.encode() + challenge).hexdigest()
        self._say([('CHAP_N', self.claim.user), ('CHAP_R', f'0x{answer}')], _SECURITY, _OPERATIONAL)

    def _negotiate(self) -> None:
        offers = {**_OFFERS, **self.claim.offers}
        answers = self._say(list(offers.items()), _OPERATIONAL)
        self.agreed.update(answers)

    def _enter(self) -> None:
        self.agreed.update(self._say([], _OPERATIONAL, _FULL))

    def _say(self, keys: list[tuple[str, str | bytes]], stage: int, following: int | None = None) -> dict[str, str]:
        assert self.connection is not None
        flags = stage << 2 if following is None else pdu.FINAL | stage << 2 | following
        # Words: CID, CmdSN, ExpStatSN.
        self.connection.send(
            Message(
                Opcode.LOGIN | pdu.IMMEDIATE,
                flags,
                lun=self.claim.isid + self.claim.tsih,
                tag=0,
                words=(self.claim.cid << 16, self.command_number, self.status_number, 0, 0, 0, 0),
                data=pdu.encode_keys(keys),
            ).encode()
        )
        answer = self.connection.receive()
        if answer.opcode != Opcode.LOGIN_RESPONSE:
            raise ConnectionEnded(f'the answer to a login is a message of kind {answer.opcode:#x}')
        if status := answer.words[4] >> 16:
            raise LoginRefused(status)
        if following is not None and not answer.flags & pdu.FINAL:
            raise ConnectionEnded('the target does not want to go on to the next stage')
        self.status_number = answer.words[1] + 1 & 0xFFFFFFFF
        self.tsih = answer.lun[6:]
        return dict(pdu.decode_keys(answer.data))
