# SPDX-License-Identifier: Apache-2.0
"""Leases of steps. Each change of an owner is a compare-and-swap."""

import datetime
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from multiattach.db import models
from multiattach.domain.leases import Lease

L = models.StepLease
A = models.Attachment
V = models.Volume
S = models.Snapshot
M = models.Migration
ATTACHMENT, VOLUME, SNAPSHOT, MIGRATION = 'attachment', 'volume', 'snapshot', 'migration'
_STEPS: dict[str, tuple[Any, Any, Any]] = {
    ATTACHMENT: (A, A.state, A.state_at),
    VOLUME: (V, V.status, V.status_at),
    SNAPSHOT: (S, S.status, S.status_at),
    MIGRATION: (M, M.state, M.state_at),
}
_AT_ONCE = 500  # ids in one statement


def list_of(session: Session, idents: Sequence[str]) -> dict[str, Lease]:
    found: dict[str, Lease] = {}
    for start in range(0, len(idents), _AT_ONCE):
        rows = session.execute(
            sa.select(L.ident, L.since, L.owner, L.lease_until, L.attempts, L.retry_at, L.error).where(
                L.ident.in_(list(idents[start : start + _AT_ONCE]))
            )
        )
        found |= {row.ident: Lease(*row) for row in rows}
    return found


def read_step(session: Session, noun: str, ident: str) -> tuple[str, datetime.datetime] | None:
    """Return state of an attachment, a volume, a snapshot or a migration and since when; None if it is gone."""
    table, state, since = _STEPS[noun]
    query = sa.select(state, since).where(table.id == ident, table.deleted_at.is_(None))
    row = session.execute(query).first()
    return None if row is None else (row[0], row[1])


def insert(session: Session, lease: Lease) -> None:
    """Write a lease where there is none."""
    session.execute(sa.insert(L).values(ident=lease.ident, **_columns(lease)))


def swap(session: Session, before: Lease, after: Lease) -> bool:
    """Replace a lease if it is still as it was read; return whether it was."""
    done = session.execute(
        _update(
            L.ident == before.ident, L.owner == before.owner, L.lease_until == before.until, L.since == before.since
        ).values(**_columns(after))
    )
    return bool(done.rowcount)  # type: ignore[attr-defined]


def replace(session: Session, lease: Lease, now: datetime.datetime) -> bool:
    """Replace a lease that is the same owner's, of an earlier step, at its end, or waits for an attempt.

    The last is for one who is at the step all the time: others tried it because of a clock that is behind.
    """
    done = session.execute(
        _update(
            L.ident == lease.ident,
            sa.or_(L.owner == lease.owner, L.since != lease.since, L.lease_until < now, L.retry_at.is_not(None)),
        ).values(**_columns(lease))
    )
    return bool(done.rowcount)  # type: ignore[attr-defined]


def renew(session: Session, owner: str, idents: Iterable[str], until: datetime.datetime) -> int:
    """Prolong the leases of steps that an owner is at, in one statement.

    What an owner is at may take several states: the lease follows them.

    :returns: how many there were; less than were named if somebody else has taken some.
    """
    since = sa.func.coalesce(
        sa.select(A.state_at).where(A.id == L.ident).scalar_subquery(),
        sa.select(V.status_at).where(V.id == L.ident).scalar_subquery(),
        sa.select(S.status_at).where(S.id == L.ident).scalar_subquery(),
        sa.select(M.state_at).where(M.id == L.ident).scalar_subquery(),
        L.since,
    )
    done = session.execute(
        _update(L.owner == owner, L.ident.in_(list(idents))).values(lease_until=until, since=since, retry_at=None)
    )
    return int(done.rowcount)  # type: ignore[attr-defined]


def delete(session: Session, owner: str, ident: str) -> None:
    """Forget the lease of a step that has ended; that of another owner stays."""
    session.execute(sa.delete(L).where(L.ident == ident, L.owner == owner).execution_options(synchronize_session=False))


def sweep(session: Session, now: datetime.datetime, latest: datetime.datetime) -> int:
    """Forget the leases of steps that ended without their owner.

    :param latest: no lease ends later, but one of a clock that was ahead.
    """
    done = session.execute(
        sa.delete(L)
        .where(
            sa.or_(L.lease_until < now, L.lease_until > latest),
            ~sa.exists().where(A.id == L.ident, A.state_at == L.since),
            ~sa.exists().where(V.id == L.ident, V.status_at == L.since, V.deleted_at.is_(None)),
            ~sa.exists().where(S.id == L.ident, S.status_at == L.since, S.deleted_at.is_(None)),
            ~sa.exists().where(M.id == L.ident, M.state_at == L.since, M.deleted_at.is_(None)),
        )
        .execution_options(synchronize_session=False)
    )
    return int(done.rowcount)  # type: ignore[attr-defined]


def _update(*conditions: sa.ColumnElement[bool]) -> sa.Update:
    return sa.update(L).where(*conditions).execution_options(synchronize_session=False)


def _columns(lease: Lease) -> dict[str, object]:
    return {
        'since': lease.since,
        'owner': lease.owner,
        'lease_until': lease.until,
        'attempts': lease.attempts,
        'retry_at': lease.retry_at,
        'error': lease.error,
    }
