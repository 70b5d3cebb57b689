# SPDX-License-Identifier: Apache-2.0
"""Snapshots: the one writer of their statuses, and queries."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.orm import Session

from multiattach.db import aggregates, changes, items, models, paging
from multiattach.db.commits import Work
from multiattach.db.volumes import check_distinct
from multiattach.domain import errors, snapshots, states
from multiattach.domain.snapshots import SNAPSHOT_EVENTS

S = models.Snapshot
V = models.Volume
M = models.SnapshotMetadata
_LIVE = S.deleted_at.is_(None)
_COLUMNS = (
    S.id,
    S.volume_id,
    S.project_id,
    S.user_id,
    S.display_name,
    S.display_description,
    S.size,
    S.status,
    S.progress,
    S.created_at,
    S.updated_at,
    sa.select(aggregates.ObjectOf(M.key, M.value)).where(M.snapshot_id == S.id).correlate(S).scalar_subquery(),
)
_DETAIL = sa.select(*_COLUMNS).where(_LIVE)
_OF_HOST = sa.select(S).join(V, V.id == S.volume_id).where(_LIVE, V.host == sa.bindparam('host'))


# -- statuses --------------------------------------------------------------------------------------


def import_rows(work: Work, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert snapshots in the statuses that they had elsewhere."""
    moment = models.now()
    work.execute(sa.insert(models.table_of(S)), [{**row, 'status_at': moment} for row in rows])


def rewrite_imported(work: Work, snapshot_id: str, values: Mapping[str, Any]) -> None:
    """Make an imported snapshot what it is elsewhere by now; nobody here has changed it."""
    table = models.table_of(S)
    work.execute(sa.update(table).where(table.c.id == snapshot_id).values({**values, 'status_at': models.now()}))


def move(work: Work, snapshot_id: str, event: str, **values: Any) -> None:
    """Move a snapshot by an event, with what is written in the same UPDATE.

    :param event: key of :data:`~multiattach.domain.snapshots.SNAPSHOT_EVENTS`.
    :raises InvalidTransition: it is in no status for that.
    """
    row = SNAPSHOT_EVENTS[event]
    assert row.target is not None
    moment = models.now()
    values |= {'status': row.target, 'status_at': moment, 'updated_at': moment}
    if row.target == snapshots.Snapshot.DELETED:
        values['deleted_at'] = moment
    done = work.execute(
        sa.update(S)
        .where(S.id == snapshot_id, _LIVE, models.is_one_of(S.status, row.sources))
        .values(**values)
        .execution_options(synchronize_session=False)
    )
    if done.rowcount != 1:  # type: ignore[attr-defined]
        raise errors.InvalidTransition('snapshot', snapshot_id, event)
    changes.note(
        work,
        lambda: changes.Change(
            changes.SNAPSHOT,
            snapshot_id,
            event,
            row.target,
            moment,
            *changes.state_before(work, S, snapshot_id, 'status', moment),
        ),
    )


def reset(session: Session, snapshot_id: str, status: str, progress: str | None = None) -> None:
    """Set a status at the word of an admin, or of who takes snapshots."""
    moment = models.now()
    values = {'status': status, 'status_at': moment, 'updated_at': moment}
    if progress is not None:
        values['progress'] = progress
    session.execute(
        sa.update(S).where(S.id == snapshot_id, _LIVE).values(**values).execution_options(synchronize_session=False)
    )
    changes.note(session, lambda: changes.Change(changes.SNAPSHOT, snapshot_id, 'reset', status, moment))


def add(session: Session, snapshot: S, metadata: Mapping[str, str]) -> None:
    """Insert a snapshot in ``creating``."""
    snapshot.status, snapshot.progress = snapshots.Snapshot.CREATING, snapshots.NO_PROGRESS
    session.add(snapshot)
    session.flush()
    replace_metadata(session, snapshot.id, metadata, keep_others=True)
    changes.note(
        session, lambda: changes.Change(changes.SNAPSHOT, snapshot.id, 'create', snapshot.status, snapshot.created_at)
    )


def update(session: Session, snapshot_id: str, **values: str | None) -> None:
    """Write columns that are no part of the life of a snapshot, so never ``status``."""
    assert 'status' not in values
    moment = models.now()
    session.execute(
        sa.update(S)
        .where(S.id == snapshot_id, _LIVE)
        .values(updated_at=moment, **values)
        .execution_options(synchronize_session=False)
    )
    changes.note(session, lambda: changes.Change(changes.SNAPSHOT, snapshot_id, 'update', None, moment))


def write_progress(session: Session, snapshot_id: str, progress: str) -> None:
    session.execute(
        sa.update(S)
        .where(S.id == snapshot_id, _LIVE, S.status == snapshots.Snapshot.CREATING)
        .values(progress=progress)
        .execution_options(synchronize_session=False)
    )


def replace_metadata(session: Session, snapshot_id: str, wanted: Mapping[str, str], *, keep_others: bool) -> None:
    """Write user metadata; the caller holds the snapshot's lock. *keep_others* leaves keys that are not named."""
    check_distinct(wanted)
    items.put(session, M.snapshot_id, snapshot_id, wanted, keep_others=keep_others)


def delete_metadata(session: Session, snapshot_id: str, key: str) -> bool:
    return items.delete(session, M.snapshot_id, snapshot_id, [key])


# -- reading ---------------------------------------------------------------------------------------


def get(work: Session | sa.Connection, snapshot_id: str) -> models.SnapshotDetail:
    """Load a snapshot with all that its view shows."""
    row = work.execute(_DETAIL.where(S.id == snapshot_id)).first()
    if row is None:
        raise errors.SnapshotNotFound(snapshot_id)
    return _describe(row)


def _describe(row: Any) -> models.SnapshotDetail:
    *own, metadata = row
    return models.SnapshotDetail(*(*own, dict(sorted(json.loads(metadata).items())) if metadata else {}))


def lock(session: Session, snapshot_id: str) -> S:
    """Load a snapshot's row and hold its lock; whoever locks its volume, too, has done so before."""
    row = session.scalars(
        sa.select(S).where(S.id == snapshot_id, _LIVE).with_for_update(), execution_options={'populate_existing': True}
    ).first()
    if row is None:
        raise errors.SnapshotNotFound(snapshot_id)
    return row


def list_page(
    session: Session, filters: Sequence[sa.ColumnElement[bool]], page: paging.Page
) -> list[models.SnapshotDetail]:
    query = paging.paginate(session, _DETAIL.where(*filters), S, page)
    return [_describe(row) for row in session.execute(query, execution_options=paging.SHAPED)]


def count(session: Session, filters: Sequence[sa.ColumnElement[bool]]) -> int:
    query = sa.select(sa.func.count()).select_from(S).where(_LIVE, *filters)
    return int(session.scalar(query, execution_options=paging.SHAPED) or 0)


def metadata_filter(wanted: Mapping[str, str]) -> list[sa.ColumnElement[bool]]:
    """Build a condition for each item of metadata that a snapshot must have."""
    return [sa.exists().where(M.snapshot_id == S.id, M.key == key, M.value == value) for key, value in wanted.items()]


def in_zone(zone: str) -> sa.ColumnElement[bool]:
    return sa.exists().where(V.id == S.volume_id, V.availability_zone == zone)


# -- of a volume -----------------------------------------------------------------------------------


def list_of_volume(session: Session, volume_id: str, *, for_update: bool = False) -> list[S]:
    """List a volume's snapshots, newest first; the caller holds the volume's lock if he locks them."""
    query = sa.select(S).where(S.volume_id == volume_id, _LIVE).order_by(S.created_at.desc(), S.id.desc())
    return list(session.scalars(query.with_for_update() if for_update else query))


def has_any(session: Session, volume_id: str, statuses: Iterable[str] | None = None) -> bool:
    """Return whether a volume has snapshots, perhaps in some statuses."""
    query = sa.select(S.id).where(S.volume_id == volume_id, _LIVE)
    if statuses is not None:
        query = query.where(models.is_one_of(S.status, statuses))
    return session.execute(query.limit(1)).first() is not None


def is_being_cloned(session: Session, snapshot: S) -> bool:
    """Return whether a worker makes, or is to make, a volume from a snapshot whose lock the caller holds."""
    # A volume from a snapshot is where that is: an index by host and status serves this without one of its own.
    source = orm.aliased(V)
    host = sa.select(source.host).where(source.id == snapshot.volume_id).scalar_subquery()
    query = sa.select(V.id).where(
        V.snapshot_id == snapshot.id, V.status == states.Volume.CREATING, V.host == host, V.deleted_at.is_(None)
    )
    return session.execute(query.limit(1)).first() is not None


def give(session: Session, volume_id: str, project_id: str, user_id: str | None) -> None:
    """Make the snapshots of a locked volume another project's."""
    session.execute(
        sa.update(S)
        .where(S.volume_id == volume_id, S.deleted_at.is_(None))
        .values(project_id=project_id, user_id=user_id, updated_at=models.now())
        .execution_options(synchronize_session=False)
    )


def forget(session: Session, volume_id: str) -> None:
    """Write of the snapshots of a locked volume, whose backend is gone for good, that they are deleted."""
    for row in list_of_volume(session, volume_id, for_update=True):
        if row.status == snapshots.Snapshot.RESTORING:
            move(session, row.id, 'revert_failed')
        move(session, row.id, 'force_delete')
        move(session, row.id, 'deleted')


# -- of a backend ----------------------------------------------------------------------------------


def load(session: Session, host: str, snapshot_id: str, status: str) -> S | None:
    """Load a snapshot of a backend, None if it is not (any more) in a status."""
    found = _OF_HOST.where(S.id == snapshot_id, S.status == status)
    return session.scalars(found, {'host': host}).first()


def list_open(session: Session, host: str) -> list[S]:
    """List the snapshots of a backend whose next step is a worker's, oldest first."""
    found = _OF_HOST.where(models.is_one_of(S.status, snapshots.WORKER_SNAPSHOTS)).order_by(S.created_at)
    return list(session.scalars(found, {'host': host}))


def list_taken(session: Session, host: str) -> dict[str, str]:
    """Return the ids of a backend's snapshots that are being managed, by what their storage is called till then."""
    creating = sa.select(S.managed_from, S.id).join(V, V.id == S.volume_id)
    rows = session.execute(
        creating.where(_LIVE, V.host == host, S.status == snapshots.Snapshot.CREATING, S.managed_from.is_not(None))
    )
    return {str(row[0]): row[1] for row in rows}


def list_recorded(session: Session, host: str) -> list[tuple[str, str, str]]:
    """List id, volume and status of a backend's snapshots."""
    rows = session.execute(
        sa.select(S.id, S.volume_id, S.status).join(V, V.id == S.volume_id).where(_LIVE, V.host == host)
    )
    return [(row[0], row[1], row[2]) for row in rows]
