# SPDX-License-Identifier: Apache-2.0
"""Entries of Ceph's blocklist for as long as they are needed: renewed before they end, and removed when they are not.

An entry names one run of one client, so a host that was booted again, or a server that was started again, is another
client and is served. It is removed when its fence is over and no monitor knows the instance any more: one that still
runs may be of a host that nobody reaches. That of a gateway which is back, and has ended what it had open, is removed
after an hour.
"""

import datetime
import time
from collections.abc import Callable

from oslo_log import log

from multiattach.db import models
from multiattach.domain.blocklist import Cause, Entry, EntryState
from multiattach.drivers.ceph.blocklist import HELD, Blocklist, strip_zone
from multiattach.drivers.ceph.pool import Pool
from multiattach.drivers.ceph.sessions import read_sessions
from multiattach.drivers.errors import DriverError
from multiattach.steps.blocklist import BlocklistRows

LOG = log.getLogger(__name__)

_MOST = 20  # entries that a round sees to; of more the next one takes care
_PAUSE = 30.0  # s between two rounds that ask Ceph
_RENEWED = HELD / 3  # s


class BlocklistKeeper:
    """Keeps the entries that one backend's workers made for fences, and removes those of gateways that are back.

    While a gateway is lost, the others of its cluster renew its entries.

    :param pause: seconds between two rounds that ask Ceph.
    """

    def __init__(self, rows: BlocklistRows, pool: Pool, pause: float = _PAUSE) -> None:
        self._rows = rows
        self._pool = pool
        self._blocklist = Blocklist(pool)
        self._pause = pause
        self._due = 0.0

    def tend(self, owns: Callable[[str], bool]) -> None:
        """Do a round, if it is time for one.

        :param owns: tells whether an entry is for this worker.
        """
        if time.monotonic() < self._due:
            return
        now = models.now()
        due = [one for one in self._rows.list_entries() if _is_due(one, now) and owns(one.address)]
        if not due:
            return
        self._due = time.monotonic() + self._pause
        try:
            fsid, listed, sessions = self._pool.find_fsid(), self._blocklist.read(), read_sessions(self._pool)
        except DriverError as exc:
            LOG.warning('The blocklist of Ceph cannot be looked after: %s', exc)
            return
        running = {one.address for one in sessions.found}
        for one in [one for one in due if one.fsid == fsid][:_MOST]:
            # A monitor that tells nothing may be the one that knows it.
            is_running = one.address in running or bool(sessions.doubtful)
            until = listed.get(one.address)
            try:
                self._keep(one, None if until is None else strip_zone(until), is_running, now)
            except DriverError as exc:
                LOG.warning('The entry of %s in the blocklist of Ceph: %s', one.address, exc)

    def _keep(self, one: Entry, until: datetime.datetime | None, is_running: bool, now: datetime.datetime) -> None:
        if not one.is_needed and (until is None or not is_running or one.reason.cause is Cause.GATEWAY):
            self._let_go(one, until)
        elif until is None:
            self.restore(one)
        elif until - now < datetime.timedelta(seconds=_RENEWED):
            if is_running:
                LOG.warning(
                    'Instance %s of Ceph, which was cut off (%s), may still run: its host is to be booted. While its '
                    'entry in the blocklist is renewed, it is served for a moment',
                    one.address,
                    one.reason.describe(),
                )
            self._blocklist.renew(one.address, reason=one.reason)
            self._blocklist.settle()
            LOG.info('Instance %s stays blocklisted in Ceph: %s', one.address, one.reason.describe())
        elif one.state != EntryState.HELD or one.until != until:
            self._rows.confirm(one.fsid, {one.address: until})

    def restore(self, one: Entry) -> None:
        """Make an entry that is needed and not there; wait until it holds."""
        LOG.warning('Instance %s is blocklisted in Ceph again: %s', one.address, one.reason.describe())
        self._blocklist.add([one.address], reasons={one.address: one.reason})
        self._blocklist.settle()

    def _let_go(self, one: Entry, until: datetime.datetime | None) -> None:
        if not self._rows.begin_removal(one.fsid, one.address):
            return  # it is needed by now
        if until is not None and one.until is not None and until != one.until:
            LOG.info('Instance %s stays blocklisted: somebody else has made its entry anew', one.address)
            self._rows.forget(one.fsid, one.address)
            return
        self._blocklist.remove(one.address)
        LOG.info('Instance %s is not blocklisted any more: %s is over', one.address, one.reason.describe())


def _is_due(one: Entry, now: datetime.datetime) -> bool:
    if one.is_under_way(now) or (one.reason.cause is Cause.GATEWAY and one.is_needed):
        return False
    return (
        one.state != EntryState.HELD
        or not one.is_needed
        or one.until is None
        or (one.until - now).total_seconds() < _RENEWED
    )
