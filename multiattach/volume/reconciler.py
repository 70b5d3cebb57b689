# SPDX-License-Identifier: Apache-2.0
"""A backend's database and target compared, now and then and on demand, and put right.

A look costs one statement and one read of the target. Only a volume that looks wrong is looked at
again, under its lock: no step on its target is under way then, so what differs there is drift.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from oslo_log import log

from multiattach.db import models
from multiattach.db.reconciliation import BackendRow
from multiattach.domain import drift, errors, states, target_drift
from multiattach.domain.drift import Account, Action, Drift
from multiattach.domain.findings import DriftRules, Seen
from multiattach.drivers.errors import DriverError, TargetUnavailable
from multiattach.drivers.targets.base import Target, TargetState
from multiattach.steps.ledger import Repair
from multiattach.steps.open_steps import OpenSteps
from multiattach.steps.reconciler import Look, Owns, Reconciler, owns_all
from multiattach.steps.reconciliation import Reconciliation
from multiattach.steps.records import MARKS, Records
from multiattach.volume import answers
from multiattach.volume.addresses import Addresses
from multiattach.volume.ceph_accounts import CephAccounts
from multiattach.volume.epoch import Epoch
from multiattach.volume.exporter import Exporter
from multiattach.volume.gateways import GatewayTarget
from multiattach.volume.locks import VolumeLocks
from multiattach.volume.nova_check import NovaCheck
from multiattach.volume.storage_accounts import StorageAccounts

LOG = log.getLogger(__name__)
A = states.Attachment
Rows = dict[str, list[BackendRow]]
Recorded = tuple[tuple[str, str, str | None], ...]  # state, initiator and account of Cinder

# What only people can put right, whatever the operator wrote.
_FOR_PEOPLE = frozenset(
    {
        Drift.NO_CONNECTOR,
        Drift.SHARED_NAME,
        Drift.SHARED_LOGIN,
        Drift.STUCK_STEP,
        Drift.STRAY_ENTRY,
        Drift.STRAY_WATCHER,
        Drift.STRAY_SNAPSHOT,
        Drift.NO_SNAPSHOT,
        Drift.STRAY_STORAGE,
        Drift.NO_STORAGE,
        Drift.LOST_GATEWAY,
    }
)
_ALL_TARGETS = (
    'Not one target of this backend is named by the database. That is believed only of '
    'attachments whose end is recorded, in a database that is known to be that of these targets.'
)
_FOREIGN = (
    'By whom the target admits, or by its LUNs, this service did not make it: another one, such as Cinder, may have it '
    'in use. '
    'What was imported from Cinder is this service\'s own after "multiattach-manage cinder finish".'
)
_ALL_SERVERS = (
    'Nova has none of the servers that were asked for. That is believed only of servers which '
    'Nova itself says it deleted.'
)
# Suspects that a round looks at under their locks; of more the next round takes care.
_MOST = 100
_LEAST = 1.0  # s for the target to answer one who looks


class VolumeReconciler(Reconciler):
    """Looks after one backend.

    :param host: name of the backend, as its volumes carry it.
    :param rounds: rules, and seconds between two rounds, 0 for none but those that a person asks for.
    :param epoch: tells whether the database is the one that wrote the targets; None if nobody does.
    """

    silent = 'its target daemon, or Nova'

    def __init__(
        self,
        side: Reconciliation,
        exporter: Exporter,
        target: Target,
        locks: VolumeLocks,
        host: str,
        rounds: tuple[DriftRules, float],
        nova: NovaCheck | None = None,
        epoch: Epoch | None = None,
    ) -> None:
        super().__init__(host, *rounds)
        self._side = side
        self._exporter = exporter
        self._target = target
        self._locks = locks
        self._nova = nova
        self._epoch = epoch
        self._is_gateway = isinstance(target, GatewayTarget)
        #: what Ceph itself knows of the volumes; None where it is not Ceph that has them
        self.ceph: CephAccounts | None = None
        #: what the storage itself has; None for a driver that cannot tell
        self.storage: StorageAccounts | None = None
        self._records = Records(side, self._rules)
        self._steps = OpenSteps(side, self._rules)
        self._addresses = Addresses(side, target, host)
        # What was in order: what the target showed and the rows said then.
        self._clean: dict[str, tuple[TargetState | None, Recorded, bool]] = {}
        # Targets that Cinder made and that stay so: there is a way back.
        self._kept: frozenset[str] = frozenset()
        self._accounts: dict[tuple[str, str], str] = {}

    @contextlib.contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Have the target and Ceph answer in some seconds, but one at least."""
        least = max(seconds, _LEAST)
        ceph = contextlib.nullcontext() if self.ceph is None else self.ceph.within(least)
        with self._target.within(least), ceph:
            yield

    def look(self, owns: Owns, fix: bool | None) -> Look:
        found_rows = self._side.list_on_backend(self._host)
        rows = _group(found_rows, owns)
        # Each gateway has all volumes: nobody else reads what this one shows.
        at_target, mine = (_group(found_rows, owns_all), owns_all) if self._is_gateway else (rows, owns)
        doubt = self._epoch.check() if self._epoch is not None else None
        found = Look(
            frozenset({Account.DATABASE, Account.TARGET, Account.NOVA}),
            doubt,
            self._look_at_rows(rows),
            sum(row.attachment_id is not None for its in rows.values() for row in its),
        )
        found.seen += [one for one in self._steps.look(self._host) if owns(str(one.volume_id))]
        if doubt is not None:
            found.seen.append(Seen(Drift.OLD_DATABASE, self._host, about=doubt.describe()))
        try:
            if isinstance(self._target, GatewayTarget) and not self._target.is_serving:
                raise TargetUnavailable('this gateway is lost, and begins anew')
            shown = self._target.list_exports()
            found.there = max(found.there, sum(_count(state) for state in shown.values()))
            seen, late = self._look_at_target(at_target, mine, shown)
            found.seen += seen + self._addresses.look(rows)
            if late is not None:
                found.unread[Account.TARGET] = late
        except DriverError as exc:
            found.unread[Account.TARGET] = f'The target daemon cannot be read: {exc}'
        try:
            found.seen += self._ask_nova(rows, everything=fix is not None)
        except errors.MultiattachError as exc:
            found.unread[Account.NOVA] = exc.message
        self._look_at_storage(found, owns, everything=fix is not None)
        if self.ceph is not None:
            found.accounts |= {Account.CEPH}
            try:
                found.seen += self.ceph.look(rows, owns)
            except DriverError as exc:
                found.unread[Account.CEPH] = f'Ceph cannot be read: {exc}'
        found.seen += self._look_at_records(rows, found.unread) + self._look_at_gateways(owns)
        return found

    def _look_at_storage(self, found: Look, owns: Owns, *, everything: bool) -> None:
        if self.storage is None:
            return
        found.accounts |= {Account.STORAGE}
        try:
            found.seen += self.storage.look(owns, everything=everything)
        except DriverError as exc:
            found.unread[Account.STORAGE] = f'The storage cannot be read: {exc}'

    # -- looking -------------------------------------------------------------------------------

    def _look_at_rows(self, rows: Rows) -> list[Seen]:
        seen, now = [], models.now()
        for volume_id, its in rows.items():
            if its[0].status in states.DERIVED_STATUSES and its[0].status != _derive(its):
                seen.append(Seen(Drift.STATUS, self._host, volume_id, None, its[0].status, age=0.0))
            for row in its:
                if row.state == A.ATTACHED or row.state_at is None:
                    continue
                age = (now - row.state_at).total_seconds()
                kind = self._judge_step(row, age)
                if kind is not None:
                    seen.append(Seen(kind, self._host, volume_id, row.attachment_id, row.server_id or '', age))
        slow = [str(one.attachment_id) for one in seen if one.kind is Drift.STUCK_STEP]
        held = self._side.find_held(slow, self._rules.stuck_after) if slow else set()
        return [one for one in seen if one.attachment_id not in held]

    def _look_at_records(self, rows: Rows, unread: dict[Account, str]) -> list[Seen]:
        def find_on_host(servers: Collection[str]) -> Collection[str]:
            if self._nova is None or Account.NOVA in unread:
                return ()
            try:
                return self._nova.find_on_host(servers)
            except errors.MultiattachError as exc:
                unread[Account.NOVA] = exc.message
                return ()

        return self._records.look(self._host, [row for its in rows.values() for row in its], find_on_host)

    def _look_at_gateways(self, owns: Owns) -> list[Seen]:
        if not isinstance(self._target, GatewayTarget):
            return []
        now = models.now()
        return [
            Seen(Drift.LOST_GATEWAY, self._host, about=f'{one.name} at {one.portal}', age=one.tell_age(now))
            for one in self._target.list_lost()
            if owns(one.name)
        ]

    def _judge_step(self, row: BackendRow, age: float) -> Drift | None:
        if row.state in states.IN_FLIGHT or (row.state == A.RESERVED and row.agent_host is not None):
            return Drift.STUCK_STEP if age > self._rules.stuck_after else None
        limit = self._rules.reservation_age
        if row.state != A.RESERVED or row.agent_host or row.attached_host or not limit or age < limit:
            return None
        return Drift.RESERVATION_OF_SERVER if row.server_id else Drift.RESERVATION

    def _look_at_target(
        self, rows: Rows, owns: Owns, shown: Mapping[str, TargetState]
    ) -> tuple[list[Seen], str | None]:
        """Return what was seen, and why not all was looked at: a lock that was not free in time."""
        files = self._target.list_files()
        foreign = [ident for ident, state in shown.items() if state.is_foreign]
        # Cinder's files would let in again whoever has left here.
        kept = {*foreign} - self._side.find_left(foreign) if foreign and self._side.has_imports() else ()
        self._kept = frozenset(kept)
        suspects = [
            ident
            for ident in {*rows, *shown, *(files or ())}
            if self._is_suspect(ident, rows.get(ident, ()), shown.get(ident), files)
        ]
        self._clean = {ident: key for ident, key in self._clean.items() if ident in rows or ident in shown}
        suspects = sorted(ident for ident in suspects if ident in rows or owns(ident))
        if not suspects:
            return [], None
        known = self._side.find_volumes(suspects)
        mine = [ident for ident in suspects if known.get(ident, (self._host,))[0] == self._host]
        # A step that was taken between the two reads has left rows that agree with the target.
        after = _group(self._side.list_of_volumes(mine), lambda _ident: True)
        seen: list[Seen] = []
        wrong = [ident for ident in mine if self._is_suspect(ident, after.get(ident, ()), shown.get(ident), files)]
        late = None
        for ident in wrong[:_MOST]:
            try:
                seen += self._look_again(ident, known.get(ident))
            except errors.OutcomeUnknown as exc:  # the others may be waited for as long
                late = exc.message
                break
        named = {ident for ident, its in rows.items() if any(row.state in states.ON_TARGET for row in its)}
        return seen if named & {*shown, *(files or ())} else self._hold_all(seen), late

    def _hold_all(self, seen: list[Seen]) -> list[Seen]:
        """Not one target is named by the rows: believe only what is recorded to have ended."""
        taken = [one for one in seen if one.kind in drift.DESTRUCTIVE]
        ended = self._side.find_ended([str(one.volume_id) for one in taken]) if taken else {}
        sure = self._epoch is not None and self._epoch.is_sure
        return [
            one
            if one.kind not in drift.DESTRUCTIVE or (sure and self._is_ended(one, ended))
            else dataclasses.replace(one, hold=_ALL_TARGETS)
            for one in seen
        ]

    def _is_ended(self, one: Seen, ended: Mapping[str, Collection[str]]) -> bool:
        """Tell whether the database remembers that what a repair takes away was detached."""
        volume_id = str(one.volume_id)
        names = ended.get(volume_id, ())
        if one.kind in (Drift.ADMITTED, Drift.SESSION):
            return one.about in names
        if one.kind is Drift.STRAY_REGISTRATION:
            return one.about.lower() in {name.lower() for name in names}
        if one.kind is Drift.ACCOUNT:
            return one.about in {self._name_account(volume_id, name) for name in names}
        if one.kind is Drift.STRAY_FILE:
            return bool(names)
        state = self._target.list_exports().get(volume_id)
        return (
            bool(names)
            if state is None
            else {*state.initiators, *(session.initiator for session in state.sessions)} <= set(names)
        )

    def _is_suspect(
        self, ident: str, rows: Sequence[BackendRow], state: TargetState | None, files: frozenset[str] | None
    ) -> bool:
        recorded, kept = _summarise(rows), self._keeps(ident, state)
        if files is not None and not kept and _judge_file(ident, recorded, files) is not None:
            return True
        clean = self._clean.get(ident)
        if clean is not None and clean[0] is state and clean[1:] == (recorded, kept):
            return False
        if self._compare(ident, recorded, state):
            return True
        self._clean[ident] = state, recorded, kept
        return False

    def _keeps(self, ident: str, state: TargetState | None) -> bool:
        """Tell whether a target is to stay as Cinder made it, and left alone as long as it has what is needed."""
        return state is not None and state.is_foreign and ident in self._kept

    def _compare(self, ident: str, recorded: Recorded, state: TargetState | None) -> list[target_drift.Difference]:
        kept = self._keeps(ident, state)
        if kept and not recorded:
            return []  # nobody here uses it, and it is not this service's to take away
        admits_all = kept and state is not None and bool(state.addresses)
        return target_drift.compare(ident, self._record(ident, recorded), _show(state, admits_all=admits_all))

    def _look_again(self, ident: str, known: tuple[str | None, bool] | None) -> list[Seen]:
        with self._locks.hold(ident, 'look for drift'):
            state, files = self._target.list_exports().get(ident), self._target.list_files()
            rows = self._side.list_of_volumes([ident])
        recorded, kept = _summarise(rows), self._keeps(ident, state)
        found = self._compare(ident, recorded, state)
        foreign = state is not None and state.is_foreign and (kept or known is None)
        seen = [
            Seen(
                kind,
                self._host,
                ident,
                None,
                one.about,
                hold=_FOREIGN if foreign and kind in drift.DESTRUCTIVE else None,
                units=_weigh(one.kind, state),
            )
            for one in found
            for kind in [_name(one.kind, known)]
        ]
        kind = None if files is None or kept else _judge_file(ident, recorded, files)
        if kind is not None and not {Drift.UNUSED, Drift.NO_TARGET} & {one.kind for one in found}:
            kind = Drift.NO_VOLUME if known is None else kind
            if not any(one.kind is kind for one in seen):
                seen.append(Seen(kind, self._host, ident, None, f'volume-{ident}'))
        # Of a volume that is gone all that its target has is one finding.
        whole = [one for one in seen if one.kind in (Drift.NO_VOLUME, Drift.LEFTOVER, Drift.UNUSED)]
        return whole[:1] or seen

    def _record(self, ident: str, rows: Recorded) -> list[target_drift.Recorded]:
        return [
            target_drift.Recorded(state, initiator, account or self._name_account(ident, initiator))
            for state, initiator, account in rows
            if state in states.ON_TARGET
        ]

    def _name_account(self, ident: str, initiator: str) -> str:
        key = ident, initiator
        if key not in self._accounts:
            if len(self._accounts) > 100_000:
                self._accounts.clear()
            self._accounts[key] = self._target.name_account(ident, initiator)
        return self._accounts[key]

    def _ask_nova(self, rows: Rows, *, everything: bool) -> list[Seen]:
        if self._nova is None or (
            self._rules.find_action(Drift.SERVER_GONE) is Action.IGNORE
            and self._rules.find_action(Drift.SERVER_UNKNOWN) is Action.IGNORE
        ):
            return []
        mine = [
            row
            for its in rows.values()
            for row in its
            if row.server_id and row.agent_host is None and row.state in states.AT_REST
        ]
        gone = self._nova.look({str(row.server_id) for row in mine}, everything=everything)
        now = models.now()
        hold = None if self._nova.has_any else _ALL_SERVERS
        # Nova takes places for a server before it tells anybody of the server.
        return [
            Seen(
                gone[row.server_id],
                self._host,
                row.volume_id,
                row.attachment_id,
                row.server_id,
                (now - row.state_at).total_seconds() if row.state == A.RESERVED else float('inf'),
                None if self._nova.is_deleted(row.server_id) else hold,
            )
            for row in mine
            if row.server_id in gone and row.state_at is not None
        ]

    # -- putting right -------------------------------------------------------------------------

    def find_step(self, one: Seen) -> Repair:
        volume_id = str(one.volume_id)
        if one.kind is Drift.STATUS:
            return ('derive', volume_id), lambda: self._side.derive(volume_id)
        if one.kind in MARKS.values():
            return ('mark', volume_id), lambda: self._side.drop_mark(volume_id, one.about)
        if one.kind is Drift.NO_ENTRY:
            return ('blocklist', one.about), functools.partial(self._restore_entry, one.about)
        if one.kind is Drift.REMNANT:
            assert self.storage is not None
            return ('remnant', one.about), functools.partial(self.storage.remove, one)
        if one.kind in _FOR_PEOPLE:
            return ('nothing', one), _do_nothing
        if one.kind is Drift.OLD_PORTAL:
            return ('relocate', one.attachment_id), lambda: self._exporter.relocate(volume_id, str(one.attachment_id))
        if one.attachment_id is not None:
            return ('delete', one.attachment_id), lambda: self._delete(one)
        if one.kind in drift.DESTRUCTIVE:
            return ('restore', volume_id), lambda: self._exporter.agree(volume_id)
        return ('supply', volume_id), lambda: self._exporter.supply(volume_id)

    def _restore_entry(self, address: str) -> None:
        assert self.ceph is not None
        with answers.expect('The entry in the blocklist of Ceph is not made again'):
            self.ceph.restore(address)

    def _delete(self, one: Seen) -> None:
        assert one.attachment_id is not None
        if one.kind in (Drift.SERVER_GONE, Drift.SERVER_UNKNOWN):
            assert self._nova is not None
            if not self._nova.is_gone(one.about):
                raise errors.Conflict(f'Nova has the server {one.about} by now.')
        rows = [
            row for row in self._side.list_of_volumes([str(one.volume_id)]) if row.attachment_id == one.attachment_id
        ]
        if not rows or rows[0].state not in states.AT_REST:
            return  # it is being taken away, or gone
        reserved = rows[0].state == A.RESERVED and rows[0].attached_host is None
        if one.kind in (Drift.RESERVATION, Drift.RESERVATION_OF_SERVER) and not reserved:
            raise errors.Conflict('Its host has connected by now.')
        order = self._side.begin_delete(one.attachment_id, str(rows[0].state))
        if order is not None:
            self._exporter.unexport(order.volume_id, order.attachment_id)


def _do_nothing() -> None:
    raise errors.Conflict('Only a person can put this right; the table of drift says how.')


def _group(found: Iterable[BackendRow], owns: Owns) -> Rows:
    rows: Rows = {}
    for row in found:
        rows.setdefault(row.volume_id, []).append(row)
    return {ident: its for ident, its in rows.items() if owns(ident)}


def _derive(rows: Sequence[BackendRow]) -> str:
    counts: dict[str, int] = {}
    for row in rows:
        if row.state is not None:
            counts[row.state] = counts.get(row.state, 0) + 1
    return states.derive_status(counts, rows[0].claim)


def _summarise(rows: Iterable[BackendRow]) -> Recorded:
    found = [(row.state or '', row.initiator, row.shared_account) for row in rows if row.initiator]
    return tuple(sorted(found, key=lambda one: (one[0], one[1], one[2] or '')))


def _show(state: TargetState | None, *, admits_all: bool) -> target_drift.Shown | None:
    return (
        None
        if state is None
        else target_drift.Shown(
            bool(state.luns) and all(lun.online for lun in state.luns),
            state.initiators,
            state.accounts,
            [one.initiator for one in state.sessions],
            state.is_open,
            [(one.initiator, one.address) for one in state.sessions],
            admits_all,
            state.registered,
        )
    )


def _count(state: TargetState) -> int:
    """Count who may use a target, or does."""
    return len({*state.initiators, *(session.initiator for session in state.sessions)})


def _weigh(kind: Drift, state: TargetState | None) -> int:
    """Tell how many lose something when a target is put right in this."""
    return max(_count(state), 1) if kind in (Drift.UNUSED, Drift.NO_VOLUME) and state is not None else 1


def _judge_file(ident: str, recorded: Recorded, files: frozenset[str]) -> Drift | None:
    found = {state for state, _, _ in recorded}
    if ident in files:
        return None if found & states.ON_TARGET else Drift.STRAY_FILE
    return Drift.NO_FILE if found & states.ADMITTED else None


def _name(kind: Drift, known: tuple[str | None, bool] | None) -> Drift:
    """Name what is wrong with a target that no attachment needs by what is known of its volume."""
    if kind is not Drift.UNUSED:
        return kind
    return Drift.NO_VOLUME if known is None else Drift.UNUSED if known[1] else Drift.LEFTOVER
