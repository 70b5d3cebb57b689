# SPDX-License-Identifier: Apache-2.0
"""Sorting and paging of lists: keyset paging by a marker, as oslo.db emits it."""

import dataclasses
from typing import Any

import sqlalchemy as sa
from oslo_db.sqlalchemy import utils
from sqlalchemy.orm import Session

from multiattach.domain import errors


@dataclasses.dataclass(frozen=True)
class Page:
    """Which part of a list, in which order.

    :param limit: most rows to return; 0 gives none.
    :param marker: id of the last row of the page before, or None.
    :param offset: rows to leave out at the start.
    :param sort: pairs of column name and ``asc`` or ``desc``.
    """

    limit: int = 1000
    marker: str | None = None
    offset: int = 0
    sort: tuple[tuple[str, str], ...] = (('created_at', 'desc'), ('id', 'desc'))


def paginate(session: Session, query: sa.Select[Any], model: Any, page: Page) -> sa.Select[Any]:
    """Order and cut a query.

    :param session: an open session.
    :param query: SELECT of the model.
    :param model: mapped class with ``id``; rows with ``deleted_at`` are no markers.
    :param page: what is wanted.
    :returns: the query with ORDER BY, the marker's condition, LIMIT and OFFSET.
    :raises NotFound: the marker is no live row.
    """
    keys = [name for name, _ in page.sort]
    directions = [direction for _, direction in page.sort]
    if 'id' not in keys:
        keys.append('id')
        directions.append(directions[-1] if directions else 'desc')
    marker = None
    if page.marker is not None:
        live = [model.deleted_at.is_(None)] if hasattr(model, 'deleted_at') else []
        marker = session.scalars(sa.select(model).where(model.id == page.marker, *live)).first()
        if marker is None:
            raise errors.NotFound(f'Marker {page.marker} could not be found.')
    done: sa.Select[Any] = utils.paginate_query(
        query, model, page.limit, keys, marker=marker,
        sort_dirs=[f'{d}-nullsfirst' if d == 'asc' else f'{d}-nullslast' for d in directions])
    return done.offset(page.offset) if page.offset else done
