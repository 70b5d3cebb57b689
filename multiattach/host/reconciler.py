# SPDX-License-Identifier: Apache-2.0
"""A compute host compared with what is recorded of it, now and then and on demand, and put right.

Servers' disks and the host's sessions are read between two reads of the rows: what was on its way has
changed its row, or is seen no more with a second look.
"""

import dataclasses
import datetime
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from oslo_log import log

from multiattach.db import models
from multiattach.db.reconciliation import AgentRow
from multiattach.domain import errors, states
from multiattach.domain.drift import Account, Drift
from multiattach.domain.findings import DriftRules, Seen
from multiattach.drivers.connectors.base import HostConnector
from multiattach.drivers.hypervisors.base import FoundDisk, Hypervisor, ServerDisks
from multiattach.host.steps import HostSteps
from multiattach.steps.ledger import Repair
from multiattach.steps.reconciler import Look, Owns, Reconciler
from multiattach.steps.reconciliation import Reconciliation

LOG = log.getLogger(__name__)
A = states.Attachment

# A server that is gone is found out by a step in flight itself.
_AT_REST = states.AGENT_AT_REST
_ALL_GONE = (
    'libvirt has none of the servers with volumes of this host. That is believed only of servers of '
    'which it said itself that they are gone, or if it has another one that was seen here before.'
)
_UNRECORDED = 'No such attachment is recorded: the secret may be one of another service, or of a newer database.'
_ALL_STRAY = (
    'Not one disk and session of this host is named by the database. That is believed only of what '
    'is recorded to have been detached.'
)


class HostReconciler(Reconciler):
    """Looks after one compute host.

    :param rounds: rules, and seconds between two rounds, 0 for none but those that a person asks for.
    """

    silent = 'its hypervisor, or an initiator'

    def __init__(
        self,
        side: Reconciliation,
        hypervisor: Hypervisor,
        connector: HostConnector,
        steps: HostSteps,
        host: str,
        rounds: tuple[DriftRules, float],
    ) -> None:
        super().__init__(host, *rounds)
        self._side = side
        self._hypervisor = hypervisor
        self._connector = connector
        self._steps = steps
        self._losses = 0  # servers that had gone when the last round began

    def is_due(self) -> bool:
        """Return whether it is time for a round, also because a server went."""
        return super().is_due() or self._hypervisor.losses != self._losses

    def show(self) -> dict[str, Any]:
        servers, sessions = self._hypervisor.list_disks(), self._connector.list_sessions()
        return {
            'servers': [
                {
                    'id': one.server_id,
                    'name': one.name,
                    'power_state': one.power_state,
                    'disks': [
                        {
                            'volume_id': disk.volume_id,
                            'device': f'/dev/{disk.target}',
                            'live': disk.is_live,
                            'saved': disk.is_saved,
                            'has_secret': disk.has_secret,
                        }
                        for disk in one.disks
                    ],
                }
                for one in servers
            ],
            'sessions': [{'volume_id': one.volume_id, 'iqn': one.iqn, 'portal': one.portal} for one in sessions],
            **self.reconcile(False),
        }

    def look(self, owns: Owns, fix: bool | None) -> Look:
        found = Look(frozenset({Account.DOMAIN, Account.HOST}), self._side.find_doubt())
        self._losses = self._hypervisor.losses
        try:
            found.seen, found.there = self._look()
        except errors.MultiattachError as exc:
            found.accounts, found.unread = frozenset(), {Account.DOMAIN: exc.message}
        # On a fenced host things only go, and the sweep sees to that.
        found.is_bound = self._steps.fenced is not None
        return found

    # -- looking -------------------------------------------------------------------------------

    def _look(self) -> tuple[list[Seen], int]:
        """Return drift, and how many attachments there are: recorded, or shown if those are more."""
        rows = self._side.list_of_agent(self._host)
        servers = {one.server_id: one for one in self._hypervisor.list_disks()}
        # Sessions tell what their targets are named after.
        names = {row.name_id: row.volume_id for row in rows if row.name_id}
        sessions = {names.get(one.volume_id, one.volume_id) for one in self._connector.list_sessions()}
        seen = self._judge_rows(rows, servers, sessions)
        if seen:  # a step that was taken meanwhile has moved its row
            after = set(self._side.list_of_agent(self._host))
            still = {row.attachment_id for row in rows if row in after}
            seen = [one for one in seen if one.attachment_id in still]
        there = max(sum(row.state in _AT_REST for row in rows), len(_list_disks(servers.values())), len(sessions))
        seen = self._hold_gone(seen, rows, servers)
        strays = self._look_for_strays(rows, servers, sessions)
        return seen + strays + self._look_for_secrets(rows, servers.values()), there

    def _hold_gone(self, seen: list[Seen], rows: list[AgentRow], servers: dict[str, ServerDisks]) -> list[Seen]:
        """Not one server with a volume is there: believe only what libvirt, still the same one, bears out."""
        gone = [one for one in seen if one.kind is Drift.DOMAIN_GONE]
        if not gone or any(row.server_id in servers for row in rows):
            return seen
        ended, known = self._hypervisor.ended, self._side.find_servers([one.about for one in gone])
        others = self._side.find_registered(list(servers))
        return [
            one
            if one.kind is not Drift.DOMAIN_GONE
            or one.about in ended
            or _has_witness(known.get(one.about), others.values())
            else dataclasses.replace(one, hold=_ALL_GONE)
            for one in seen
        ]

    def _judge_rows(self, rows: list[AgentRow], servers: dict[str, ServerDisks], sessions: set[str]) -> list[Seen]:
        lonely = [str(row.server_id) for row in rows if row.state in _AT_REST and row.server_id not in servers]
        known = self._side.find_servers(lonely) if lonely else {}
        seen, now = [], models.now()
        for row in rows:
            server = servers.get(row.server_id or '')
            kind: Drift | None = None
            age: float | None = None
            if server is None and row.state in _AT_REST:
                host, gone_at = known.get(str(row.server_id), (self._host, None))
                if gone_at is None and host != self._host:
                    kind = Drift.DOMAIN_MOVED
                else:
                    kind = Drift.DOMAIN_GONE
                    age = None if gone_at is None else (now - gone_at).total_seconds()
            elif server is not None and row.state == A.ATTACHED:
                disk = _find(server, row.volume_id)
                kind = _judge_disk(row, server, disk)
                if kind is None and disk is not None and self._needs_session(disk) and row.volume_id not in sessions:
                    kind = Drift.LOST_SESSION
            if kind is not None:
                seen.append(Seen(kind, self._host, row.volume_id, row.attachment_id, row.server_id or '', age))
        return seen

    def _needs_session(self, disk: FoundDisk) -> bool:
        return self._connector.shares_sessions and not disk.is_network

    def _look_for_strays(self, rows: list[AgentRow], servers: dict[str, ServerDisks], sessions: set[str]) -> list[Seen]:
        mine = {(row.server_id, row.volume_id) for row in rows if row.state not in states.PLACELESS}
        volumes = {volume for _server, volume in mine}
        disks = {one for one in _list_disks(servers.values()) if one not in mine}
        sessions_shown, sessions = sessions, sessions - volumes
        suspects = sorted({volume for _server, volume in disks} | sessions)
        if not suspects:
            return []
        # Nova and other services mark disks and name targets in the same way: theirs are not recorded here.
        known = set(self._side.find_volumes(suspects))
        if not known:
            return []
        disks &= set(_list_disks(self._hypervisor.list_disks()))
        sessions &= {one.volume_id for one in self._connector.list_sessions()}  # still
        places = self._side.list_places(sorted(known))
        taken = {(one.server_id, one.volume_id) for one in places}
        used = {one.volume_id for one in places if one.host == self._host}
        strays = [
            Seen(Drift.STRAY_DISK, self._host, volume, None, server)
            for server, volume in sorted(disks)
            if volume in known and (server, volume) not in taken
        ] + [
            Seen(Drift.STRAY_SESSION, self._host, volume, None, f'volume-{volume}')
            for volume in sorted(sessions & known - used)
        ]
        if not strays or volumes & sessions_shown or not mine.isdisjoint(_list_disks(servers.values())):
            return strays
        ended = self._side.find_ended([str(one.volume_id) for one in strays])
        return [one if _is_ended(one, ended) else dataclasses.replace(one, hold=_ALL_STRAY) for one in strays]

    def _look_for_secrets(self, rows: Iterable[AgentRow], servers: Iterable[ServerDisks]) -> list[Seen]:
        used = {row.attachment_id for row in rows} | {disk.secret_id for server in servers for disk in server.disks}
        left = self._hypervisor.list_secrets() - used
        # Whoever keeps a secret has written before that it attaches.
        places = self._side.find_attachments(sorted(left)) if left else {}
        return [
            Seen(
                Drift.STRAY_SECRET,
                self._host,
                places[ident].volume_id if ident in places else None,
                ident,
                ident,
                hold=None if ident in places else _UNRECORDED,
            )
            for ident in sorted(left)
            if ident not in places or places[ident].host != self._host
        ]

    # -- putting right -------------------------------------------------------------------------

    def find_step(self, one: Seen) -> Repair:
        if one.kind is Drift.STRAY_SECRET:
            return ('forget', one.about), lambda: self._forget(one.about)
        if one.kind is Drift.STRAY_DISK:
            return ('unplug', one.about, one.volume_id), lambda: self._unplug(one)
        if one.kind is Drift.STRAY_SESSION:
            return ('disconnect', one.volume_id), lambda: self._disconnect(str(one.volume_id))
        ident = str(one.attachment_id)
        if one.kind in (Drift.DOMAIN_GONE, Drift.LATE_UNPLUG):
            return ('detach', ident), lambda: self._detach(one)
        return ('plug', ident), lambda: self._steps.plug_again(ident)

    def _detach(self, one: Seen) -> None:
        ident = str(one.attachment_id)
        rows = [row for row in self._side.list_of_agent(self._host) if row.attachment_id == ident]
        if not rows or rows[0].state not in _AT_REST:
            return  # it is being taken away, or gone
        if one.kind is Drift.DOMAIN_GONE and any(
            server.server_id == one.about for server in self._hypervisor.list_disks()
        ):
            raise errors.Conflict(f'The server {one.about} is back by now.')
        if rows[0].state == A.ERROR_ATTACHING:
            order = self._side.begin_delete(ident, rows[0].state)
            if order is not None:
                self._steps.end_delete(order)
            return
        self._side.begin_detach(ident, rows[0].state)
        self._steps.carry_on(ident)
        left = [row for row in self._side.list_of_agent(self._host) if row.attachment_id == ident]
        if left and left[0].state in _AT_REST:
            raise errors.HostError(left[0].error or f'The attachment is {left[0].state} again.')

    def _unplug(self, one: Seen) -> None:
        volume_id = str(one.volume_id)
        if self._find_place(one.about, volume_id) is not None:
            return
        found = [
            disk
            for server in self._hypervisor.list_disks()
            if server.server_id == one.about
            for disk in server.disks
            if disk.volume_id == volume_id
        ]
        if found:
            # Its secret has the attachment's id; without one, an id that no secret has.
            self._hypervisor.detach(one.about, volume_id, found[0].secret_id or volume_id)
        back = self._find_place(one.about, volume_id)
        if back is not None:  # attached anew while the old disk went: it found the disk that is gone now
            self._steps.plug_again(back)
        elif any(session.volume_id == volume_id for session in self._connector.list_sessions()):
            self._disconnect(volume_id)

    def _forget(self, attachment_id: str) -> None:
        place = self._side.find_attachments([attachment_id]).get(attachment_id)
        if place is None or place.host != self._host:
            self._hypervisor.forget_secret(attachment_id)

    def _find_place(self, server_id: str, volume_id: str) -> str | None:
        return next(
            (
                row.attachment_id
                for row in self._side.list_of_agent(self._host)
                if (row.server_id, row.volume_id) == (server_id, volume_id) and row.state not in states.PLACELESS
            ),
            None,
        )

    def _disconnect(self, volume_id: str) -> None:
        for session in self._connector.list_sessions():
            if session.volume_id == volume_id:
                self._steps.disconnect(
                    session, lambda: any(place.host == self._host for place in self._side.list_places([volume_id]))
                )


def _has_witness(gone: tuple[str, datetime.datetime | None] | None, others: Iterable[datetime.datetime]) -> bool:
    """Tell whether a server that is shown was seen here before the other one was missed.

    Another libvirt shows servers that this service first saw when it missed those of the right one.
    """
    return gone is not None and any(gone[1] is None or since < gone[1] for since in others)


def _is_ended(one: Seen, ended: Mapping[str, Collection[str]]) -> bool:
    """Tell whether the database remembers that what is there was detached."""
    names = ended.get(str(one.volume_id), ())
    return bool(names) if one.kind is Drift.STRAY_SESSION else one.about in names


def _find(server: ServerDisks, volume_id: str) -> FoundDisk | None:
    return next((disk for disk in server.disks if disk.volume_id == volume_id), None)


def _judge_disk(row: AgentRow, server: ServerDisks, disk: FoundDisk | None) -> Drift | None:
    if disk is None or (server.is_active and not disk.is_live):
        return Drift.LATE_UNPLUG if row.error else Drift.LOST_DISK
    if server.is_active and server.is_persistent and not disk.is_saved:
        return Drift.UNSAVED_DISK
    return None if disk.has_secret else Drift.LOST_SECRET


def _list_disks(servers: Iterable[ServerDisks]) -> list[tuple[str, str]]:
    return [(server.server_id, disk.volume_id) for server in servers for disk in server.disks]
