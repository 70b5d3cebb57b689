# SPDX-License-Identifier: Apache-2.0
"""What Ceph itself knows of a backend's volumes, compared with the rows: its blocklist, and who has images open."""

import contextlib
import dataclasses
import datetime
import time
from collections.abc import Callable, Collection, Mapping, Sequence

from multiattach.db import models
from multiattach.db.reconciliation import BackendRow
from multiattach.domain import states
from multiattach.domain.blocklist import Entry
from multiattach.domain.drift import Drift
from multiattach.domain.findings import Seen
from multiattach.drivers.ceph.blocklist import Blocklist
from multiattach.drivers.ceph.images import Watcher, list_watchers
from multiattach.drivers.ceph.pool import PREFIX, Pool
from multiattach.drivers.ceph.sessions import read_sessions
from multiattach.steps.blocklist import BlocklistRows
from multiattach.steps.reconciler import Owns
from multiattach.steps.reconciliation import Reconciliation
from multiattach.volume.blocklist import BlocklistKeeper

_IMAGES = 50  # whose watchers a round asks for; the next one goes on
# s that a watcher may go unexplained: a step of this service, or one that died, which Ceph knows for 30 s more.
_PATIENCE = 90.0


@dataclasses.dataclass
class _Unexplained:
    first: float
    seen: Seen


class CephAccounts:
    """Compares the rows of one backend with its Ceph.

    :param host: name of the backend, as its volumes carry it.
    :param patience: seconds that a watcher may go unexplained.
    """

    def __init__(
        self,
        side: Reconciliation,
        rows: BlocklistRows,
        keeper: BlocklistKeeper,
        pool: Pool,
        host: str,
        patience: float = _PATIENCE,
    ) -> None:
        self._side = side
        self._rows = rows
        self._keeper = keeper
        self._pool = pool
        self._blocklist = Blocklist(pool)
        self._host = host
        self._patience = patience
        #: tells the users, without "client.", that open images for those who have attachments
        self.list_servants: Callable[[], Collection[str]] = lambda: (pool.cluster.user,)
        #: tells the id after which a volume's image is named
        self.find_name: Callable[[str], str] = lambda volume_id: volume_id
        self._after = ''  # the last volume whose watchers were looked at
        # By volume and address of those that were looked at last.
        self._unexplained: dict[tuple[str, str], _Unexplained] = {}

    def look(self, rows: Mapping[str, Sequence[BackendRow]], owns: Owns) -> list[Seen]:
        """Compare, and return what differs.

        :param rows: by volume; volumes without an attachment may be missing.
        :raises DriverError: Ceph did not answer.
        """
        return self._look_at_blocklist(owns) + self._look_at_watchers(rows, owns)

    def within(self, seconds: float) -> contextlib.AbstractContextManager[None]:
        """Have Ceph answer in some seconds, in this thread, while the block lasts."""
        return self._pool.within(seconds)

    # -- the blocklist -------------------------------------------------------------------------

    def _look_at_blocklist(self, owns: Owns) -> list[Seen]:
        entries = [one for one in self._rows.list_entries() if owns(one.address)]
        notes, fsid, listed = self._blocklist.read_notes(), self._pool.find_fsid(), self._blocklist.read()
        seen = [
            Seen(Drift.NO_ENTRY, self._host, one.reason.volume_id, None, one.address)
            for one in entries
            if one.fsid == fsid and _must_hold(one, listed)
        ]
        known = self._rows.list_known(fsid, list(notes)) if notes else set()
        for address in sorted(set(notes) - known):
            if not owns(address):
                continue
            if address in listed:
                seen.append(Seen(Drift.STRAY_ENTRY, self._host, notes[address].volume_id, None, address))
            else:
                self._blocklist.drop_note(address)
        return seen

    def restore(self, address: str) -> None:
        """Make an entry again that is needed."""
        for one in self._rows.list_entries():
            if one.address == address and one.is_needed:
                self._keeper.restore(one)

    # -- watchers ------------------------------------------------------------------------------

    def _look_at_watchers(self, rows: Mapping[str, Sequence[BackendRow]], owns: Owns) -> list[Seen]:
        volumes = [ident for ident in self._side.list_ids(self._host) if owns(ident)]
        turn = [ident for ident in volumes if ident > self._after][:_IMAGES]
        self._after = turn[-1] if len(turn) == _IMAGES else ''
        watchers = {ident: list_watchers(self._pool, f'volume-{self.find_name(ident)}') or () for ident in turn}
        users = {one.client: one.entity for one in read_sessions(self._pool).found}
        servants = {f'client.{user}' for user in self.list_servants()}
        now = time.monotonic()
        found = {
            (ident, one.address): self._describe(ident, one, users.get(one.client, 'a client without a session'))
            for ident, its in watchers.items()
            for one in its
            if not _is_explained(users.get(one.client), rows.get(ident, ()), servants)
        }
        for key in [key for key in self._unexplained if key[0] in watchers or key[0] not in volumes]:
            if key not in found:
                del self._unexplained[key]
        for key, seen in found.items():
            self._unexplained.setdefault(key, _Unexplained(now, seen))
        return [one.seen for one in self._unexplained.values() if now - one.first >= self._patience]

    def _describe(self, volume_id: str, watcher: Watcher, user: str) -> Seen:
        return Seen(Drift.STRAY_WATCHER, self._host, volume_id, None, f'{user} at {watcher.address}')


def _is_explained(user: str | None, rows: Collection[BackendRow], servants: Collection[str]) -> bool:
    """Tell whether a user has an image open for an attachment.

    :param servants: users that do so for those who have attachments: targets, or hosts that share one.
    """
    admitted = {row.attachment_id for row in rows if row.state in states.ON_TARGET}
    if user is None:
        return False
    if user.startswith(PREFIX):
        return user.removeprefix(PREFIX) in admitted
    return bool(admitted) and user in servants


def _must_hold(one: Entry, listed: Mapping[str, datetime.datetime]) -> bool:
    return one.is_needed and one.address not in listed and not one.is_under_way(models.now())
