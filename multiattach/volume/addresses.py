# SPDX-License-Identifier: Apache-2.0
"""Where hosts were told to find volumes, compared with where the target has them today."""

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from multiattach.db.reconciliation import BackendRow
from multiattach.domain import connection, states
from multiattach.domain.drift import Drift
from multiattach.domain.findings import Seen
from multiattach.drivers.targets.base import Target
from multiattach.steps.reconciliation import Reconciliation


class Addresses:
    """Looks at what is stored; what was right stays so while the row and this process do."""

    def __init__(self, side: Reconciliation, target: Target, host: str) -> None:
        self._side = side
        self._target = target
        self._host = host
        self._right: dict[str, datetime.datetime] = {}

    def look(self, rows: Mapping[str, Sequence[BackendRow]]) -> list[Seen]:
        """Look at the attachments that a target must admit.

        :raises TargetUnavailable: the target does not say who is logged in.
        """
        mine = {
            row.attachment_id: row
            for its in rows.values()
            for row in its
            if row.attachment_id is not None and row.state in states.ADMITTED and row.state_at
        }
        self._right = {ident: at for ident, at in self._right.items() if ident in mine and mine[ident].state_at == at}
        unknown = [ident for ident in mine if ident not in self._right]
        told = self._side.list_infos(unknown) if unknown else {}
        wrong = []
        for ident, info in told.items():
            row = mine[ident]
            if connection.relocate(info, self._target.locate(row.volume_id)) is not None:
                wrong.append((row, _show(info)))
            elif row.state_at is not None:
                self._right[ident] = row.state_at
        shown = self._target.list_exports() if wrong else {}
        seen = []
        for row, portal in wrong:
            state, now = shown.get(row.volume_id), _show(self._target.locate(row.volume_id).tell())
            hold = None
            if state is not None and any(one.initiator == row.initiator for one in state.sessions):
                hold = (
                    f'{row.initiator} is logged in. The address is refreshed when that login ends, or '
                    'when the host asks for its connection again; "openstack multiattach doctor --fix" '
                    'does it now.'
                )
            seen.append(
                Seen(Drift.OLD_PORTAL, self._host, row.volume_id, row.attachment_id, f'{portal}, now {now}', hold=hold)
            )
        return seen


def _show(told: Mapping[str, Any]) -> str:
    if 'hosts' in told:
        return ', '.join(f'{host}:{port}' for host, port in zip(told['hosts'], told['ports'], strict=False))
    return str(told.get('target_portal'))
