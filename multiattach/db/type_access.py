# SPDX-License-Identifier: Apache-2.0
"""Which projects were given access to a type that is not public."""

import sqlalchemy as sa
from sqlalchemy.orm import Session

from multiattach.db import models

T = models.TypeAccess


def list_projects(session: Session, type_id: str) -> list[str]:
    return list(session.scalars(sa.select(T.project_id).where(T.volume_type_id == type_id).order_by(T.project_id)))


def find(session: Session, type_id: str, project_id: str) -> T | None:
    return session.get(T, (type_id, project_id))


def add(session: Session, type_id: str, project_id: str) -> None:
    session.add(T(volume_type_id=type_id, project_id=project_id))


def delete(session: Session, row: T) -> None:
    session.delete(row)
