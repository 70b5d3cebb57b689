# SPDX-License-Identifier: Apache-2.0
"""Who has images open, and how those who may not any more are put out.

A key that is gone lets nobody in. Who is in already is known by what the monitors and the image say: sessions name
users, watchers do not; who only reads is no watcher. Who sleeps is neither, and known by what was written down before.
All that are found are blocklisted, and each OSD has to be waited for: an entry holds there once it has the map with it.
"""

import dataclasses
import datetime
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from oslo_log import log

from multiattach.domain.blocklist import Cause, Reason
from multiattach.domain.connection import USER_PREFIX, find_address, name_address
from multiattach.drivers.ceph.addresses import find_host
from multiattach.drivers.ceph.blocklist import Blocklist, Settled
from multiattach.drivers.ceph.images import Watcher, list_watchers, list_watchers_of, name_image
from multiattach.drivers.ceph.instances import Instances
from multiattach.drivers.ceph.pool import Pool
from multiattach.drivers.ceph.sessions import Sessions, read_sessions
from multiattach.drivers.ceph.users import Users
from multiattach.drivers.errors import DriverError, TargetBusy, TargetError
from multiattach.drivers.targets.base import Cut, SessionState

LOG = log.getLogger(__name__)

_ROUNDS = 5
# s that a watcher may be without a session: one that lost its monitor has another one after a few. Then it is dead,
# or cut off from the monitors, and may be whom the fence is about.
_UNKNOWN = 10.0
_PAUSE = 0.5
_REMEMBERED = 10_000  # clients whose users are known; one that died has no session, but for 30 s it is a watcher


@dataclasses.dataclass(frozen=True)
class _Look:
    """What there was.

    :param watchers: by image.
    :param users: with a key, as far as they were asked for.
    """

    sessions: Sessions
    watchers: Mapping[str, Sequence[Watcher]]
    users: Collection[str]


class Cuts:
    """Puts out clients of one pool."""

    def __init__(self, pool: Pool, users: Users) -> None:
        self._pool = pool
        self._users = users
        self._blocklist = Blocklist(pool)
        self._instances = Instances(pool)
        self._entities: dict[int, str] = {}

    def read_sessions(self) -> Sessions:
        found = read_sessions(self._pool)
        known = {one.client: one.entity for one in found.found}
        old = {client: entity for client, entity in self._entities.items() if client not in known}
        self._entities = dict(list(old.items())[-_REMEMBERED:]) | known
        return found

    def note(self, found: Mapping[str, Collection[str]]) -> None:
        """Write down who is there.

        :param found: addresses of instances by user, with ``client.``, of all users that there are.
        """
        self._instances.note(found)

    def check(self) -> None:
        """See that the blocklist can be read."""
        self._blocklist.read()

    def list_shared(self, volume_id: str) -> list[SessionState]:
        """List who has an image open to write as the operator's user, by the last read of the sessions."""
        shared = f'client.{self._pool.cluster.user}'
        return [
            SessionState(name_address(find_host(one.address)), one.address)
            for one in list_watchers(self._pool, name_image(volume_id)) or ()
            if self._entities.get(one.client) == shared
        ]

    def settle(self, cuts: Sequence[Cut], *, is_proof: bool) -> list[Cut | DriverError]:
        """Put out whoever uses images as these initiators, wait once for the OSDs, and look again.

        :param is_proof: it counts as done only if no monitor can have clients of which it does not tell.
        """
        if not cuts:
            return []
        try:
            return self._settle(cuts, is_proof)
        except DriverError as exc:
            return [exc for _ in cuts]

    def _settle(self, cuts: Sequence[Cut], is_proof: bool) -> list[Cut | DriverError]:
        before = self._blocklist.read() if any(cut.again for cut in cuts) else {}
        sessions = self.read_sessions()
        seen = self._instances.find([f'client.{cut.initiator}' for cut in cuts if find_address(cut.initiator) is None])
        # Who has his session with a monitor that hangs needs his key to come to another one, where he is found.
        if not (is_proof and sessions.doubtful):
            self._users.remove(*(find_attachment(cut.initiator) for cut in cuts if find_address(cut.initiator) is None))
        look = self._look_for_all(cuts, is_proof)
        found = [_join(_list_own(cut, sessions), self._find(cut, look, is_proof)) for cut in cuts]
        if is_proof:  # else their host has let go of the image, and is awake
            found = [_join(its, _list_seen(cut, seen)) for cut, its in zip(cuts, found, strict=True)]
        listed: set[str] = set()
        settled = None
        for _ in range(_ROUNDS):
            reasons = {
                one.address: Reason(Cause.FENCE, cut.initiator, cut.volume_id)
                for cut, its in zip(cuts, found, strict=True)
                for one in its
                if one.address not in listed
            }
            new = set(reasons)
            if settled is not None and not new:
                break
            self._blocklist.add(new, reasons=reasons)
            listed |= new
            settled = self._blocklist.settle()
            look = self._look_for_all(cuts, is_proof)
            found = [_join(its, self._find(cut, look, is_proof)) for cut, its in zip(cuts, found, strict=True)]
        assert settled is not None
        if is_proof:
            look.sessions.check(', '.join(sorted({cut.initiator for cut in cuts})))
        done = [self._tell(cut, its, before, look, settled) for cut, its in zip(cuts, found, strict=True)]
        self._forget(seen, [one for one in done if isinstance(one, Cut)])
        return done

    def _forget(self, seen: Mapping[str, Collection[str]], done: Sequence[Cut]) -> None:
        gone = {f'client.{cut.initiator}' for cut in done}
        try:
            self._instances.drop({user: its for user, its in seen.items() if user in gone})
        except DriverError as exc:  # they are listed already; to list them once more does no harm
            LOG.warning('Of who is cut off it stays written that he was there: %s', exc)

    # -- looking -------------------------------------------------------------------------------

    def _look_for_all(self, cuts: Sequence[Cut], is_proof: bool) -> _Look:
        """Look who is there; for a proof, wait for those of whom nobody says who they are."""
        images = sorted({name_image(cut.volume_id) for cut in cuts})
        deadline = time.monotonic() + _UNKNOWN
        owners: Mapping[str, str] | None = None
        while True:
            watchers = list_watchers_of(self._pool, images)
            sessions = self.read_sessions()  # after the watchers: who has come has had a session by then
            unknown = [one for its in watchers.values() for one in its if one.client not in self._entities]
            if unknown:
                owners = self._instances.find_owners() if owners is None else owners
                told = {one.client: owners[one.address] for one in unknown if one.address in owners}
                self._entities = self._entities | told
                unknown = [one for one in unknown if one.client not in self._entities]
            if not unknown or not is_proof or sessions.doubtful or time.monotonic() > deadline:
                return _Look(sessions, watchers, self._list_users(cuts))
            time.sleep(_PAUSE)

    def _list_users(self, cuts: Sequence[Cut]) -> Collection[str]:
        if len(cuts) > 1:
            return {one.name for one in self._users.list_users()}
        (cut,) = cuts
        if find_address(cut.initiator) is not None:
            return ()
        user = self._users.find(cut.initiator.removeprefix(USER_PREFIX))
        return () if user is None else (user.name,)

    def _find(self, cut: Cut, look: _Look, is_proof: bool) -> tuple[SessionState, ...]:
        """Find the instances that an initiator uses an image with, or may: of some nobody says whose they are.

        These are cut off for a proof only: they may be of somebody else, who has lost his monitor.
        """
        watchers, address = look.watchers[name_image(cut.volume_id)], find_address(cut.initiator)
        unknown = [one.address for one in watchers if one.client not in self._entities]
        if look.sessions.doubtful or not is_proof:
            unknown = []  # anybody, with his session at a monitor that does not tell; then there is no proof either
        if address is None:
            entity = f'client.{cut.initiator}'
            mine = [one.address for one in look.sessions.list_of(entity)]
            mine += [one.address for one in watchers if self._entities.get(one.client) == entity]
        else:
            shared = f'client.{self._pool.cluster.user}'
            here = [one for one in watchers if find_host(one.address) == address]
            mine = [one.address for one in here if self._entities.get(one.client) == shared]
            unknown = [one for one in unknown if find_host(one) == address]
        return (
            *(SessionState(cut.initiator, one) for one in sorted(set(mine))),
            *(SessionState('', one) for one in sorted(set(unknown) - set(mine))),
        )

    # -- telling -------------------------------------------------------------------------------

    def _tell(
        self, cut: Cut, found: Sequence[SessionState], before: Collection[str], look: _Look, settled: Settled
    ) -> Cut | DriverError:
        is_shared = find_address(cut.initiator) is not None
        watching = {one.address for one in look.watchers[name_image(cut.volume_id)]}
        new = [one for one in found if not (cut.again and one.address in before)]
        done = dataclasses.replace(
            cut,
            sessions=tuple(one for one in new if one.initiator),
            others=tuple(one for one in new if not one.initiator),
            whole=not is_shared,
            left_account=cut.initiator in look.users,
            left_sessions=tuple(one for one in found if one.address not in settled.entries or one.address in watching),
            more={'scope': 'initiator' if is_shared else 'user', 'ceph': self._describe(cut, found, look, settled)},
        ).after(cut)
        return TargetBusy(f'{cut.initiator} still has {done.describe()}') if done.is_left else done

    def _describe(self, cut: Cut, found: Sequence[SessionState], look: _Look, settled: Settled) -> dict[str, Any]:
        is_shared = find_address(cut.initiator) is not None
        user = f'client.{self._pool.cluster.user if is_shared else cut.initiator}'
        return {
            'user': user,
            'key': 'kept' if is_shared else 'removed',
            'blocklist': {
                one.address: _write(settled.entries[one.address]) for one in found if one.address in settled.entries
            },
            'osdmap_epoch': settled.epoch,
            'osds': list(settled.up),
            'osds_down': list(settled.down),
            'monitors_silent': list(look.sessions.silent),
            # Of a client that was blocklisted a monitor keeps the session, which is of no use to it.
            'sessions_left': [] if is_shared else sorted(one.address for one in look.sessions.list_of(user)),
            'watchers_left': sorted(one.address for one in look.watchers[name_image(cut.volume_id)]),
        }


def _list_own(cut: Cut, sessions: Sessions) -> tuple[SessionState, ...]:
    """List who was there as the initiator while it had its key; a monitor that hangs afterwards tells it no more."""
    return tuple(SessionState(cut.initiator, one.address) for one in sessions.list_of(f'client.{cut.initiator}'))


def _list_seen(cut: Cut, seen: Mapping[str, Collection[str]]) -> tuple[SessionState, ...]:
    """List who was there as the initiator at any time, and may wake."""
    return tuple(SessionState(cut.initiator, one) for one in sorted(seen.get(f'client.{cut.initiator}', ())))


def _write(moment: datetime.datetime) -> str:
    return moment.replace(tzinfo=None).isoformat(timespec='microseconds')


def _join(some: tuple[SessionState, ...], more: tuple[SessionState, ...]) -> tuple[SessionState, ...]:
    known = {one.address for one in some}
    return (*some, *(one for one in more if one.address not in known))


def find_attachment(initiator: str) -> str:
    """Return the attachment that an initiator is of.

    :raises TargetError: it is none of this driver: an API of the release before wrote it.
    """
    if not initiator.startswith(USER_PREFIX):
        raise TargetError(
            f'{initiator} is no initiator of a backend with target_driver rbd: API servers and host agents of a '
            'release before connect none of its volumes.'
        )
    return initiator.removeprefix(USER_PREFIX)
