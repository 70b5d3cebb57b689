# SPDX-License-Identifier: Apache-2.0
"""Default types of projects."""

import sqlalchemy as sa
from sqlalchemy.orm import Session

from multiattach.db import models

D = models.DefaultType


def list_all(session: Session) -> list[D]:
    return list(session.scalars(sa.select(D).order_by(D.project_id)))


def find(session: Session, project_id: str) -> D | None:
    return session.get(D, project_id)


def put(session: Session, project_id: str, type_id: str) -> D:
    row = find(session, project_id)
    if row is None:
        row = D(project_id=project_id, volume_type_id=type_id)
        session.add(row)
    row.volume_type_id = type_id
    session.flush()
    return row


def delete(session: Session, row: D) -> None:
    session.delete(row)


def find_type_id(session: Session, project_id: str) -> str | None:
    kind = models.VolumeType
    # One that is gone says nothing: releases before this one let it go.
    return session.scalars(
        sa.select(D.volume_type_id)
        .join(kind, kind.id == D.volume_type_id)
        .where(D.project_id == project_id, kind.deleted_at.is_(None))
    ).first()


def find_project(session: Session, type_id: str, *, without_access: bool) -> str | None:
    """Find a project whose default type this is, and which was given no access to it if so asked."""
    access = models.TypeAccess
    query = sa.select(D.project_id).where(D.volume_type_id == type_id)
    if without_access:
        query = query.where(~sa.exists().where(access.volume_type_id == type_id, access.project_id == D.project_id))
    return session.scalars(query.order_by(D.project_id).limit(1)).first()
