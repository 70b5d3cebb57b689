# SPDX-License-Identifier: Apache-2.0
"""Numbers of rows, for the metrics and the upgrade checks."""

import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from multiattach.db import models
from multiattach.domain import migrations, snapshots, states
from multiattach.domain.gateways import State

_A, _V, _S, _E, _G = models.Attachment, models.Volume, models.Service, models.Epoch, models.Gateway
_P, _M = models.Snapshot, models.Migration
ATTACHMENT, VOLUME, SNAPSHOT, MIGRATION = 'attachment', 'volume', 'snapshot', 'migration'


def count_stuck(session: Session, late: datetime.datetime) -> dict[tuple[str, str], int]:
    """Count, by noun and state, the rows that wait for a worker or an agent since before a moment (UTC)."""
    numbers = {(ATTACHMENT, str(state)): 0 for state in sorted(states.OWN_STATES)}
    numbers |= {(VOLUME, str(status)): 0 for status in sorted(states.WORKER_STATUSES)}
    numbers |= {(SNAPSHOT, str(status)): 0 for status in sorted(snapshots.WORKER_SNAPSHOTS)}
    numbers |= {(MIGRATION, str(state)): 0 for state in sorted(migrations.OPEN)}
    for noun, state, since, wanted, deleted in (
        (ATTACHMENT, _A.state, _A.state_at, states.OWN_STATES, _A.deleted_at),
        (VOLUME, _V.status, _V.status_at, states.WORKER_STATUSES, _V.deleted_at),
        (SNAPSHOT, _P.status, _P.status_at, snapshots.WORKER_SNAPSHOTS, _P.deleted_at),
        (MIGRATION, _M.state, _M.state_at, migrations.OPEN, _M.deleted_at),
    ):
        rows = session.execute(
            sa.select(state, sa.func.count())
            .where(deleted.is_(None), state.in_(sorted(wanted)), since < late)
            .group_by(state)
        )
        numbers |= {(noun, name): number for name, number in rows}
    return numbers


def list_heartbeats(session: Session) -> list[tuple[str, datetime.datetime | None]]:
    return [(binary, at) for binary, at in session.execute(sa.select(_S.binary, _S.heartbeat_at))]


def list_doubts(session: Session) -> dict[str, bool]:
    return {name: since is not None for name, since in session.execute(sa.select(_E.backend, _E.doubted_at))}


def count_gateways(session: Session) -> dict[tuple[str, str], int]:
    """Count the gateways by backend and state; none of a state is told, too."""
    numbers: dict[tuple[str, str], int] = {}
    for backend, state, number in session.execute(
        sa.select(_G.backend, _G.state, sa.func.count()).group_by(_G.backend, _G.state)
    ):
        numbers |= {(backend, str(one)): 0 for one in State if (backend, str(one)) not in numbers}
        numbers[backend, state] = number
    return numbers


def count_unknown(session: Session) -> list[tuple[str, Any, int]]:
    """List table, state and number of the rows in states that this release does not know."""
    return [
        (column.class_.__tablename__, name, number)
        for column, known in (
            (_A.state, states.Attachment),
            (_V.status, states.Volume),
            (_P.status, snapshots.Snapshot),
        )
        for name, number in session.execute(
            sa.select(column, sa.func.count()).where(column.not_in(list(known))).group_by(column)
        )
    ]
