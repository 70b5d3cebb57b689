# SPDX-License-Identifier: Apache-2.0
"""A login in two halves, PDU by PDU (RFC 7143): nobody's library stops after its secret was checked."""

import hashlib
import os
import socket
import struct

_SECURITY, _OPERATIONAL, _FULL = 0, 1, 3
_LOGIN, _LOGIN_REPLY, _COMMAND, _REPLY = 0x43, 0x23, 0x01, 0x21
BLOCK = 512


class Ended(Exception):
    """The connection is gone, or the target refused."""


class HalfOpen:
    """A login that is held after CHAP, until :meth:`complete`.

    :param source: address that it comes from.
    """

    def __init__(self, portal: str, iqn: str, initiator: str, user: str, secret: str,
                 source: str = '127.0.0.1') -> None:
        host, _, port = portal.rpartition(':')
        self._socket = socket.create_connection((host, int(port)), 5, source_address=(source, 0))
        self._isid = b'\x80' + os.urandom(5)
        self._sequence = 1
        keys = {'InitiatorName': initiator, 'TargetName': iqn, 'SessionType': 'Normal', 'AuthMethod': 'CHAP'}
        self._login(_SECURITY, _OPERATIONAL, keys, transit=False)
        found = self._login(_SECURITY, _OPERATIONAL, {'CHAP_A': '5'}, transit=False)
        challenge = bytes.fromhex(found['CHAP_C'].removeprefix('0x'))
        digest = hashlib.md5(bytes([int(found['CHAP_I'])]) + secret.encode() + challenge).hexdigest()
        self._login(_SECURITY, _OPERATIONAL, {'CHAP_N': user, 'CHAP_R': f'0x{digest}'}, transit=True)

    def complete(self) -> None:
        """Go on to the end of the login."""
        self._login(_OPERATIONAL, _FULL, {
            'HeaderDigest': 'None', 'DataDigest': 'None', 'ImmediateData': 'Yes', 'InitialR2T': 'Yes',
            'MaxRecvDataSegmentLength': '8192'}, transit=True)

    def go_on(self, text: bytes) -> None:
        """Complete the login, and write a block."""
        self.complete()
        self.write(0, text.ljust(BLOCK))

    def write(self, block: int, data: bytes) -> None:
        """Write blocks; repeated, as the first command of a session is answered with a unit attention."""
        command = struct.pack('>BBQIBB', 0x8A, 0, block, len(data) // BLOCK, 0, 0)
        for _ in range(3):
            header = struct.pack('>BB2xI8sIIII16s', _COMMAND, 0xA1, len(data), b'\0\1' + bytes(6), 9,
                                 len(data), self._sequence, 0, command)
            self._send(header, data)
            self._sequence += 1
            reply, _ = self._receive()
            if reply[0] & 0x3F == _REPLY and reply[3] == 0:
                return
        raise Ended(f'the write was answered with status {reply[3]}')

    def close(self) -> None:
        self._socket.close()

    def _login(self, stage: int, following: int, keys: dict[str, str], *, transit: bool) -> dict[str, str]:
        text = ''.join(f'{key}={value}\0' for key, value in keys.items()).encode()
        flags = transit << 7 | stage << 2 | (following if transit else 0)
        header = struct.pack('>BBBBI6sHIHHII16x', _LOGIN, flags, 0, 0, len(text), self._isid, 0, 7, 0, 0,
                             self._sequence, 0)
        self._send(header, text)
        reply, data = self._receive()
        if reply[0] & 0x3F != _LOGIN_REPLY or reply[36]:
            raise Ended(f'the login was answered with status {reply[36]:02x}{reply[37]:02x}')
        return dict(part.split('=', 1) for part in data.decode().split('\0') if '=' in part)

    def _send(self, header: bytes, data: bytes) -> None:
        assert len(header) == 48
        try:
            self._socket.sendall(header + data + bytes(-len(data) % 4))
        except OSError as exc:
            raise Ended(str(exc)) from exc

    def _receive(self) -> tuple[bytes, bytes]:
        header = self._read(48)
        length = int.from_bytes(header[5:8])
        return header, self._read(length + -length % 4)[:length]

    def _read(self, size: int) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            try:
                part = self._socket.recv(size - len(parts))
            except OSError as exc:
                raise Ended(str(exc)) from exc
            if not part:
                raise Ended('the target has closed the connection')
            parts += part
        return bytes(parts)
