# SPDX-License-Identifier: Apache-2.0
"""Rows that name a backend, counted and moved."""

import sqlalchemy as sa
from sqlalchemy.orm import Session

from multiattach.db import commits, migrations, models

A, V, S = models.Attachment, models.Volume, models.Service


def is_known(session: Session, host: str) -> bool:
    """Return whether a volume, a deleted one too, names a backend (``host@backend``)."""
    return session.scalars(sa.select(V.id).where(V.host == host).limit(1)).first() is not None


def list_names(session: Session, binary: str) -> list[str]:
    """List the names of backends that volumes or workers have, in order."""
    workers = session.scalars(sa.select(S).where(S.binary == binary))
    names = {(row.report or {}).get('cluster') or row.host for row in workers}
    return sorted(names | set(session.scalars(sa.select(V.host).where(V.host.is_not(None)).distinct())))


def count(session: Session, host: str) -> tuple[int, int, int]:
    """Count what names a backend: live volumes, deleted ones, and live attachments."""
    live = sa.func.coalesce(sa.func.sum(sa.case((V.deleted_at.is_(None), 1), else_=0)), 0)
    total, alive = session.execute(sa.select(sa.func.count(), live).where(V.host == host)).one()
    attachments = session.scalar(
        sa.select(sa.func.count())
        .select_from(A)
        .join(V, V.id == A.volume_id)
        .where(V.host == host, V.deleted_at.is_(None), A.deleted_at.is_(None))
    )
    return int(alive), int(total) - int(alive), int(attachments or 0)


def move(
    session: Session, old: str, new: str, service_uuid: str | None, marker: str, limit: int
) -> tuple[str, int, int, int] | None:
    """Write another backend into some volumes, in order of their ids.

    :param service_uuid: UUID of its worker, None if none ever reported.
    :param marker: only volumes after this id.
    :returns: the last id, live volumes, deleted ones, and live attachments; None if there were no volumes.
    """
    rows = session.execute(
        sa.select(V.id, V.deleted_at).where(V.host == old, V.id > marker).order_by(V.id).limit(limit).with_for_update()
    ).all()
    if not rows:
        return None
    idents, moment = [row.id for row in rows], models.now()
    migrations.keep(session, idents, moment)
    session.execute(
        sa.update(V)
        .where(V.id.in_(idents), V.host == old)
        .values(host=new, service_uuid=service_uuid, updated_at=moment)
        .execution_options(synchronize_session=False)
    )
    commits.note_volume(session, idents[-1], moment)
    attachments = session.scalar(
        sa.select(sa.func.count()).select_from(A).where(A.volume_id.in_(idents), A.deleted_at.is_(None))
    )
    live = sum(row.deleted_at is None for row in rows)
    return idents[-1], live, len(rows) - live, int(attachments or 0)
