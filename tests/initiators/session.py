# SPDX-License-Identifier: Apache-2.0
"""Commands of a session, many at once."""

import dataclasses
import itertools
import struct
import time
from types import TracebackType

from tests.initiators import pdu
from tests.initiators.pdu import Message, Opcode
from tests.initiators.wire import Claim, ConnectionEnded, Login, Stage

SECTOR = 512
GOOD, CHECK, BUSY, CONFLICT, FULL, ABORTED = 0x00, 0x02, 0x08, 0x18, 0x28, 0x40
UNIT_ATTENTION = 6
_READ, _WRITE, _SIMPLE = 0x40, 0x20, 0x01
_STATUS_HERE = 0x01  # of Data-In: no response follows
_LOGOUT = 60.0  # s at most for a target that is busy


@dataclasses.dataclass(frozen=True)
class Result:
    """How a command ended.

    :param tag: of the command.
    :param status: SCSI status.
    :param data: what was read.
    :param sense: sense data.
    """

    tag: int
    status: int
    data: bytes = b''
    sense: bytes = b''

    @property
    def key(self) -> int:
        """Sense key, 0 for none."""
        if len(self.sense) < 3:
            return 0
        return self.sense[1 if self.sense[0] & 0x7E == 0x72 else 2] & 0x0F

    @property
    def code(self) -> int:
        """Additional sense code and its qualifier, as one number."""
        at = 2 if self.sense and self.sense[0] & 0x7E == 0x72 else 12
        return int.from_bytes(self.sense[at : at + 2])

    def describe(self) -> str:
        """Say it for a message."""
        return f'status {self.status:#04x}, sense key {self.key:#x}, code {self.code:#06x}'


class CommandFailed(Exception):
    """A command did not end well.

    :param result: how it ended.
    """

    def __init__(self, result: Result) -> None:
        super().__init__(result.describe())
        self.result = result


@dataclasses.dataclass(slots=True)
class _Task:
    out: bytes
    data: bytearray


class Session:
    """A session in its full feature phase; for one thread at a time.

    Its login may have been held half-way before: it is finished here.

    :param login: a claim, or a login at any stage.
    :raises LoginRefused: the target said no.
    :raises ConnectionEnded: it closed the connection.
    """

    def __init__(self, login: Login | Claim) -> None:
        self.login = (login if isinstance(login, Login) else Login(login)).advance(Stage.FULL)
        assert self.login.connection is not None
        self._connection = self.login.connection
        self._lun = struct.pack('>BB6x', 0, self.login.claim.lun)
        agreed = self.login.agreed
        self._ready_first = agreed['InitialR2T'] == 'Yes'
        self._immediate = agreed['ImmediateData'] == 'Yes'
        self._first_burst = int(agreed['FirstBurstLength'])
        self._segment = int(agreed['MaxRecvDataSegmentLength'])
        self._command_number = self.login.command_number
        self._window = self._command_number
        self._status_number = self.login.status_number
        self._tags = itertools.count(1)
        self._tasks: dict[int, _Task] = {}
        self._waiting: list[Result] = []
        self._outgoing = bytearray()

    # -- many commands -------------------------------------------------------------------------

    @property
    def outstanding(self) -> int:
        """How many commands are without an answer."""
        return len(self._tasks)

    def submit(self, command: bytes, out: bytes = b'', wanted: int = 0) -> int:
        """Give a command; it goes out with the next :meth:`wait` or :meth:`flush`, at the latest.

        :param command: the CDB.
        :param out: data to write.
        :param wanted: how many bytes are to be read, at most.
        :returns: its tag.
        :raises ConnectionEnded: the target closed the connection.
        """
        self._await_window()
        tag = next(self._tags)
        self._tasks[tag] = _Task(out, bytearray())
        now = min(len(out), self._first_burst, self._segment) if self._immediate else 0
        unsolicited = 0 if self._ready_first else min(len(out), self._first_burst)
        more = unsolicited > now
        flags = (0 if more else pdu.FINAL) | (_READ if wanted else 0) | (_WRITE if out else 0) | _SIMPLE
        cdb = struct.unpack('>4I', command.ljust(16, b'\0'))
        self._outgoing += Message(
            Opcode.COMMAND,
            flags,
            lun=self._lun,
            tag=tag,
            words=(len(out) or wanted, self._command_number, self._status_number, *cdb),
            data=out[:now],
        ).encode()
        self._command_number = self._command_number + 1 & 0xFFFFFFFF
        if more:
            self._send_data(tag, pdu.NO_TAG, self._lun, out, now, unsolicited)
        return tag

    def flush(self) -> None:
        """Send what was given.

        :raises ConnectionEnded: the target closed the connection.
        """
        if self._outgoing:
            data = bytes(self._outgoing)
            self._outgoing.clear()
            self._connection.send(data)

    def wait(self, timeout: float | None = None) -> Result:
        """Wait for the end of any command.

        :param timeout: another time to wait than the claim's, seconds.
        :raises ConnectionEnded: the target closed the connection.
        :raises TimeoutError: no command ended.
        """
        limit = self.login.claim.timeout if timeout is None else timeout
        deadline = time.monotonic() + limit
        while not self._waiting:
            self._pump(max(deadline - time.monotonic(), 0.001))
        return self._waiting.pop(0)

    def run(self, command: bytes, out: bytes = b'', wanted: int = 0) -> bytes:
        """Carry out a command; answers of others that come meanwhile are kept for :meth:`wait`.

        :param command: the CDB.
        :param out: data to write.
        :param wanted: how many bytes are to be read, at most.
        :returns: what was read.
        :raises CommandFailed: it did not end well.
        :raises ConnectionEnded: the target closed the connection.
        """
        while True:
            tag = self.submit(command, out, wanted)
            deadline = time.monotonic() + self.login.claim.timeout
            while not (found := [each for each in self._waiting if each.tag == tag]):
                self._pump(max(deadline - time.monotonic(), 0.001))
            self._waiting.remove(found[0])
            if found[0].status == GOOD:
                return found[0].data
            # The first command of a session is answered with its news.
            if found[0].status != CHECK or found[0].key != UNIT_ATTENTION:
                raise CommandFailed(found[0])

    def poll(self, timeout: float = 0.001) -> None:
        """Answer what the target asks, for sessions that have nothing else to do.

        :param timeout: how long to wait for it, seconds.
        :raises ConnectionEnded: the target closed the connection.
        """
        try:
            self._pump(timeout)
        except TimeoutError:
            return

    # -- single commands -----------------------------------------------------------------------

    def write(self, sector: int, data: bytes) -> None:
        """WRITE(16).

        :param sector: the first one, of 512 bytes.
        :param data: whole sectors.
        :raises CommandFailed: it did not end well.
        """
        self.run(encode_write(sector, len(data) // SECTOR), out=data)

    def read(self, sector: int, count: int = 1) -> bytes:
        """READ(16).

        :param sector: the first one.
        :param count: how many.
        :raises CommandFailed: it did not end well.
        """
        return self.run(struct.pack('>BBQIBB', 0x88, 0, sector, count, 0, 0), wanted=count * SECTOR)

    def test_ready(self) -> None:
        """TEST UNIT READY.

        :raises CommandFailed: it is not.
        """
        self.run(bytes(6))

    def capacity(self) -> int:
        """READ CAPACITY(16), as bytes."""
        data = self.run(struct.pack('>BBQIBB', 0x9E, 0x10, 0, 32, 0, 0), wanted=32)
        last, size = struct.unpack_from('>QI', data)
        return int((last + 1) * size)

    def reserve(self, action: int, kind: int = 0, key: int = 0, service_key: int = 0) -> None:
        """PERSISTENT RESERVE OUT.

        :param action: 0 register, 1 reserve, 2 release, 3 clear, 4 preempt, 5 preempt and abort,
            6 register and ignore the existing key.
        :param kind: of the reservation: 1 write exclusive, 5 write exclusive for registrants only.
        :param key: the one that is registered.
        :param service_key: the new one, or the one that is preempted.
        :raises CommandFailed: it did not end well.
        """
        out = struct.pack('>QQ8x', key, service_key)
        self.run(struct.pack('>BBB2xIB', 0x5F, action, kind, len(out), 0), out=out)

    def list_keys(self) -> list[int]:
        """PERSISTENT RESERVE IN: the keys that are registered."""
        data = self.run(struct.pack('>BB5xHB', 0x5E, 0, 4096, 0), wanted=4096)
        count = int.from_bytes(data[4:8]) // 8
        return list(struct.unpack_from(f'>{count}Q', data, 8))

    def holder(self) -> int | None:
        """PERSISTENT RESERVE IN: the key that holds the reservation, None for none."""
        data = self.run(struct.pack('>BB5xHB', 0x5E, 1, 4096, 0), wanted=4096)
        return int.from_bytes(data[8:16]) if int.from_bytes(data[4:8]) else None

    def list_targets(self) -> list[str]:
        """Ask a discovery session for the names of all targets that it may see."""
        tag = next(self._tags)
        self._tasks[tag] = _Task(b'', bytearray())
        self._outgoing += Message(
            Opcode.TEXT,
            tag=tag,
            data=pdu.encode_keys([('SendTargets', 'All')]),
            words=(pdu.NO_TAG, self._command_number, self._status_number, 0, 0, 0, 0),
        ).encode()
        self._command_number += 1
        return [value for key, value in pdu.decode_keys(self.wait().data) if key == 'TargetName']

    # -- the end -------------------------------------------------------------------------------

    def close(self) -> None:
        """Log out as one does, or hang up where the target does not answer."""
        try:
            tag = next(self._tags)
            self._tasks[tag] = _Task(b'', bytearray())
            self._outgoing += Message(
                Opcode.LOGOUT | pdu.IMMEDIATE, tag=tag, words=(0, self._command_number, self._status_number, 0, 0, 0, 0)
            ).encode()
            deadline = time.monotonic() + min(self.login.claim.timeout, _LOGOUT)
            while tag in self._tasks:
                self._pump(max(deadline - time.monotonic(), 0.001))
        except (ConnectionEnded, TimeoutError):
            pass
        finally:
            self.hang_up()

    def hang_up(self) -> None:
        """Close the connection without a word, as a host that loses its power does."""
        self._connection.close()

    def __enter__(self) -> 'Session':
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- messages ------------------------------------------------------------------------------

    def _await_window(self) -> None:
        """Wait until the target takes another command; of a new session it is known to take one."""
        deadline = time.monotonic() + self.login.claim.timeout
        while 0 < (self._command_number - self._window & 0xFFFFFFFF) < 0x80000000:
            self._pump(max(deadline - time.monotonic(), 0.001))

    def _send_data(self, tag: int, answers: int, lun: bytes, out: bytes, start: int, end: int) -> None:
        for number, at in enumerate(range(start, end, self._segment)):
            upto = min(at + self._segment, end)
            self._outgoing += Message(
                Opcode.DATA_OUT,
                pdu.FINAL if upto == end else 0,
                lun=lun,
                tag=tag,
                words=(answers, 0, self._status_number, 0, number, at, 0),
                data=out[at:upto],
            ).encode()

    def _pump(self, timeout: float) -> None:
        """Send what is to be sent, and take in one message."""
        self.flush()
        message = self._connection.receive(timeout)
        kind, words = message.opcode & 0x3F, message.words
        carries = kind != Opcode.DATA_IN or message.flags & _STATUS_HERE
        if carries and kind != Opcode.READY and not (kind == Opcode.NOP_IN and message.tag == pdu.NO_TAG):
            self._status_number = words[1] + 1 & 0xFFFFFFFF
        if (words[3] - self._window & 0xFFFFFFFF) < 0x80000000:
            self._window = words[3]
        self._take(Opcode(kind), message)
        self.flush()

    def _take(self, kind: Opcode, message: Message) -> None:
        words = message.words
        if kind is Opcode.NOP_IN:
            self._answer(message)
        elif kind is Opcode.READY:
            task = self._tasks[message.tag]
            self._send_data(message.tag, words[0], message.lun, task.out, words[5], words[5] + words[6])
        elif kind is Opcode.DATA_IN:
            self._tasks[message.tag].data[words[5] :] = message.data
            if message.flags & _STATUS_HERE:
                self._end(message.tag, message.fourth)
        elif kind is Opcode.RESPONSE:
            length = int.from_bytes(message.data[:2])
            # "Response" tells whether the target got so far as to have a status.
            status = message.fourth if message.third == 0 else ABORTED
            self._end(message.tag, status, message.data[2 : 2 + length])
        elif kind is Opcode.TEXT_RESPONSE:
            self._tasks[message.tag].data += message.data
            self._end(message.tag, GOOD)
        elif kind is Opcode.LOGOUT_RESPONSE:
            self._tasks.pop(message.tag, None)
        elif kind is Opcode.REJECT:
            raise ConnectionEnded(f'the target rejects a message: reason {message.third:#x}')

    def _answer(self, message: Message) -> None:
        if message.words[0] != pdu.NO_TAG:
            self._outgoing += Message(
                Opcode.NOP_OUT | pdu.IMMEDIATE,
                lun=message.lun,
                data=message.data,
                words=(message.words[0], self._command_number, self._status_number, 0, 0, 0, 0),
            ).encode()

    def _end(self, tag: int, status: int, sense: bytes = b'') -> None:
        task = self._tasks.pop(tag, None)
        if task is not None:
            self._waiting.append(Result(tag, status, bytes(task.data), sense))


def encode_write(sector: int, count: int) -> bytes:
    """Make the CDB of a WRITE(16).

    :param sector: the first one.
    :param count: how many.
    """
    return struct.pack('>BBQIBB', 0x8A, 0, sector, count, 0, 0)
