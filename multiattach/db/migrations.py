# SPDX-License-Identifier: Apache-2.0
"""Rows of migrations. Each move is a compare-and-swap; the volume's row is locked by who calls."""

import datetime
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from multiattach.db import commits, messages, models, transitions, volumes
from multiattach.domain import errors, migrations, states
from multiattach.domain.messages import MIGRATE_FAILED

M = models.Migration
V = models.Volume
_LIVE = M.deleted_at.is_(None)
_ENDED = frozenset({migrations.State.DONE, migrations.State.FAILED})


def find(session: Session, migration_id: str) -> M | None:
    """Load a migration that is not over, as it is now."""
    return session.scalars(
        sa.select(M).where(M.id == migration_id, _LIVE).execution_options(populate_existing=True)
    ).first()


def find_under_way(session: Session, volume_id: str) -> M | None:
    """Load the migration of a volume that has not left its source."""
    return session.scalars(
        sa.select(M)
        .where(M.volume_id == volume_id, _LIVE, M.state.in_(sorted(migrations.BEFORE)))
        .execution_options(populate_existing=True)
    ).first()


def is_left_at(session: Session, volume_id: str, backend: str) -> bool:
    """Tell whether a migration of a volume has something to remove at a backend."""
    found = sa.select(M.id).where(
        M.volume_id == volume_id,
        _LIVE,
        sa.or_(
            sa.and_(M.destination == backend, M.state.in_(sorted(migrations.AT_DESTINATION))),
            sa.and_(M.source == backend, M.state.in_(sorted(migrations.AT_SOURCE))),
        ),
    )
    return session.execute(found.limit(1)).first() is not None


def list_open(session: Session, backend: str) -> list[tuple[str, str, str, datetime.datetime]]:
    """List the migrations whose next step is a backend's: id, volume, state and since when, oldest first."""
    rows = session.execute(
        sa.select(M.id, M.volume_id, M.state, M.state_at)
        .where(
            _LIVE,
            sa.or_(
                sa.and_(M.destination == backend, M.state.in_(sorted(migrations.AT_DESTINATION))),
                sa.and_(M.source == backend, M.state.in_(sorted(migrations.AT_SOURCE))),
            ),
        )
        .order_by(M.state_at)
    )
    return [(row[0], row[1], row[2], row[3]) for row in rows]


def sum_up(session: Session) -> dict[str, int]:
    """Sum up the GiB that migrations take on backends where the volumes are not."""
    before = M.state.in_(sorted(migrations.BEFORE | migrations.AT_DESTINATION))
    backend = sa.case((before, M.destination), else_=M.source)
    rows = session.execute(
        sa.select(backend, sa.func.sum(sa.func.coalesce(V.new_size, V.size)))
        .join(V, V.id == M.volume_id)
        .where(_LIVE)
        .group_by(backend)
    )
    return {str(name): int(total) for name, total in rows}


def begin(session: Session, volume: V, migration: M) -> None:
    """Write the intent to migrate a locked volume, whose status was moved before.

    :param migration: the row without state and marker.
    """
    migration.state, migration.held_status = migrations.State.STARTING, _read_status(session, volume.id)
    migration.state_at = migration.marker = moment = models.now()
    _show(session, volume.id, migrations.STATES[migrations.State.STARTING].shown, moment)
    session.add(migration)
    session.flush()


def is_untouched(volume: V, migration: M) -> bool:
    """Tell whether a locked volume is as its migration left it: where it is, and nobody could write to it."""
    return (
        volume.host == migration.source
        and volume.status == migration.held_status
        and (volume.status != states.Volume.AVAILABLE or volume.updated_at == migration.marker)
    )


def describe(session: Session, volume: V, **values: Any) -> None:
    """Write columns of a locked volume that say nothing of its data, nor of what it needs: its migration goes on."""
    moment = models.now()
    if volume.migration_status in migrations.UNDER_WAY:
        keep(session, [volume.id], moment)
    volumes.update(session, volume.id, moment=moment, **values)


def keep(session: Session, volume_ids: Sequence[str], moment: datetime.datetime) -> None:
    """Have a change of locked volumes that is about to be written not break their migrations off.

    :param moment: what their ``updated_at`` will be.
    """
    now = sa.select(V.updated_at).where(V.id == M.volume_id).scalar_subquery()
    session.execute(
        sa.update(M)
        .where(M.volume_id.in_(volume_ids), _LIVE, M.state.in_(sorted(migrations.BEFORE)), M.marker == now)
        .values(marker=moment)
        .execution_options(synchronize_session=False)
    )


def move(
    session: Session,
    migration: M,
    event: str,
    *,
    volume: V | None = None,
    token: str | None = None,
    new_token: str | None = None,
    **values: Any,
) -> None:
    """Move a migration by an event.

    :param volume: its locked volume, which is to show it; None for one that is gone, or shows something else.
    :param token: of the attempt that must not have been overtaken.
    :param new_token: of an attempt that overtakes the others.
    :raises InvalidTransition: it is in no state for that, or another attempt was begun.
    """
    row = migrations.EVENTS[event]
    assert row.target is not None
    moment = models.now()
    values |= {'state': row.target, 'updated_at': moment} | ({'token': new_token} if new_token else {})
    if migration.state != row.target:  # else it is the same step, of which attempts are counted
        values['state_at'] = moment
    if row.target in _ENDED:
        values['deleted_at'] = moment
    if volume is not None:
        values['marker'] = moment
        _show(session, volume.id, migrations.STATES[migrations.State(row.target)].shown, moment)
    conditions = [M.id == migration.id, _LIVE, M.state.in_(sorted(row.sources))]
    if token is not None:
        conditions.append(M.token == token)
    done = session.execute(
        sa.update(M).where(*conditions).values(**values).execution_options(synchronize_session=False)
    )
    if done.rowcount != 1:  # type: ignore[attr-defined]
        raise errors.InvalidTransition('migration', migration.id, event)


def break_off(session: Session, migration: M, volume: V | None, error: str, *, is_draft: bool = False) -> None:
    """End a migration that has not left its source: its copy is to be removed, and the user is told.

    :param volume: its locked volume; None if it is gone.
    :param is_draft: the copy surely has not the name of the volume, which somebody else's storage may have.
    """
    event = 'revoke' if migration.state == migrations.State.COPIED and not is_draft else 'fail'
    move(session, migration, event, volume=volume, error=error[:1000])
    if volume is None:
        return
    if volume.status == migration.held_status and volume.status != states.Volume.AVAILABLE:
        transitions.move_volume(session, volume.id, 'migrate_failed')
    messages.add(
        session,
        volume.project_id,
        volume.id,
        MIGRATE_FAILED,
        f'migrate volume: {error}',
        request_id=migration.request_id,
    )


def note_progress(session: Session, migration_id: str, token: str, percent: int) -> bool:
    """Write how far a copy is; return whether that attempt is still wanted."""
    done = session.execute(
        sa.update(M)
        .where(M.id == migration_id, M.token == token, M.state == migrations.State.COPYING)
        .values(progress=percent)
        .execution_options(synchronize_session=False)
    )
    return bool(done.rowcount)  # type: ignore[attr-defined]


def show(session: Session, volume_id: str, status: str | None) -> None:
    """Write what a locked volume shows of its migrations."""
    _show(session, volume_id, status, models.now())


def rename(session: Session, old: str, new: str) -> None:
    """Write another backend into migrations that are not over."""
    for column in ('source', 'destination'):
        session.execute(
            sa.update(M)
            .where(_LIVE, getattr(M, column) == old)
            .values(**{column: new})
            .execution_options(synchronize_session=False)
        )


def list_of_volume(session: Session, volume_id: str) -> Iterable[M]:
    """List the migrations of a volume that are not over, newest first."""
    return session.scalars(sa.select(M).where(M.volume_id == volume_id, _LIVE).order_by(M.created_at.desc()))


def _show(session: Session, volume_id: str, status: str | None, moment: datetime.datetime) -> None:
    session.execute(
        sa.update(V)
        .where(V.id == volume_id)
        .values(migration_status=status, updated_at=moment)
        .execution_options(synchronize_session=False)
    )
    commits.note_volume(session, volume_id, moment)


def _read_status(session: Session, volume_id: str) -> str:
    return str(session.scalar(sa.select(V.status).where(V.id == volume_id)))
