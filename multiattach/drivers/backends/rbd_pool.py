# SPDX-License-Identifier: Apache-2.0
"""One pool of a Ceph cluster: a connection that is made when it is needed, and what goes wrong in words."""

import contextlib
import dataclasses
import errno
import json
import os
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from multiattach import concurrency
from multiattach.drivers.backends.base import GIB, Capacity
from multiattach.drivers.backends.rbd_calls import Calls, Progress
from multiattach.drivers.errors import DriverError, StorageError, StorageUnavailable

threading: Any = concurrency.native('threading')  # calls run in real threads
R = TypeVar('R')

# Each of them bounds one request to a monitor, to an OSD, or the first ones of a connection. None is without a limit.
_LIMITS = ('rados_mon_op_timeout', 'rados_osd_op_timeout', 'client_mount_timeout')
_REQUESTS = 6  # that a call of several may wait for in vain, one after the other
_WATCH = 30  # s that a client which died counts as one; who changes an image waits for its answer
_SOON = 5.0  # s for what a heartbeat waits for
_FULL = (errno.ENOSPC, errno.EDQUOT)
_DENIED = (errno.EPERM, errno.EACCES)
_UNKNOWN = (errno.ETIMEDOUT, errno.ENOTCONN, errno.ESHUTDOWN, errno.EAGAIN, errno.EINTR)
# After these a new connection may do better: with a new key, new capabilities, or a new address.
_RECONNECT = (*_DENIED, errno.ENOTCONN, errno.ESHUTDOWN)


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


class Pool:
    """A pool; all that is asked of it is bounded in time. Safe for several threads, green or not.

    :param libraries: the modules rados and rbd.
    :param timeout: seconds to wait for one answer.
    """

    def __init__(self, libraries: tuple[Any, Any], cluster: Cluster, timeout: int) -> None:
        self.rados, self.rbd = libraries
        self.cluster = cluster
        self._timeout = timeout
        self._calls = Calls(_WATCH + _REQUESTS * timeout)
        self._lock = threading.Lock()
        self._connection: Any = None

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

        return self._calls.run(what, call, timeout=timeout, proceed=proceed)

    def is_mine(self, client: int) -> bool:
        """Tell whether this process's connection is a client that Ceph names.

        :param client: its number.
        """
        return self._connection is not None and client == self._connection.get_instance_id()

    def capacity(self) -> Capacity:
        """Read what the pool has; its quota counts."""
        return self.run('tell its capacity', self._read_capacity, timeout=min(_SOON, self._timeout))

    def _read_capacity(self, _io: Any, _progress: Progress) -> Capacity:
        pools = {pool['name']: pool['stats'] for pool in self._ask({'prefix': 'df'})['pools']}
        stats = pools.get(self.cluster.pool)
        if stats is None:
            raise StorageUnavailable(f"Ceph's manager has no figures of pool {self.cluster.pool} yet.")
        free = stats['max_avail']
        quota = self._ask({'prefix': 'osd pool get-quota', 'pool': self.cluster.pool})['quota_max_bytes']
        if quota:
            free = max(min(free, quota - stats['stored']), 0)
        return Capacity((stats['stored'] + free) / GIB, free / GIB)

    def _ask(self, command: dict[str, str]) -> Any:
        code, answer, text = self._connection.mon_command(json.dumps({**command, 'format': 'json'}), b'')
        if code:
            raise self.rados.OSError(f'error of {command["prefix"]}: {text}', errno=-code)
        return json.loads(answer)

    # Connection -------------------------------------------------------------------------

    @contextlib.contextmanager
    def _open(self) -> Iterator[Any]:
        connection = self._connect()
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
            made.conf_set(name, str(self._timeout))
        try:
            made.connect()
        except self.rados.Error as exc:
            raise self._explain_connection(made, exc) from exc
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
            f'{self._timeout} s ({exc}); see option rbd_ceph_conf and "ceph -s".'
        )

    @contextlib.contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        try:
            yield
        except (self.rados.Error, self.rbd.Error) as exc:
            if getattr(exc, 'errno', None) in _RECONNECT:
                with self._lock:  # calls in work keep theirs
                    self._connection = None
            raise self._explain(what, exc) from exc

    def _explain(self, what: str, exc: Any) -> DriverError:
        number = getattr(exc, 'errno', None)
        pool, who = self.cluster.pool, f'client.{self.cluster.user}'
        if number in _FULL:
            reason = 'has reached its quota' if number == errno.EDQUOT else 'is full'
            return StorageError(f'Ceph did not {what}: pool {pool} {reason}.')
        if number in _DENIED:
            return StorageError(f'Ceph did not {what}: {who} has no capability for that in pool {pool}.')
        if number == errno.ESHUTDOWN:
            return StorageUnavailable(f'Ceph did not {what}: this client of {who} is blocklisted.')
        if number in _UNKNOWN:
            return StorageUnavailable(f'Ceph did not {what}: no answer came in time ({exc}).')
        return StorageError(f'Ceph did not {what}: {exc}.')
