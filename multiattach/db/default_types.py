# SPDX-License-Identifier: Apache-2.0
"""Default types of projects."""

import sqlalchemy as sa
from sqlalchemy.orm import Session

from multiattach.db import models

D = models.DefaultType


def list_all(session: Session) -> list[D]:
    """List the default types of all projects, in order of their ids."""
    return list(session.scalars(sa.select(D).order_by(D.project_id)))


def find(session: Session, project_id: str) -> D | None:
    """Load the default type of a project, if one is set."""
    return session.get(D, project_id)


def put(session: Session, project_id: str, type_id: str) -> D:
    """Set the default type of a project."""
    row = find(session, project_id)
    if row is None:
        row = D(project_id=project_id, volume_type_id=type_id)
        session.add(row)
    row.volume_type_id = type_id
    session.flush()
    return row


def delete(session: Session, row: D) -> None:
    """Forget the default type of a project."""
    session.delete(row)


def find_type_id(session: Session, project_id: str) -> str | None:
    """Find the default type of a project.

    :returns: UUID of the type, or None.
    """
    kind = models.VolumeType
    # One that is gone says nothing: releases before this one let it go.
    return session.scalars(
        sa.select(D.volume_type_id)
        .join(kind, kind.id == D.volume_type_id)
        .where(D.project_id == project_id, kind.deleted_at.is_(None))
    ).first()


def find_project(session: Session, type_id: str, *, without_access: bool) -> str | None:
    """Find a project whose default type this is.

    :param without_access: only one that was given no access to the type.
    """
    access = models.TypeAccess
    query = sa.select(D.project_id).where(D.volume_type_id == type_id)
    if without_access:
        query = query.where(~sa.exists().where(access.volume_type_id == type_id, access.project_id == D.project_id))
    return session.scalars(query.order_by(D.project_id).limit(1)).first()
