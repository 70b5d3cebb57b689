# SPDX-License-Identifier: Apache-2.0
"""Which instances of clients were seen, and whose they are, written in the pool.

A monitor forgets a client of which it has heard nothing for 5 minutes, an image a watcher after 30 s. A host that
sleeps longer is seen by nobody. When it wakes, the OSDs serve it all the same: by the connections that it has, or by
its tickets, which last an hour and need no key.
"""

import contextlib
import time
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from oslo_log import log

from multiattach.drivers.ceph.omap import read_pairs
from multiattach.drivers.ceph.pool import Pool
from multiattach.drivers.errors import DriverError

LOG = log.getLogger(__name__)

SEEN = 'multiattach_instances'  # its omap has USER ADDRESS, and since when
_FEW = 8  # users that are asked for one by one
_MOST = 16  # of one user that are kept: each start of a server is another one
_FORGOTTEN = 30 * 24 * 3600.0  # s until what is left of a user that is gone goes, too
_PAUSE = 30.0  # s after a failure until it is tried again


class Instances:
    """Those of one pool, by user."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._known: dict[tuple[str, str], float] | None = None
        self._last: dict[str, Collection[str]] = {}
        self._due = 0.0

    def note(self, found: Mapping[str, Collection[str]]) -> None:
        """Write down who is there. Nobody who looks is kept from it by a pool that cannot be written.

        :param found: addresses of instances by user, of all users that there are.
        """
        if time.monotonic() < self._due:
            return
        try:
            self._note(found)
        except DriverError as exc:
            self._due = time.monotonic() + _PAUSE
            LOG.warning('Who has images open cannot be written down in pool %s: %s', self._pool.cluster.pool, exc)

    def _note(self, found: Mapping[str, Collection[str]]) -> None:
        known = self._read() if self._known is None else self._known
        now = time.time()
        old = {one for one, since in known.items() if one[0] not in found and now - since > _FORGOTTEN}
        known = {one: since for one, since in known.items() if one[0] in found}
        new = {(user, one): now for user, its in found.items() for one in its if (user, one) not in known}
        for user in {user for user, _ in new}:
            gone = [one for one in known if one[0] == user and one[1] not in found[user]]
            gone.sort(key=lambda one: known[one])
            old |= set(gone[: max(len(gone) + len(found[user]) - _MOST, 0)])
        if new or old:
            self._write(new, old)
        self._known = {one: since for one, since in (known | new).items() if one not in old}

    def replace(self, user: str, found: Collection[str], *, may_forget: bool) -> None:
        """Write down all that a user runs now.

        :param may_forget: what is missing for the second time has ended.
        :raises DriverError: the pool cannot be read, or written.
        """
        known = self.find([user])[user]
        old = known - {*found, *self._last.get(user, known)} if may_forget else set()
        if new := {*found} - known:
            self._write(dict.fromkeys(((user, one) for one in new), time.time()), [])
        self.drop({user: old})
        self._last[user] = found

    def find(self, users: Collection[str]) -> dict[str, set[str]]:
        """Return the addresses of all instances of some users that were ever seen."""
        found: dict[str, set[str]] = {user: set() for user in users}
        if users:
            for user, address in self._read(*(f'{user} ' for user in users if len(users) <= _FEW)):
                if user in found:
                    found[user].add(address)
        return found

    def find_owners(self) -> dict[str, str]:
        """Return the users of all instances, by address."""
        return {address: user for user, address in self._read()}

    def drop(self, found: Mapping[str, Collection[str]]) -> None:
        """Forget instances, by user: they are cut off, or have ended."""
        if old := [(user, one) for user, its in found.items() for one in its]:
            self._write({}, old)

    def _read(self, *prefixes: str) -> dict[tuple[str, str], float]:
        def read(io: Any, _progress: Any) -> dict[tuple[str, str], float]:
            return {
                (user, address): float(since)
                for prefix in prefixes or ('',)
                for key, since in read_pairs(self._pool, io, SEEN, prefix)
                for user, _, address in (key.partition(' '),)
            }

        return self._pool.run('read who had images open', read)

    def _write(self, new: Mapping[tuple[str, str], float], old: Iterable[tuple[str, str]]) -> None:
        def write(io: Any, _progress: Any) -> None:
            with self._pool.rados.WriteOpCtx() as operation:
                if new:
                    values = tuple(repr(since).encode() for since in new.values())
                    io.set_omap(operation, tuple(' '.join(one) for one in new), values)
                if gone := tuple(' '.join(one) for one in old):
                    io.remove_omap_keys(operation, gone)
                # What is not there need not be forgotten.
                with contextlib.suppress(self._pool.rados.ObjectNotFound):
                    io.operate_write_op(operation, SEEN)

        self._pool.run('write down who has images open', write)
