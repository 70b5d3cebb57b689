# SPDX-License-Identifier: Apache-2.0
"""A tgtd of one's own, as a child process."""

import errno
import fcntl
import os
import shutil
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

from oslo_log import log

from multiattach import listening
from multiattach.drivers.errors import DriverError, TargetError, TargetUnavailable
from multiattach.drivers.targets.tgt.daemon import DEFAULT_SOCKET_PREFIX, TgtDaemon, environment
from multiattach.drivers.targets.tgt.protocol import ErrorCode, TgtError, tolerate

LOG = log.getLogger(__name__)

_FIRST_PORT, _LAST_PORT = 100, 32767  # tgtd keeps the number in a short
_SEARCH_PATH = os.pathsep.join((os.environ.get('PATH', os.defpath), '/usr/sbin', '/sbin'))
_POLL = 0.02
# tgtd serves nobody while it waits for Ceph, for which librados has 300 s. Each image's client would look once a second
# whether it has something for the cluster's log, a third of what a tgtd with many images does by itself.
_CEPH_ARGS = '--client_mount_timeout=10 --mon_client_log_interval=5'
_LOOKS = 15


class PrivateTgtd:
    """A private tgtd that ends with this process.

    tgtd is started through ``setpriv --pdeathsig KILL``: the kernel kills it when its parent
    dies, also by ``kill -9``. The kernel's "parent" is the *thread* that started it, so
    :meth:`start` must be called from the main thread (prctl(2), PR_SET_PDEATHSIG); elsewhere
    tgtd would end with that thread.

    tgtd runs without its debug option, with which it writes secrets to its log.

    :param portal: ``address:port`` to listen at.
    :param threads: I/O threads per volume.
    :param control_port: number of the management socket, None to take a free one.
    :param socket_prefix: path of the management socket without its number.
    :param log_path: where tgtd's messages go, None for nowhere.
    :param start_timeout: how long it may take until it listens, seconds.
    :param stop_timeout: how long it may take to end by itself, seconds.
    """

    def __init__(
        self,
        *,
        portal: str,
        threads: int = 4,
        control_port: int | None = None,
        socket_prefix: str = DEFAULT_SOCKET_PREFIX,
        log_path: Path | None = None,
        start_timeout: float = 15.0,
        stop_timeout: float = 10.0,
    ) -> None:
        self.portal = portal
        self._threads = threads
        self._wanted_port = control_port
        self._socket_prefix = socket_prefix
        self._log_path = log_path
        self._start_timeout = start_timeout
        self._stop_timeout = stop_timeout
        self._child: subprocess.Popen[bytes] | None = None
        self._daemon: TgtDaemon | None = None

    @property
    def daemon(self) -> TgtDaemon:
        """A client of this tgtd; the same one over restarts, whatever number it gets."""
        if self._daemon is None:
            raise TargetUnavailable('the private tgtd was not started', delivered=False)
        return self._daemon

    @property
    def pid(self) -> int | None:
        """Process id, None when it does not run."""
        return self._child.pid if self._child is not None and self.alive() else None

    def alive(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def start(self) -> TgtDaemon:
        """Start tgtd and wait until it listens at the portal; again after it died.

        Call it from the main thread, see the class.
        """
        if self.alive():
            return self.daemon
        if threading.current_thread() is not threading.main_thread():
            LOG.warning('tgtd is started outside the main thread and will end with this thread')
        self._check_portal_free()
        last = self._daemon.control_port if self._daemon else self._wanted_port
        ports = [last] if self._wanted_port is not None and last is not None else None
        candidates = ports or [*([last] if last else []), *range(_FIRST_PORT, _LAST_PORT)]
        for port in candidates:
            if not self._is_free(port):
                continue
            if self._spawn(port):
                return self.daemon
        raise TargetUnavailable(
            f'no control port is free at {self._socket_prefix} for a private tgtd: another tgtd has it', delivered=False
        )

    def _check_portal_free(self) -> None:
        # When its portal cannot be bound, tgtd listens at 0.0.0.0:3260 instead, and stays up.
        address = listening.parse(self.portal)
        try:
            listening.probe(address)
        except OSError as exc:
            raise TargetUnavailable(
                f'tgtd cannot listen at {self.portal}: {listening.explain(exc, address.port)}', delivered=False
            ) from exc

    def _is_free(self, port: int) -> bool:
        """Try tgtd's own lock; tgtd takes it again itself and ends when it comes too late."""
        try:
            descriptor = os.open(f'{self._socket_prefix}.{port}.lock', os.O_WRONLY)
        except FileNotFoundError:
            return True
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1)
        except OSError as exc:
            if exc.errno in (errno.EACCES, errno.EAGAIN):
                return False
            raise
        finally:
            os.close(descriptor)
        return True

    def _spawn(self, port: int) -> bool:
        """Start tgtd with this number; False when another one got the number first."""
        Path(self._socket_prefix).parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        argv = [
            _find('setpriv', 'util-linux'),
            '--pdeathsig',
            'KILL',
            '--',
            _find('tgtd', 'tgt'),
            '-f',
            '-C',
            str(port),
            '-t',
            str(self._threads),
            '--iscsi',
            f'portal={self.portal}',
        ]
        output = open(self._log_path, 'ab') if self._log_path else None  # noqa: SIM115
        # Read-only: in tgtd's window without a device a write must fail, see module reopen.
        nothing = os.open(os.devnull, os.O_RDONLY)
        try:
            self._child = subprocess.Popen(
                argv,
                stdin=nothing,
                stdout=output or subprocess.DEVNULL,
                stderr=output or subprocess.DEVNULL,
                env={'CEPH_ARGS': _CEPH_ARGS, **environment(self._socket_prefix)},
                start_new_session=True,  # Ctrl-C is for us; we end tgtd in order
            )
        finally:
            os.close(nothing)
            if output:
                output.close()
        if self._daemon is None:
            self._daemon = TgtDaemon(port, socket_prefix=self._socket_prefix)
        # Whoever has the client goes on with it; its old number may be another tgtd's by now.
        self._daemon.owner = self._child.pid
        self._daemon.move(port)
        try:
            return self._wait_until_listening(self._child, self._daemon)
        except BaseException:
            self._kill()
            raise

    def _wait_until_listening(self, child: subprocess.Popen[bytes], daemon: TgtDaemon) -> bool:
        deadline = time.monotonic() + self._start_timeout
        while True:
            if child.poll() is not None:
                if child.returncode == 1 and not self._is_free(daemon.control_port):
                    return False
                raise TargetUnavailable(
                    f'tgtd ended at its start with status {child.returncode}'
                    + (f', see {self._log_path}' if self._log_path else ''),
                    delivered=False,
                )
            portals: list[str] = []
            with suppress(TargetUnavailable, TargetError):
                portals = daemon.show_portals() if daemon.pid == child.pid else []
            if self.portal in portals:
                LOG.info('tgtd runs: pid %s, control port %s, portal %s', child.pid, daemon.control_port, self.portal)
                return True
            if portals:
                raise TargetUnavailable(
                    f'tgtd listens at {", ".join(portals)} instead of {self.portal}', delivered=False
                )
            if time.monotonic() > deadline:
                raise TargetUnavailable(
                    f'tgtd does not listen at {self.portal} after {self._start_timeout:g} s', delivered=False
                )
            time.sleep(_POLL)

    def stop(self) -> None:
        """End tgtd: targets first, then itself, by force if need be; its files are removed."""
        if self._child is None or self._daemon is None:
            return
        if self.alive():
            try:
                self._end(self._child, self._daemon)
            except (DriverError, subprocess.TimeoutExpired) as exc:
                LOG.warning('tgtd does not end by itself (%s): killing it', exc)
        self._kill()
        self._remove_files(self._daemon)

    def _end(self, child: subprocess.Popen[bytes], daemon: TgtDaemon) -> None:
        deadline = time.monotonic() + self._stop_timeout
        for target in daemon.show_targets():
            for initiator in target.initiators:
                daemon.unbind_initiator(target.tid, initiator)
            for address in target.addresses:
                daemon.unbind_address(target.tid, address)
        while True:
            targets = list(daemon.show_targets())
            for target in targets:
                for nexus in daemon.show_connections(target.tid):
                    for connection in nexus.connections:
                        with tolerate(ErrorCode.NO_SESSION, ErrorCode.NO_CONNECTION):
                            daemon.close_connection(target.tid, nexus.sid, connection.cid)
                # Not by force: with sessions left it is tried again.
                with suppress(TgtError):
                    daemon.delete_target(target.tid)
            if not targets:
                break
            if time.monotonic() > deadline:
                raise TargetError(f'{len(targets)} targets are still in use')
            time.sleep(_POLL)
        daemon.shut_down()
        child.wait(max(deadline - time.monotonic(), 1.0))

    def kill(self) -> None:
        """End it at once; the next :meth:`start` starts another one."""
        self._kill()

    def _kill(self) -> None:
        if self._child is not None:
            if self._child.poll() is None:
                self._child.kill()
            self._child.wait()

    def _remove_files(self, daemon: TgtDaemon) -> None:
        # Only while nobody has the number: a tgtd that took it owns the files now. Whoever looks for a free
        # number holds the lock for a moment, too.
        for _ in range(_LOOKS):
            if self._is_free(daemon.control_port):
                for path in (daemon.socket_path, f'{daemon.socket_path}.lock'):
                    with suppress(FileNotFoundError):
                        Path(path).unlink()
                return
            time.sleep(_POLL)


def _find(program: str, package: str) -> str:
    path = shutil.which(program, path=_SEARCH_PATH)
    if path is None:
        raise TargetUnavailable(f'{program} is not installed; install the package {package}', delivered=False)
    return path
