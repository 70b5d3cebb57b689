# SPDX-License-Identifier: Apache-2.0
"""A client of tgtd's management socket.

It speaks to the socket itself instead of starting tgtadm: that is faster, and no password
stands in a command line that others can read.
"""

import collections
import contextlib
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from oslo_log import log

from multiattach.drivers.errors import TargetError, TargetUnavailable
from multiattach.drivers.targets.exclusion import Exclusion
from multiattach.drivers.targets.tgt import parse, protocol
from multiattach.drivers.targets.tgt.ledger import Ledger, Turn, View
from multiattach.drivers.targets.tgt.protocol import ErrorCode, Mode, Op, Request, TgtError, tolerate
from multiattach.drivers.targets.tgt.roster import Roster
from multiattach.drivers.targets.tgt.store import Store

LOG = log.getLogger(__name__)

DEFAULT_SOCKET_PREFIX = '/var/run/tgtd/socket'
DEFAULT_TIMEOUT = 30.0
_CREDENTIALS = struct.Struct('=iII')
# tgtd lets 32 connections wait; with fewer of ours there is room for other tools.
_MAX_PARALLEL = 8
_HARMLESS = Request('list the portals', Mode.PORTAL, Op.SHOW).encode()
_IN_SERVICE = 'System:\n    State: ready\n'
_BUSY_PAUSE = 0.002
# Reads of a list in which initiators imitate targets; each ends the sessions that may do so.
_READS = 20
_READS_OPEN, _READS_PAUSE = 3, 0.02
_READS_STALE = 10  # so often a target may be removed between a list and the question whether it is there
_PID_BITS = 22  # the most that Linux has
_FIRST = 0  # of a pinned thread: whoever answers first


class TgtDaemon:
    """One tgtd, seen through its management socket. Safe for use by several threads.

    :param control_port: the number that tgtd was given with ``-C``.
    :param socket_prefix: path of the socket without ``.<control_port>``.
    :param timeout: how long one request may take, seconds.
    """

    def __init__(
        self, control_port: int, *, socket_prefix: str = DEFAULT_SOCKET_PREFIX, timeout: float = DEFAULT_TIMEOUT
    ) -> None:
        self._prefix = socket_prefix
        #: process id of the one tgtd to speak to, None for whichever answers
        self.owner: int | None = None
        self.move(control_port)
        self._timeout = timeout
        self._pin = threading.local()  # of a thread: the process it speaks to, and until when
        self._slots = threading.BoundedSemaphore(_MAX_PARALLEL)
        self._roster = Roster()
        self._exclusion = Exclusion()
        self._ledger = Ledger()
        self._turns = threading.local()  # of a thread: by name, the targets that it changes
        self._shut_lock = threading.Lock()
        self._shut: collections.Counter[int] = collections.Counter()

    def move(self, control_port: int) -> None:
        """Speak to a tgtd with another number from now on."""
        self.control_port = control_port
        self.socket_path = f'{self._prefix}.{control_port}'

    @property
    def pid(self) -> int:
        """Process id of the tgtd that answers at the socket."""
        deadline = self._find_deadline()
        with self._turn(deadline), self._connect(deadline) as connection:
            self._check_owner(connection, deadline)
            pid = _peer_pid(connection)
            _dismiss(connection, deadline)
            return pid

    @property
    def generation(self) -> int:
        """A number that changes when another tgtd process answers."""
        return _generation(self.pid)

    @contextmanager
    def pinned(self) -> Iterator[None]:
        """Speak to one tgtd process while the block lasts, in this thread: the one that answers first in it.

        Target numbers read from one tgtd mean other targets to the next.

        :raises TargetUnavailable: in the block: none answers, or another one does.
        """
        before = getattr(self._pin, 'pid', None)
        self._pin.pid = before or _FIRST
        if not before:
            self._pin.generation = None
        try:
            yield
        finally:
            self._pin.pid = before

    @contextmanager
    def changing(self, iqn: str) -> Iterator[None]:
        """Be :meth:`pinned`, and the only one on this host who changes a target, in this thread.

        How the block leaves the target is remembered, unless it fails.

        :raises TargetUnavailable: somebody else changed it all the time.
        """
        turns: dict[str, Turn] = self._turns.__dict__
        if iqn in turns:
            yield
            return
        with self.pinned(), self._exclusion.hold(self.socket_path, iqn, self._find_deadline()) as mark:
            turn = turns[iqn] = self._ledger.begin(iqn, mark)
            try:
                yield
                self._ledger.end(turn, self.pinned_generation)
            finally:
                del turns[iqn]

    def look(self, iqn: str) -> View:
        """Look at a target, in a block in which it is changed; what is remembered of it is enough if it still holds."""
        turn: Turn = self._turns.__dict__[iqn]
        if turn.view is None:
            known = turn.entry
            if known is not None and not (self._has(known.target) and self.pinned_generation == known.generation):
                known = None
            if known is not None and self._was_restored(known.target.tid):
                known = None
            turn.view = View(self, self._ledger, turn, known.target if known is not None else None)
        return turn.view

    def _has(self, target: parse.ShownTarget) -> bool:
        """See that tgtd has a target of this number, with these units."""
        units = [number for number in target.luns if number]
        return all(self.has_unit(target.tid, number) for number in units) if units else self.has_target(target.tid)

    def _was_restored(self, tid: int) -> bool:
        """See whether tgt-admin has made a target again, under the number that it had; once for each time.

        Its accounts are bound in the order of the target's file, and are no newer than before. The rule that nobody
        meets is in each such file, and at no target that was made here.
        """
        try:
            self.unbind_address(tid, protocol.NOBODY_ADDRESS)
        except TgtError as exc:
            if exc.code not in (ErrorCode.NO_ACL, ErrorCode.NO_TARGET):
                raise
            return exc.code is ErrorCode.NO_TARGET
        return True

    def may_have(self, iqn: str) -> bool:
        """Tell whether a target of this name was there when tgtd was asked last, also another tgtd."""
        return self._roster.has_name(iqn)

    @property
    def pinned_generation(self) -> int:
        """The :attr:`generation` of the process that has answered in a pinned block."""
        pid = self._pin.pid
        known: tuple[int, int] | None = getattr(self._pin, 'generation', None)
        if known is None or known[0] != pid:
            known = self._pin.generation = pid, _generation(pid)
        return known[1]

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Wait no longer than that for all that this thread asks while the block lasts."""
        before = getattr(self._pin, 'until', None)
        self._pin.until = min(time.monotonic() + seconds, before or float('inf'))
        try:
            yield
        finally:
            self._pin.until = before

    def _find_deadline(self) -> float:
        usual = time.monotonic() + self._timeout
        return min(usual, getattr(self._pin, 'until', None) or usual)

    @contextmanager
    def _turn(self, deadline: float) -> Iterator[None]:
        """Be one of the few who ask tgtd at once.

        :raises TargetUnavailable: the others have no answers in time.
        """
        if not self._slots.acquire(timeout=max(deadline - time.monotonic(), 0.0)):
            raise TargetUnavailable(
                f'tgtd at {self.socket_path} leaves {_MAX_PARALLEL} earlier requests without an answer; it hangs',
                delivered=False,
            )
        try:
            yield
        finally:
            self._slots.release()

    def _check_pin(self, connection: socket.socket, deadline: float) -> None:
        pid = getattr(self._pin, 'pid', None)
        if pid == _FIRST:
            self._pin.pid = _peer_pid(connection)
        elif pid is not None and pid != _peer_pid(connection):
            _dismiss(connection, deadline)
            raise TargetUnavailable(
                f'tgtd at {self.socket_path} restarted in the middle of a change; repeat it', delivered=False
            )

    def _check_owner(self, connection: socket.socket, deadline: float) -> None:
        if self.owner is not None and self.owner != _peer_pid(connection):
            _dismiss(connection, deadline)
            raise TargetUnavailable(
                f'another tgtd has taken the number {self.control_port} of one that died', delivered=False
            )

    def call(self, request: Request) -> str:
        """Send one request; return the text of the reply.

        :raises TgtError: tgtd refused it.
        :raises TargetUnavailable: tgtd did not answer; unless ``delivered`` is False it may
            nevertheless have done it.
        """
        return self._exchange(request)[0]

    def _exchange(self, request: Request) -> tuple[str, int]:
        """Do the same; the answer comes with the process id of the tgtd that gave it."""
        message = request.encode()
        deadline = self._find_deadline()
        with self._turn(deadline), self._connect(deadline) as connection:
            self._check_owner(connection, deadline)
            self._check_pin(connection, deadline)
            pid = _peer_pid(connection)
            try:
                connection.settimeout(max(deadline - time.monotonic(), 0.001))
                connection.sendall(message)
                header = _receive(connection, protocol.REPLY_HEADER_SIZE, deadline)
                code, length = protocol.decode_reply_header(header)
                text = _receive(connection, length, deadline)
            except (OSError, EOFError, ValueError) as exc:
                raise TargetUnavailable(
                    f'tgtd at {self.socket_path} did not answer the request to '
                    f'{request.action} ({type(exc).__name__}: {exc}); it died, hangs, or '
                    'runs as another user than this process'
                ) from exc
        if code is not ErrorCode.SUCCESS:
            LOG.debug('tgtd %s: %s: %s', self.control_port, request.action, code.name)
            raise TgtError(code, request.action)
        if request.op not in (Op.SHOW, Op.STATISTICS):
            LOG.debug('tgtd %s: %s: done', self.control_port, request.action)
        return protocol.decode_reply_text(text), pid

    def _connect(self, deadline: float) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        connection.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            while True:
                try:
                    connection.connect(self.socket_path)
                    return connection
                except BlockingIOError:  # the queue of waiting connections is full
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(_BUSY_PAUSE)
        except OSError as exc:
            connection.close()
            raise TargetUnavailable(
                f'no tgtd answers at {self.socket_path} ({exc.strerror or exc}); start it, '
                'or set the control port to the one that it was given with -C',
                delivered=False,
            ) from exc

    # Reading ----------------------------------------------------------------------------

    def show_targets(self) -> parse.Listing:
        with contextlib.ExitStack() as held:
            shut: set[int] = set()
            for number in range(_READS):
                absent = self._roster.list_absent()
                which, known = self._ledger.begin_list()
                text, pid = self._exchange(Request('list the targets', Mode.TARGET, Op.SHOW))
                heads, doubted, stale = self._roster.resolve(text, pid, self.has_target, absent)
                if stale and number < _READS_STALE:
                    continue
                doubted |= stale
                if not doubted:
                    listing = parse.Listing(text, heads)
                    self._ledger.compare(listing, _generation(pid), which, known)
                    return listing
                if number >= _READS_OPEN:  # whoever it is comes back faster than it is ended
                    for tid in sorted(doubted - shut):
                        with tolerate(ErrorCode.NO_TARGET):
                            held.enter_context(self.shut(tid))
                    shut |= doubted
                    time.sleep(_READS_PAUSE)
                self._expel(doubted)
        raise TargetError(
            f'initiators that are logged in at targets {", ".join(map(str, sorted(doubted)))} imitate other '
            "targets in tgtd's list by their aliases, again and again: fence them"
        )

    def _expel(self, tids: set[int]) -> None:
        """End the sessions of targets, of which some may have an alias that imitates another target."""
        for tid in sorted(tids):
            with tolerate(ErrorCode.NO_TARGET):
                for nexus in self.show_connections(tid):
                    LOG.warning(
                        'Target %s: the session of %s from %s is ended: its alias may imitate a target',
                        tid,
                        nexus.initiator,
                        ', '.join(one.address for one in nexus.connections),
                    )
                    for connection in nexus.connections:
                        with tolerate(ErrorCode.NO_SESSION, ErrorCode.NO_CONNECTION):
                            self.close_connection(tid, nexus.sid, connection.cid)

    @contextmanager
    def shut(self, tid: int) -> Iterator[None]:
        """Let nobody log in to a target while the block lasts; with the last such block here it opens."""
        with self._shut_lock:
            self._shut[tid] += 1
        try:
            self.set_open(tid, False)
            yield
        finally:
            with self._shut_lock:
                self._shut[tid] -= 1
                if not self._shut[tid]:
                    del self._shut[tid]
                    with tolerate(ErrorCode.NO_TARGET):
                        self.set_open(tid, True)

    def find_number(self, iqn: str) -> int | None:
        """Return the number of a target without asking for the list, in a pinned block; None if that does not tell."""
        tid = self._roster.find(self._pin.pid, iqn)
        return tid if tid is not None and self.has_target(tid) else None

    def has_target(self, tid: int) -> bool:
        try:
            self.show_connections(tid)
        except TgtError as exc:
            if exc.code is ErrorCode.NO_TARGET:
                return False
            raise
        return True

    def has_unit(self, tid: int, lun: int) -> bool:
        request = Request(f'ask for LUN {lun} of target {tid}', Mode.DEVICE, Op.STATISTICS, tid=tid, lun=lun)
        try:
            self.call(request)
        except TgtError as exc:
            if exc.code in (ErrorCode.NO_TARGET, ErrorCode.NO_LUN):
                return False
            raise
        return True

    def show_connections(self, tid: int) -> list[parse.Nexus]:
        """Read the live sessions of one target, also those that end just now; names are those of the ACL."""
        request = Request(f'list the connections of target {tid}', Mode.CONNECTION, Op.SHOW, tid=tid)
        return parse.parse_connections(self.call(request))

    def list_busy(self) -> list[int]:
        """List the targets at which somebody is logged in; there is no foreign text in what tgtd says of it."""
        return parse.parse_busy(self.call(Request('count the commands of all sessions', Mode.SYSTEM, Op.STATISTICS)))

    def show_portals(self) -> list[str]:
        """Return where tgtd listens, ``address:port`` of each portal."""
        text = self.call(Request('list the portals', Mode.PORTAL, Op.SHOW))
        return parse.parse_portals(text)

    def show_accounts(self) -> list[str]:
        text = self.call(Request('list the accounts', Mode.ACCOUNT, Op.SHOW))
        return parse.parse_accounts(text)

    def check_ready(self) -> None:
        """See that tgtd is in service: it is not while targets are restored, or taken away at its end."""
        text = self.call(Request('show the system', Mode.SYSTEM, Op.SHOW))
        if _IN_SERVICE not in text:
            raise TargetUnavailable(
                f'tgtd at {self.socket_path} is not in service (its system state is not ready): it is '
                'starting or ending, and its targets may change',
                delivered=False,
            )

    # Targets and logical units ----------------------------------------------------------

    def new_target(self, tid: int, iqn: str) -> None:
        """Make an empty target that admits nobody."""
        params = (('targetname', iqn),)
        self._change(Request(f'make target {tid} {iqn}', Mode.TARGET, Op.NEW, params, tid=tid), iqn)

    def delete_target(self, tid: int, *, force: bool = False) -> None:
        """Delete a target."""
        self._change(Request(f'delete target {tid}', Mode.TARGET, Op.DELETE, tid=tid, force=force), None)

    def _change(self, request: Request, iqn: str | None) -> None:
        """Make or delete a target, and know from now on which number is whose."""
        _, pid = self._exchange(request)
        self._roster.put(pid, request.tid, iqn)

    def set_open(self, tid: int, is_open: bool) -> None:
        """Have a target take logins and commands, or not.

        While it does not, tgtd refuses logins, and drops commands of live sessions without an answer.
        """
        state = 'ready' if is_open else 'offline'
        request = Request(f'set target {tid} {state}', Mode.TARGET, Op.UPDATE, (('state', state),), tid=tid)
        self.call(request)

    def new_lun(self, tid: int, lun: int, store: Store) -> None:
        options = (('bsopts', store.options),) if store.options else ()
        params = (('path', store.path), ('bstype', store.kind), *options)
        action = f'add {store.path} to target {tid} as LUN {lun}'
        self.call(Request(action, Mode.DEVICE, Op.NEW, params, tid=tid, lun=lun))

    def show_stores(self) -> list[str]:
        """Return the kinds of backing stores that tgtd has."""
        return parse.parse_stores(self.call(Request('show the system', Mode.SYSTEM, Op.SHOW)))

    def update_lun(self, tid: int, lun: int, params: tuple[tuple[str, str], ...]) -> None:
        """Change a logical unit; all changes happen at once, in order."""
        action = f'update LUN {lun} of target {tid} ({", ".join(dict(params))})'
        self.call(Request(action, Mode.DEVICE, Op.UPDATE, params, tid=tid, lun=lun))

    # Who may log in ---------------------------------------------------------------------

    def bind_initiator(self, tid: int, initiator: str) -> None:
        params = (('initiator-name', initiator),)
        action = f'admit initiator {initiator} to target {tid}'
        self.call(Request(action, Mode.TARGET, Op.BIND, params, tid=tid))

    def unbind_initiator(self, tid: int, initiator: str) -> None:
        """Let an initiator log in no more; its live sessions stay."""
        params = (('initiator-name', initiator),)
        action = f'shut initiator {initiator} out of target {tid}'
        self.call(Request(action, Mode.TARGET, Op.UNBIND, params, tid=tid))

    def unbind_address(self, tid: int, address: str) -> None:
        """Take an address rule, as it is shown, away."""
        params = (('initiator-address', address),)
        action = f'shut address {address} out of target {tid}'
        self.call(Request(action, Mode.TARGET, Op.UNBIND, params, tid=tid))

    def new_account(self, user: str, secret: str) -> None:
        params = (('user', user), ('password', secret))
        if getattr(self._pin, 'pid', None):  # in a step: others are not to take it for a stranger's
            self._ledger.expect(user, self.pinned_generation)
        self.call(Request(f'make account {user}', Mode.ACCOUNT, Op.NEW, params))

    def delete_account(self, user: str) -> None:
        """Delete a CHAP account; targets lose it."""
        params = (('user', user),)
        self.call(Request(f'delete account {user}', Mode.ACCOUNT, Op.DELETE, params))
        self._ledger.forget(user)

    def bind_account(self, tid: int, user: str) -> None:
        action = f'bind account {user} to target {tid}'
        self.call(Request(action, Mode.ACCOUNT, Op.BIND, (('user', user),), tid=tid))

    def unbind_account(self, tid: int, user: str) -> None:
        """Accept a CHAP account no more.

        Only ever for the last account of a target: see :mod:`multiattach.drivers.targets.tgt.accounts`.
        """
        action = f'unbind account {user} from target {tid}'
        self.call(Request(action, Mode.ACCOUNT, Op.UNBIND, (('user', user),), tid=tid))

    def close_connection(self, tid: int, sid: int, cid: int) -> None:
        """Ask tgtd to drop a connection; it is gone a moment later."""
        action = f'close connection {cid} of session {sid} at target {tid}'
        self.call(Request(action, Mode.CONNECTION, Op.DELETE, tid=tid, sid=sid, cid=cid))

    def shut_down(self) -> None:
        """Ask tgtd to end; it refuses while it has targets."""
        self.call(Request('shut tgtd down', Mode.SYSTEM, Op.DELETE))


def _receive(connection: socket.socket, length: int, deadline: float) -> bytes:
    parts = bytearray()
    while len(parts) < length:
        connection.settimeout(max(deadline - time.monotonic(), 0.001))
        part = connection.recv(min(length - len(parts), 1 << 20))
        if not part:
            raise EOFError('the connection was closed')
        parts += part
    return bytes(parts)


def _dismiss(connection: socket.socket, deadline: float) -> None:
    """Ask for something harmless before closing a connection.

    tgtd may take the end of a connection on which no request came for "not yet", never close it, and turn in
    circles for good: it looks at errno, which is another connection's EAGAIN (usr/mgmt.c).
    """
    with contextlib.suppress(OSError, EOFError, ValueError):
        connection.settimeout(max(deadline - time.monotonic(), 0.001))
        connection.sendall(_HARMLESS)
        _, length = protocol.decode_reply_header(_receive(connection, protocol.REPLY_HEADER_SIZE, deadline))
        _receive(connection, length, deadline)


def _peer_pid(connection: socket.socket) -> int:
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid: int = _CREDENTIALS.unpack(data)[0]
    return pid


def _generation(pid: int) -> int:
    return _start_time(pid) << _PID_BITS | pid


def _start_time(pid: int) -> int:
    # Field 22 of proc(5) stat, clock ticks since boot: tells a reused pid from the old one. That of the first thread:
    # for the process the kernel adds up what all threads have used, of which a tgtd with images of Ceph has thousands.
    try:
        stat = Path(f'/proc/{pid}/task/{pid}/stat').read_text(encoding='utf-8', errors='replace')
        return int(stat.rpartition(')')[2].split()[19])
    except (OSError, IndexError, ValueError):
        return 0


def environment(socket_prefix: str) -> dict[str, str]:
    """Return this process's environment with the place of tgtd's socket, for tgtd and its tools."""
    return {**os.environ, 'TGT_IPC_SOCKET': socket_prefix}
