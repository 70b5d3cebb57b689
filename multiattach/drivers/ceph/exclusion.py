# SPDX-License-Identifier: Apache-2.0
"""Shutting out all that a cephx user has running, and letting the user begin anew.

The user keeps its key: what it starts afterwards is another instance, and is served.
"""

import dataclasses
import datetime
import time
from collections.abc import Collection, Mapping

from oslo_log import log

from multiattach.domain.blocklist import Cause, Reason
from multiattach.drivers.ceph.access import check_access
from multiattach.drivers.ceph.addresses import find_host
from multiattach.drivers.ceph.blocklist import HELD, Blocklist
from multiattach.drivers.ceph.images import list_watchers_of, name_image
from multiattach.drivers.ceph.instances import Instances
from multiattach.drivers.ceph.pool import Pool
from multiattach.drivers.ceph.sessions import Sessions, read_sessions
from multiattach.drivers.errors import StorageUnavailable

LOG = log.getLogger(__name__)

_RENEWED = HELD / 3  # s
_ROUNDS = 5
_PAUSE = 1.0  # s that a client which lives may be without a session
# s for an entry of a client whose process is gone: what it sent last is on its way for minutes at most.
_BURIED = 3600.0


@dataclasses.dataclass(frozen=True)
class Excluded:
    """What a user had running, and where it is shut out.

    :param entries: by instance until when, in UTC as ISO 8601 has it, without an offset.
    :param epoch: of the OSD map that each OSD of the pool was seen to use, or a newer one.
    :param silent: monitors that did not tell who is connected to them.
    """

    entries: Mapping[str, str]
    epoch: int
    silent: tuple[str, ...]


class Exclusion:
    """Shuts users of one pool out."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._blocklist = Blocklist(pool)
        self._instances = Instances(pool)

    @property
    def user(self) -> str:
        """This process's own user, without ``client.``."""
        return self._pool.cluster.user

    def check(self) -> None:
        """See that this process's user may do what a loss needs.

        :raises StorageError: it may not; the message has the line that grants it.
        """
        check_access(self._pool, users=False)
        read_sessions(self._pool)
        self._blocklist.read()

    def list_instances(self, user: str) -> set[str]:
        """List what a user runs now, this process's own connection left out, as far as the monitors know."""
        return self._find(read_sessions(self._pool), user)

    def _find(self, sessions: Sessions, user: str) -> set[str]:
        return {one.address for one in sessions.list_of(f'client.{user}') if not self._pool.is_mine(one.client)}

    def note(self, *, may_forget: bool) -> None:
        """Write down what this process's user runs, for others: while it sleeps no monitor tells.

        :param may_forget: it is awake, so what no monitor knows has ended.
        """
        sessions, user = read_sessions(self._pool), f'client.{self.user}'
        self._instances.replace(user, self._find(sessions, self.user), may_forget=may_forget and not sessions.doubtful)

    def exclude(self, name: str, user: str, known: Collection[str] = ()) -> Excluded:
        """Have no OSD of the pool serve what a user runs now, this process's own connection left out.

        :param name: of the gateway whose user it is.
        :param known: instances that it had before; monitors forget who is gone, or sleeps.
        :raises StorageError: this process's user may not.
        :raises StorageUnavailable: Ceph does not answer, or not all monitors tell who is connected to them, or
            instances come faster than they are shut out.
        """
        listed: set[str] = set()
        new = set(known) | self._instances.find([f'client.{user}'])[f'client.{user}']
        for _ in range(_ROUNDS):
            sessions = read_sessions(self._pool)
            new |= self._find(sessions, user) - listed
            if listed and not new:
                break
            self._blocklist.add(new, reasons=dict.fromkeys(new, Reason(Cause.GATEWAY, name)))
            listed |= new
            new = set()
            settled = self._blocklist.settle()
            if not listed:
                break
        else:
            raise StorageUnavailable(f'client.{user} connects to Ceph again and again while it is shut out.')
        sessions.check(f'client.{user}')
        entries = {one: _write(settled.entries[one]) for one in sorted(listed)}
        LOG.warning('client.%s is shut out of Ceph: %s', user, ', '.join(entries) or 'nothing of it is running')
        return Excluded(entries, settled.epoch, sessions.silent)

    def renew(self, name: str, entries: Mapping[str, str]) -> dict[str, str]:
        """Have entries that end in less than a third of their time end later; return all."""
        now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
        return {
            one: until
            if (datetime.datetime.fromisoformat(until) - now).total_seconds() > _RENEWED
            else _write(self._blocklist.renew(one, reason=Reason(Cause.GATEWAY, name)))
            for one, until in entries.items()
        }

    def admit(self, entries: Collection[str]) -> None:
        """Take instances from the blocklist."""
        for one in entries:
            self._blocklist.remove(one)

    def bury(self, volume_ids: Collection[str]) -> None:
        """Have no OSD serve what a process of this machine sent before it died.

        Whoever is dead has no session any more, but is a watcher of what it had open until Ceph notices, and may have
        been written down.

        :param volume_ids: what it may have had open.
        :raises StorageUnavailable: Ceph does not answer.
        """
        if not (dead := self._find_dead(volume_ids)):
            return
        time.sleep(_PAUSE)
        if dead := dead & self._find_dead(volume_ids):
            LOG.warning('Clients of Ceph that died on this machine are shut out: %s', ', '.join(sorted(dead)))
            self._blocklist.add(dead, _BURIED)
            self._blocklist.settle()

    def _find_dead(self, volume_ids: Collection[str]) -> set[str]:
        images = list_watchers_of(self._pool, [name_image(one) for one in volume_ids])
        watching = {one for its in images.values() for one in its}
        user = f'client.{self.user}'
        known = self._instances.find([user])[user]
        if not watching and not known:
            return set()
        sessions = read_sessions(self._pool)
        sessions.check('this machine')
        here, living = self._pool.find_host(), {one.client for one in sessions.found}
        dead = {one.address for one in watching if one.client not in living and find_host(one.address) == here}
        return dead | (known - {one.address for one in sessions.found})


def _write(moment: datetime.datetime) -> str:
    return moment.replace(tzinfo=None).isoformat(timespec='microseconds')
