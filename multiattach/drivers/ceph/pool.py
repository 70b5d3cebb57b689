# SPDX-License-Identifier: Apache-2.0
"""One pool of a Ceph cluster: a connection that is made when it is needed, and what goes wrong in words."""

import contextlib
import dataclasses
import datetime
import errno
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from threading import local
from typing import Any, Protocol, TypeVar

from multiattach import concurrency
from multiattach.domain.blocklist import Reason
from multiattach.drivers.ceph.addresses import find_host
from multiattach.drivers.ceph.calls import Calls, Progress
from multiattach.drivers.errors import DriverError, StorageError, StorageUnavailable

# What the service's own user may do at the monitors. Users whose names begin otherwise are out of its reach.
PREFIX = 'client.multiattach-'
_VERBS = ('get-or-create', 'add', 'get', 'caps', 'rm')
MONITORS = ', '.join(
    (
        'profile rbd',
        *(f'allow command "auth {verb}" with entity prefix {PREFIX}' for verb in _VERBS),
        *(f'allow command "{command}"' for command in ('auth ls', 'osd blocklist', 'sessions')),
    )
)
threading: Any = concurrency.native('threading')  # calls run in real threads
R = TypeVar('R')
_OWN: set[tuple[str | None, int]] = set()  # clusters and numbers of the clients that this process is

# Each of them bounds one request to a monitor, to an OSD, or the first ones of a connection. None is without a limit.
_LIMITS = ('rados_mon_op_timeout', 'rados_osd_op_timeout', 'client_mount_timeout')
# Of an OSD that died and came back librados hears when it asks, which it does for requests that are late: that has to
# be before they are given up. Its own values, s, and how large a part of the limit at most.
_LOOKS = (('objecter_timeout', 10.0, 0.4), ('objecter_tick_interval', 5.0, 0.2))
_REQUESTS = 6  # that a call of several may wait for in vain, one after the other
_WATCH = 30  # s that a client which died counts as one; who changes an image waits for its answer
_AT_ONCE = 32  # requests in threads of their own
_FULL = (errno.ENOSPC, errno.EDQUOT)
_DENIED = (errno.EPERM, errno.EACCES)
_UNKNOWN = (errno.ETIMEDOUT, errno.ENOTCONN, errno.ESHUTDOWN, errno.EAGAIN, errno.EINTR)
# After these a new connection may do better: with a new key, new capabilities, or a new address.
_RECONNECT = (*_DENIED, errno.ENOTCONN, errno.ESHUTDOWN)


class Book(Protocol):
    """Where entries of the blocklist are written down before they are made: the database has it."""

    def intend(self, fsid: str, reasons: Mapping[str, Reason]) -> None:
        """Write the intent to make entries, by address."""

    def confirm(self, fsid: str, found: Mapping[str, datetime.datetime]) -> None:
        """Write until when Ceph has entries, in UTC without zone."""

    def forget(self, fsid: str, address: str) -> None:
        """Write that an entry is removed, unless it is to be made anew by now."""


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Where a pool is, and as whom it is used.

    :param conf: path of Ceph's configuration file.
    :param user: cephx user without ``client.``.
    :param name: name of the cluster.
    """

    conf: str
    user: str
    name: str
    pool: str

    def describe_missing(self, command: str) -> str:
        """Say which capability the user lacks for a command at the monitors, and what grants it."""
        return (
            f'client.{self.user} has no capability for "{command}" at the monitors of Ceph. Grant it with: ceph auth '
            f"caps client.{self.user} mon '{MONITORS}' osd 'profile rbd pool={self.pool}'"
        )


class Pool:
    """A pool; all that is asked of it is bounded in time. Safe for several threads, green or not.

    :param libraries: the modules rados and rbd.
    :param timeout: seconds to wait for one answer.
    """

    def __init__(self, libraries: tuple[Any, Any], cluster: Cluster, timeout: int) -> None:
        self.rados, self.rbd = libraries
        self.cluster = cluster
        self.timeout = timeout
        self._calls = Calls(_WATCH + _REQUESTS * timeout)
        self._lock = threading.Lock()
        self._connection: Any = None
        #: where entries of the blocklist are written down
        self.book: Book | None = None
        #: names of other pools in which images of this one have their data
        self.data_pools: frozenset[str] = frozenset()
        self._fsid: str | None = None
        # Of the call that a thread is for: another call may let go of the one above.
        self._mine = threading.local()
        self._patience = local()  # of callers, whose threads may be green

    def run(
        self,
        what: str,
        work: Callable[[Any, Progress], R],
        *,
        timeout: float | None = None,
        proceed: Callable[[], bool] | None = None,
    ) -> R:
        """Run something in a real thread.

        :param what: what it does, a clause for messages.
        :param work: it gets an I/O context of the pool.
        :param timeout: as for :meth:`Calls.run`; so is ``proceed``.
        :raises StorageError: it was refused.
        :raises StorageUnavailable: no answer came.
        """

        def call(progress: Progress) -> R:
            with self._translated(what), self._open() as io:
                return work(io, progress)

        limit = getattr(self._patience, 'seconds', None) if timeout is None else timeout
        return self._calls.run(what, call, timeout=limit, proceed=proceed)

    @contextlib.contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Wait no longer for one call, in this thread, while the block lasts."""
        before = getattr(self._patience, 'seconds', None)
        self._patience.seconds = seconds
        try:
            yield
        finally:
            self._patience.seconds = before

    def is_mine(self, client: int) -> bool:
        """Tell whether this process is a client that Ceph names, by this pool or another one.

        :param client: its number.
        """
        return (self._fsid, client) in _OWN

    def ask(self, prefix: str, data: bytes = b'', *, monitor: str | None = None, **words: Any) -> Any:
        """Have a monitor do something; only for work that :meth:`run` runs.

        :param prefix: its command, for example ``osd dump``.
        :param data: what the command line reads from a file.
        :param monitor: name of the one that is to answer; None for any of the quorum.
        :returns: its answer, None for none.
        :raises StorageError: the user lacks the capability; the message has the line that grants it.
        """
        request = json.dumps({'prefix': prefix, 'format': 'json', **words})
        code, answer, text = self._mine.connection.mon_command(request, data, target=monitor)
        if -code in _DENIED:
            self._forget()
            raise StorageError(self.cluster.describe_missing(prefix))
        if code:
            raise self.rados.OSError(f'error of {prefix}: {text}', errno=-code)
        # Some commands append a second document.
        return json.JSONDecoder().raw_decode(answer.decode())[0] if answer.strip() else None

    def ask_all(self, prefix: str, requests: Sequence[Mapping[str, Any]]) -> None:
        """Have a monitor do the same for several things at once: what changes a map waits for a round of them all."""
        connection, failed = self._mine.connection, []

        def ask(words: Mapping[str, Any]) -> None:
            self._mine.connection = connection
            try:
                self.ask(prefix, **words)
            except Exception as exc:  # it is the caller's
                failed.append(exc)

        for start in range(0, len(requests), _AT_ONCE):
            workers = [threading.Thread(target=ask, args=(one,)) for one in requests[start : start + _AT_ONCE]]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
            if failed:
                raise failed[0]

    @contextlib.contextmanager
    def open_other(self, name: str) -> Iterator[Any]:
        """Have an I/O context of another pool of the cluster, or of this one; only for work that :meth:`run` runs."""
        io = self._mine.connection.open_ioctx(name)
        try:
            io.set_osdmap_full_try()  # as of the own pool
            yield io
        finally:
            io.close()

    def find_name(self, number: int) -> str:
        """Return the name of a pool of the cluster; only for work that :meth:`run` runs."""
        return str(self._mine.connection.pool_reverse_lookup(number))

    def catch_up(self) -> None:
        """Have this client use the newest OSD map; only for work that :meth:`run` runs."""
        self._mine.connection.wait_for_latest_osdmap()

    def find_fsid(self) -> str:
        """Ask the cluster for its own name for itself."""
        if not self._fsid:
            self._fsid = self.run('tell its fsid', lambda _io, _progress: str(self._mine.connection.get_fsid()))
        return self._fsid

    def find_host(self) -> str:
        """Ask which address Ceph knows this machine by."""
        return self.run('tell its address', lambda _io, _progress: find_host(self._mine.connection.get_addrs()))

    # Connection -------------------------------------------------------------------------

    @contextlib.contextmanager
    def _open(self) -> Iterator[Any]:
        connection = self._mine.connection = self._connect()
        try:
            io = connection.open_ioctx(self.cluster.pool)
        except self.rados.ObjectNotFound as exc:
            raise StorageError(
                f'Option rbd_pool: the cluster has no pool {self.cluster.pool}, or client.{self.cluster.user} may '
                'not see it.'
            ) from exc
        try:
            # A full pool then refuses what writes instead of letting it wait, and still deletes.
            io.set_osdmap_full_try()
            yield io
        finally:
            io.close()

    def _connect(self) -> Any:
        with self._lock:
            if self._connection is None:
                self._connection = self._make_connection()
            return self._connection

    def _make_connection(self) -> Any:
        cluster = self.cluster
        if not os.access(cluster.conf, os.R_OK):
            raise StorageError(f'Option rbd_ceph_conf: {cluster.conf} is not there, or cannot be read.')
        made = self.rados.Rados(rados_id=cluster.user, clustername=cluster.name, conffile=cluster.conf)
        for name in _LIMITS:
            made.conf_set(name, str(self.timeout))
        for name, seconds, share in _LOOKS:
            made.conf_set(name, str(min(seconds, share * self.timeout)))
        try:
            made.connect()
        except self.rados.Error as exc:
            raise self._explain_connection(made, exc) from exc
        self._fsid = str(made.get_fsid())
        _OWN.add((self._fsid, made.get_instance_id()))
        return made

    def _explain_connection(self, made: Any, exc: Any) -> DriverError:
        number = getattr(exc, 'errno', None)
        who, keyring = f'client.{self.cluster.user}', made.conf_get('keyring')
        if number == errno.ENOENT:
            return StorageError(f'There is no key of {who} in {keyring}: options rbd_user and rbd_ceph_conf.')
        if number in _DENIED:
            return StorageError(
                f'The monitors refuse {who}: there is no such user, or its key in {keyring} is another one '
                '(options rbd_user and rbd_ceph_conf).'
            )
        return StorageUnavailable(
            f'No monitor of Ceph answers {who} at {made.conf_get("mon_host") or "any address"} within '
            f'{self.timeout} s ({exc}); see option rbd_ceph_conf and "ceph -s".'
        )

    @contextlib.contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        try:
            yield
        except (self.rados.Error, self.rbd.Error) as exc:
            if getattr(exc, 'errno', None) in _RECONNECT:
                self._forget()
            raise self._explain(what, exc) from exc

    def _forget(self) -> None:
        with self._lock:  # calls in work keep theirs
            self._connection = None

    def _explain(self, what: str, exc: Any) -> DriverError:
        number = getattr(exc, 'errno', None)
        pool, who = self.cluster.pool, f'client.{self.cluster.user}'
        if number in _FULL:
            reason = 'has reached its quota' if number == errno.EDQUOT else 'is full'
            return StorageError(f'Ceph did not {what}: pool {pool} {reason}.')
        if number in _DENIED:
            return StorageError(
                f'Ceph did not {what}: {who} has no capability for that in pool {pool}, or in that of an image whose '
                'blocks are shared.'
            )
        if number == errno.ESHUTDOWN:
            return StorageUnavailable(f'Ceph did not {what}: this client of {who} is blocklisted.')
        if number in _UNKNOWN:
            return StorageUnavailable(f'Ceph did not {what}: no answer came in time ({exc}).')
        return StorageError(f'Ceph did not {what}: {exc}.')
