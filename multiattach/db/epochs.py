# SPDX-License-Identifier: Apache-2.0
"""Queries on how far the database has come, by backend."""

import uuid

import sqlalchemy as sa
from oslo_db import exception as db_exc
from sqlalchemy.orm import Session

from multiattach.db import models
from multiattach.domain import errors
from multiattach.domain.epoch import Doubt, Mark

E = models.Epoch


def count(session: Session, backend: str, seen: Mark | None) -> tuple[Mark, Doubt | None]:
    """Count one further, unless what was seen elsewhere is ahead.

    :param seen: the mark beside the targets, None if it is not known.
    """
    row = session.scalars(
        sa.select(E).where(E.backend == backend).with_for_update().execution_options(populate_existing=True)
    ).first()
    if row is None:
        row = E(backend=backend, lineage=str(uuid.uuid4()), counter=1)
        session.add(row)
        try:
            session.flush()
        except db_exc.DBDuplicateEntry as exc:  # another worker of the backend was first
            raise db_exc.RetryRequest(exc) from exc
    before = Mark(row.lineage, row.counter)
    if seen is not None and seen.is_ahead_of(before):
        if row.doubted_at is None:
            row.doubted_at, row.seen_lineage, row.seen_counter = models.now(), seen.lineage, seen.counter
        elif seen.is_ahead_of(Mark(str(row.seen_lineage), row.seen_counter or 0)):
            # Another worker has seen less.
            row.seen_lineage, row.seen_counter = seen.lineage, seen.counter
    if row.doubted_at is None:
        row.counter, row.counted_at = row.counter + 1, models.now()
    return before, _read(row)


def list_doubts(session: Session, backend: str | None = None) -> list[Doubt]:
    """List the backends whose database is in doubt."""
    query = sa.select(E).where(E.doubted_at.is_not(None)).order_by(E.backend)
    rows = session.scalars(query if backend is None else query.where(E.backend == backend))
    return [doubt for doubt in map(_read, rows) if doubt is not None]


def accept(session: Session, backend: str) -> Doubt:
    """Take this database as the one of a backend's targets from now on.

    :raises NotFound: nothing is in doubt there.
    """
    row = session.scalars(sa.select(E).where(E.backend == backend).with_for_update()).first()
    doubt = _read(row) if row is not None else None
    if row is None or doubt is None:
        others = ', '.join(one.backend for one in list_doubts(session))
        raise errors.NotFound(
            f'The database is not in doubt for backend {backend[:255]}; it is for: {others or "none"}.'
        )
    # Further than what anybody has seen, so that it is the older copy that is found next time.
    row.lineage, row.counter = doubt.seen.lineage, max(doubt.seen.counter, row.counter) + 1
    row.counted_at, row.doubted_at, row.seen_lineage, row.seen_counter = models.now(), None, None, None
    return doubt


def _read(row: E) -> Doubt | None:
    if row.doubted_at is None:
        return None
    return Doubt(
        row.backend, row.doubted_at, Mark(row.lineage, row.counter), Mark(str(row.seen_lineage), row.seen_counter or 0)
    )
