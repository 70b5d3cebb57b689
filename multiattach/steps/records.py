# SPDX-License-Identifier: Apache-2.0
"""Drift that the rows show by themselves: marks that nobody takes back, connectors that never came, names."""

import datetime
from collections.abc import Callable, Collection, Iterable, Sequence

from multiattach.db import models
from multiattach.db.reconciliation import BackendRow
from multiattach.domain import states, target_drift
from multiattach.domain.drift import Drift
from multiattach.domain.findings import DriftRules, Seen
from multiattach.steps.reconciliation import Reconciliation

MARKS = {
    claim: Drift.DETACH_MARK if claim in states.DETACHING_CLAIMS else Drift.RESERVE_MARK
    for claim in states.MARKS
    if claim is not None
}
# Of servers that no host agent registered: tells which of them are on a host.
FindOnHost = Callable[[Collection[str]], Collection[str]]


class Records:
    def __init__(self, side: Reconciliation, rules: DriftRules) -> None:
        self._side = side
        self._rules = rules

    def look(
        self, host: str, rows: Sequence[BackendRow], find_on_host: FindOnHost = lambda _ids: (), *, each: bool = False
    ) -> list[Seen]:
        """Look at rows."""
        return [
            *self._find_marks(host, rows),
            *self._find_unconnected(host, rows, find_on_host),
            *self._find_shared_names(host, rows, each=each),
        ]

    def _find_marks(self, host: str, rows: Iterable[BackendRow]) -> list[Seen]:
        seen: dict[str, Seen] = {}
        for row in rows:
            if row.claim not in MARKS or row.claimed_at is None or row.volume_id in seen:
                continue
            kind, age = MARKS[row.claim], _tell_age(row.claimed_at)
            if age >= self._rules.find_grace(kind):
                seen[row.volume_id] = Seen(kind, host, row.volume_id, None, row.claim, age)
        return list(seen.values())

    def _find_unconnected(self, host: str, rows: Iterable[BackendRow], find_on_host: FindOnHost) -> list[Seen]:
        limit = self._rules.find_grace(Drift.NO_CONNECTOR)
        bare = {
            str(row.attachment_id): row
            for row in rows
            if row.state == states.Attachment.ATTACHED
            and row.initiator is None
            and row.server_id
            and row.state_at is not None
            and _tell_age(row.state_at) >= limit
        }
        if not bare:
            return []
        never = self._side.list_never_connected(list(bare))
        found = [row for ident, row in bare.items() if ident in never]
        servers = {str(row.server_id) for row in found}
        known = self._side.find_servers(sorted(servers)) if servers else {}
        running = {ident for ident, (_host, gone_at) in known.items() if gone_at is None}
        strangers = servers - set(known)
        running |= set(find_on_host(strangers)) if strangers else set()
        return [
            Seen(
                Drift.NO_CONNECTOR, host, row.volume_id, row.attachment_id, str(row.server_id), _tell_age(row.state_at)
            )
            for row in found
            if row.server_id in running and row.state_at
        ]

    def _find_shared_names(self, host: str, rows: Sequence[BackendRow], *, each: bool) -> list[Seen]:
        mine: dict[str, set[str]] = {}
        for row in rows:
            if row.initiator and row.state in states.ON_TARGET:
                mine.setdefault(row.initiator, set()).add(row.volume_id)
        shared = self._side.list_shared_names(list(mine) if each else None) if mine else {}
        return [
            Seen(Drift.SHARED_NAME, host, volume_id, None, target_drift.name_places(initiator, hosts))
            for initiator, hosts in shared.items()
            if initiator in mine
            for volume_id in (sorted(mine[initiator]) if each else (None,))
        ]


def _tell_age(moment: datetime.datetime) -> float:
    return (models.now() - moment).total_seconds()
