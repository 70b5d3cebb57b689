# SPDX-License-Identifier: Apache-2.0
"""Targets that Cinder made, with hosts logged in: they stay as they are until this service has to change them.

Those of tgt admit whoever has the volume's one account (ACL ``ALL``). They are restricted to the initiators on record
with the first step that changes them, or once there is no way back to Cinder any more. Those of LIO name initiators,
which know the volume as LUN 0.
"""

import dataclasses
from collections.abc import Callable, Sequence

from multiattach.db.attachments import Admitted
from multiattach.domain import sharing
from multiattach.drivers.targets.base import LUN, Grant, Target, TargetState


def make_grants(target: Target, volume_id: str, rows: Sequence[Admitted]) -> tuple[Grant, ...]:
    """Make the grants of all whom a target must admit, one of each initiator."""
    known: dict[str, list[Admitted]] = {}
    for row in rows:
        if row.initiator and row.connection_info:
            known.setdefault(row.initiator, []).append(row)
    return tuple(_make_grant(target, volume_id, initiator, some) for initiator, some in sorted(known.items()))


def _make_grant(target: Target, volume_id: str, initiator: str, rows: Sequence[Admitted]) -> Grant:
    mode = sharing.join_modes(row.attach_mode for row in rows)
    made = target.make_grant(volume_id, initiator, mode, rows[-1].connection_info)
    told = {int((row.connection_info or {}).get('target_lun', LUN)) for row in rows}
    return dataclasses.replace(made, luns=tuple(sorted(told)))


def restrict(target: Target, volume_id: str, rows: Sequence[Admitted] | None) -> None:
    """Have a target that admits everybody admit these only, before one of them comes or goes.

    :param rows: all whom it must admit, None if Cinder did not make it.
    """
    if rows is not None:
        target.restrict(volume_id, make_grants(target, volume_id, rows))


def is_served(state: TargetState, rows: Sequence[Admitted], name_account: Callable[[str, str], str]) -> bool:
    """Tell whether a target that Cinder made has all that its attachments need."""
    names = {row.initiator for row in rows if row.initiator}
    accounts = {row.shared_account or name_account(state.volume_id, row.initiator) for row in rows if row.initiator}
    is_online = state.is_open and bool(state.luns) and all(lun.online for lun in state.luns)
    return is_online and accounts <= {*state.accounts} and (bool(state.addresses) or names <= {*state.initiators})
