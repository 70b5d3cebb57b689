# SPDX-License-Identifier: Apache-2.0
"""Queries on volume types and their extra specs."""

import uuid
from collections.abc import Mapping, Sequence

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.orm import Session

from multiattach.db import commits, items, models, paging
from multiattach.domain import errors, idents

T = models.VolumeType
_LIVE = T.deleted_at.is_(None)


def get(session: Session, type_id: str, *, lock: bool = False) -> T:
    query = sa.select(T).where(T.id == type_id, _LIVE).options(orm.selectinload(T.specs))
    if lock:  # PostgreSQL locks no row of an outer join
        query = query.with_for_update().execution_options(populate_existing=True)
    else:
        query = query.options(orm.joinedload(T.qos))
    found = session.scalars(query).first()
    if found is None:
        raise errors.VolumeTypeNotFound(type_id)
    if lock:
        commits.note_lock(session, T, found.id)
    return found


def find(session: Session, name_or_id: str, *, lock: bool = False) -> T:
    """Load a type by id or by name, an id first."""
    ident = idents.normalise(name_or_id)
    query = sa.select(T).where(sa.or_(T.id == ident, T.live_name == name_or_id), _LIVE)
    if lock:
        query = query.with_for_update().execution_options(populate_existing=True)
    else:
        query = query.options(orm.joinedload(T.qos))
    found = list(session.scalars(query.options(orm.selectinload(T.specs))))
    if not found:
        raise errors.VolumeTypeNotFound(name_or_id)
    picked = next((row for row in found if row.id == ident), found[0])
    if lock:
        commits.note_lock(session, T, picked.id)
    return picked


def add(session: Session, name: str, description: str | None, is_public: bool) -> str:
    ident = str(uuid.uuid4())
    session.add(T(id=ident, name=name, live_name=name, description=description, is_public=is_public))
    session.flush()
    return ident


def list_names(session: Session) -> list[str]:
    return list(session.scalars(sa.select(T.name).where(_LIVE).order_by(T.name)))


def list_page(session: Session, filters: Sequence[sa.ColumnElement[bool]], page: paging.Page) -> list[T]:
    query = paging.paginate(session, sa.select(T).where(_LIVE, *filters), T, page)
    return list(
        session.scalars(
            query.options(orm.selectinload(T.specs), orm.joinedload(T.qos)), execution_options=paging.SHAPED
        )
    )


def is_accessible(session: Session, found: T, project_id: str | None) -> bool:
    """Return whether a type is public, or a project was given access to it."""
    return found.is_public or (
        project_id is not None and session.get(models.TypeAccess, (found.id, project_id)) is not None
    )


def accessible(project_id: str | None) -> sa.ColumnElement[bool]:
    """Build the condition on :class:`~multiattach.db.models.VolumeType` for types that a project may use."""
    access = models.TypeAccess
    return sa.or_(
        T.is_public.is_(True), sa.exists().where(access.volume_type_id == T.id, access.project_id == project_id)
    )


def count_volumes(session: Session, type_id: str) -> int:
    """Count the live volumes of a type."""
    table = models.Volume
    return int(
        session.execute(
            sa.select(sa.func.count()).where(table.volume_type_id == type_id, table.deleted_at.is_(None))
        ).scalar_one()
    )


def set_specs(session: Session, type_id: str, specs: Mapping[str, str | None]) -> None:
    """Write extra specs, the others stay; the caller holds the type's lock."""
    items.put(session, models.ExtraSpec.volume_type_id, type_id, specs)


def delete_spec(session: Session, type_id: str, key: str) -> bool:
    return items.delete(session, models.ExtraSpec.volume_type_id, type_id, [key])
