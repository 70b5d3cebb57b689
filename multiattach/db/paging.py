# SPDX-License-Identifier: Apache-2.0
"""Sorting and paging of lists: keyset paging by a marker."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy import util
from sqlalchemy.orm import Session

from multiattach.domain import errors

_ASCENDING, _DESCENDING = 'asc', 'desc'
# Execution options of a statement whose shape the request decides (order, filters). Compiled, one takes up to
# 200 KiB: there are few of them in a cache of their own, and none of the others gives its place to one.
SHAPED: Mapping[str, Any] = {'compiled_cache': util.LRUCache(64)}


@dataclasses.dataclass(frozen=True)
class Page:
    """Which part of a list, in which order.

    :param limit: most rows to return; 0 gives none.
    :param marker: id of the last row of the page before, or None.
    :param offset: rows to leave out at the start.
    :param sort: pairs of column name and ``asc`` or ``desc``, each column once.
    """

    limit: int = 1000
    marker: str | None = None
    offset: int = 0
    sort: tuple[tuple[str, str], ...] = (('created_at', _DESCENDING), ('id', _DESCENDING))


def paginate(session: Session, query: sa.Select[Any], model: Any, page: Page) -> sa.Select[Any]:
    """Order and cut a query; NULL comes before every value, whatever the database takes it for.

    :param query: SELECT of the model.
    :param model: mapped class with ``id``; rows with ``deleted_at`` are no markers.
    :param page: what is wanted.
    :returns: the query with ORDER BY, the marker's condition, LIMIT and OFFSET.
    :raises NotFound: the marker is no live row.
    """
    sort = dict(page.sort)
    sort.setdefault('id', page.sort[-1][1] if page.sort else _DESCENDING)
    if page.marker is not None:
        live = [model.deleted_at.is_(None)] if hasattr(model, 'deleted_at') else []
        marker = session.scalars(sa.select(model).where(model.id == page.marker, *live)).first()
        if marker is None:
            raise errors.NotFound(f'Marker {page.marker} could not be found.')
        query = query.where(_is_after(model, marker, sort))
    for name, direction in sort.items():
        column = getattr(model, name)
        if _may_be_null(column):  # else an index would be of no use
            query = query.order_by(_turn(column.is_not(None), direction))
        query = query.order_by(_turn(column, direction))
    query = query.limit(page.limit)
    return query.offset(page.offset) if page.offset else query


def _turn(column: Any, direction: str) -> Any:
    return column.asc() if direction == _ASCENDING else column.desc()


def _may_be_null(column: Any) -> bool:
    return bool(column.property.columns[0].nullable)


def _is_after(model: Any, marker: Any, sort: dict[str, str]) -> sa.ColumnElement[bool]:
    """Build ``k1 > x1 OR k1 = x1 AND (k2 > x2 OR …)``, from the inside: it grows with the keys only."""
    condition: sa.ColumnElement[bool] = sa.false()
    for name, direction in reversed(sort.items()):
        column, value = getattr(model, name), getattr(marker, name)
        condition = sa.or_(
            _follows(column, value, direction),
            sa.and_(column.is_(None) if value is None else column == value, condition),
        )
    return condition


def _follows(column: Any, value: Any, direction: str) -> sa.ColumnElement[bool]:
    up = direction == _ASCENDING
    found: sa.ColumnElement[bool]
    if value is None:
        found = column.is_not(None) if up else sa.false()
        return found
    comparable = column
    if isinstance(column.type, sa.Boolean):  # which have no order in SQLAlchemy
        comparable, value = sa.cast(column, sa.Integer), int(value)
    found = comparable > value if up else comparable < value
    if not up and _may_be_null(column):
        found = sa.or_(found, column.is_(None))
    return found
