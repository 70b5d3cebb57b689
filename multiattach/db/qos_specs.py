# SPDX-License-Identifier: Apache-2.0
"""Queries on QoS specs and the types that have them."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.orm import Session

from multiattach.db import items, models, paging
from multiattach.db.commits import Work
from multiattach.domain import errors, qos

Q = models.QosSpecs
_Item = models.QosSpec
_Link = models.TypeQos


class Allowance(NamedTuple):
    """What a volume's type says of its speed."""

    consumer: str
    specs: dict[str, str | None]
    size: int


def get(session: Session, qos_id: str, *, lock: bool = False) -> Q:
    query = (
        sa.select(Q).where(Q.id == qos_id).options(orm.selectinload(Q.items)).execution_options(populate_existing=True)
    )
    found = session.scalars(query.with_for_update() if lock else query).first()
    if found is None:
        raise errors.QosSpecsNotFound(qos_id)
    return found


def list_page(session: Session, filters: Sequence[sa.ColumnElement[bool]], page: paging.Page) -> list[Q]:
    query = paging.paginate(session, sa.select(Q).where(*filters), Q, page)
    return list(session.scalars(query.options(orm.selectinload(Q.items)), execution_options=paging.SHAPED))


def add(session: Session, name: str, consumer: str, specs: Mapping[str, str | None]) -> str:
    ident = str(uuid.uuid4())
    session.add(Q(id=ident, name=name, consumer=consumer))
    session.flush()
    set_items(session, ident, specs)
    return ident


def set_items(session: Session, qos_id: str, specs: Mapping[str, str | None]) -> None:
    """Write keys, the others stay; the caller holds the specs' lock."""
    items.put(session, _Item.qos_specs_id, qos_id, specs)


def delete_items(session: Session, qos_id: str, keys: Iterable[str]) -> None:
    """Delete keys; the caller holds the specs' lock."""
    items.delete(session, _Item.qos_specs_id, qos_id, keys)


def delete(session: Session, qos_id: str) -> None:
    """Delete QoS specs that no type has; the caller holds their lock."""
    for gone in (sa.delete(_Item).where(_Item.qos_specs_id == qos_id), sa.delete(Q).where(Q.id == qos_id)):
        session.execute(gone.execution_options(synchronize_session=False))


# -- types -------------------------------------------------------------------------------------


def list_types(session: Session, qos_id: str) -> list[models.VolumeType]:
    table = models.VolumeType
    return list(
        session.scalars(
            sa.select(table)
            .join(_Link, _Link.volume_type_id == table.id)
            .where(_Link.qos_specs_id == qos_id, table.deleted_at.is_(None))
            .order_by(table.name)
        )
    )


def find_id(session: Session, type_id: str) -> str | None:
    return session.scalars(sa.select(_Link.qos_specs_id).where(_Link.volume_type_id == type_id)).first()


def link(session: Session, qos_id: str, type_id: str) -> None:
    """Give a type QoS specs; the caller holds the locks of both."""
    session.add(_Link(volume_type_id=type_id, qos_specs_id=qos_id))
    session.flush()


def unlink(session: Session, *, qos_id: str | None = None, type_id: str | None = None) -> None:
    """Take QoS specs from types."""
    wanted = {_Link.qos_specs_id: qos_id, _Link.volume_type_id: type_id}
    conditions = [column == value for column, value in wanted.items() if value is not None]
    session.execute(sa.delete(_Link).where(*conditions).execution_options(synchronize_session=False))


def find_front_end(session: Session, type_id: str) -> str | None:
    """Return the QoS specs of a type that hosts see to; None if it has none, or the backend alone sees to them."""
    return session.scalars(
        sa.select(Q.id)
        .join(_Link, _Link.qos_specs_id == Q.id)
        .where(_Link.volume_type_id == type_id, Q.consumer.in_(qos.FRONT_END))
    ).first()


def find_allowance(work: Work, volume_id: str) -> Allowance | None:
    """Find what a volume's type says of its speed, in one statement.

    :returns: None if the type has no QoS specs.
    """
    volume = models.Volume
    rows = work.execute(
        sa.select(Q.consumer, volume.size, _Item.key, _Item.value)
        .join(_Link, _Link.volume_type_id == volume.volume_type_id)
        .join(Q, Q.id == _Link.qos_specs_id)
        .outerjoin(_Item, _Item.qos_specs_id == Q.id)
        .where(volume.id == volume_id)
        .order_by(_Item.key)
    ).all()
    if not rows:
        return None
    return Allowance(rows[0].consumer, {row.key: row.value for row in rows if row.key is not None}, rows[0].size)
