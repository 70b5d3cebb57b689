# SPDX-License-Identifier: Apache-2.0
"""Sorting and paging of lists: keyset paging by a marker."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy import util
from sqlalchemy.orm import Session
from sqlalchemy.sql import operators

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

    :param model: mapped class with ``id``; rows with ``deleted_at`` are no markers.
    :returns: the query with ORDER BY, the marker's condition, LIMIT and OFFSET.
    :raises NotFound: the marker is no live row.
    """
    sort = dict(page.sort)
    sort.setdefault('id', page.sort[-1][1] if page.sort else _DESCENDING)
    dialect = session.get_bind().dialect.name
    if page.marker is not None:
        live = [model.deleted_at.is_(None)] if hasattr(model, 'deleted_at') else []
        marker = session.scalars(sa.select(model).where(model.id == page.marker, *live)).first()
        if marker is None:
            raise errors.NotFound(f'Marker {page.marker} could not be found.')
        index = _find_index(model, sort, _list_equals(model, query))
        if index is not None and dialect in ('mysql', 'mariadb'):
            # Far from both ends, it would look at each row from the beginning.
            query = query.with_hint(model, f'FORCE INDEX ({index})', dialect)
        query = query.where(_is_after(model, marker, sort))
    query = query.order_by(*_list_orders(model, sort, dialect)).limit(page.limit)
    return query.offset(page.offset) if page.offset else query


def _list_orders(model: Any, sort: dict[str, str], dialect: str) -> list[sa.ColumnElement[Any]]:
    orders = []
    first, turn = next(iter(sort.items()))
    if dialect == 'postgresql' and not _may_be_null(getattr(model, first)) and _find_index(model, sort) is not None:
        # Alike in all rows; PostgreSQL does not see that, and without it no index gives the order.
        orders.append(_turn(model.deleted_at, turn))
    for name, direction in sort.items():
        column = getattr(model, name)
        turned = _turn(column, direction)
        if dialect == 'postgresql' and _may_be_null(column):  # the others take NULL for the least value
            turned = turned.nulls_first() if direction == _ASCENDING else turned.nulls_last()
        orders.append(turned)
    return orders


def _find_index(model: Any, sort: dict[str, str], equals: frozenset[str] | None = frozenset()) -> str | None:
    """Find the index that has the live rows in an order.

    :param equals: columns that have one value in all rows that are wanted; None if more is asked for.
    :returns: its name, None if there is none.
    """
    if equals is None or len(set(sort.values())) > 1:
        return None
    tail = ['deleted_at', *sort]
    for index in model.__table__.indexes:
        names = [column.name for column in index.columns]
        if names[-len(tail) :] == tail and equals == frozenset(names[: -len(tail)]):
            return str(index.name)
    return None


def _list_equals(model: Any, query: sa.Select[Any]) -> frozenset[str] | None:
    """List the columns that a query compares with one value each; None if it asks for more."""
    found = set()
    where = query.whereclause
    for condition in where.clauses if isinstance(where, sa.BooleanClauseList) else [where]:
        column, operator = getattr(condition, 'left', None), getattr(condition, 'operator', None)
        if not isinstance(column, sa.Column) or column.table is not model.__table__:
            return None
        if operator is operators.eq:
            found.add(column.name)
        elif operator is not operators.is_ or column.name != 'deleted_at':
            return None
    return frozenset(found)


def _turn(column: Any, direction: str) -> Any:
    return column.asc() if direction == _ASCENDING else column.desc()


def _may_be_null(column: Any) -> bool:
    return bool(column.property.columns[0].nullable)


def _is_after(model: Any, marker: Any, sort: dict[str, str]) -> sa.ColumnElement[bool]:
    """Build ``k1 >= x1 AND (k1 > x1 OR k1 = x1 AND (k2 > x2 OR …))``, from the inside: it grows with the keys only.

    The first condition follows from the others; it is what an index is searched by.
    """
    condition: sa.ColumnElement[bool] = sa.false()
    for name, direction in reversed(sort.items()):
        column, value = getattr(model, name), getattr(marker, name)
        same = column.is_(None) if value is None else column == value
        condition = sa.or_(_follows(column, value, direction), sa.and_(same, condition))
    name, direction = next(iter(sort.items()))
    return sa.and_(_follows(getattr(model, name), getattr(marker, name), direction, same=True), condition)


def _follows(column: Any, value: Any, direction: str, *, same: bool = False) -> sa.ColumnElement[bool]:
    """Build the condition that a key comes after a value; or may be the same."""
    up = direction == _ASCENDING
    found: sa.ColumnElement[bool]
    if value is None:
        found = (sa.true() if up else column.is_(None)) if same else (column.is_not(None) if up else sa.false())
        return found
    comparable = column
    if isinstance(column.type, sa.Boolean):  # which have no order in SQLAlchemy
        comparable, value = sa.cast(column, sa.Integer), int(value)
    if same:
        found = comparable >= value if up else comparable <= value
    else:
        found = comparable > value if up else comparable < value
    if not up and _may_be_null(column):
        found = sa.or_(found, column.is_(None))
    return found
