# SPDX-License-Identifier: Apache-2.0
"""Queries on servers: the libvirt domains that host agents registered."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from multiattach.db import models, paging
from multiattach.domain import errors

S = models.Server
_LIVE = S.deleted_at.is_(None)


def get(session: Session, server_id: str, *, lock: bool = False) -> S:
    """Load a server.

    :raises ServerNotFound: no live server has this id.
    """
    query = sa.select(S).where(S.id == server_id, _LIVE).execution_options(populate_existing=True)
    found = session.scalars(query.with_for_update() if lock else query).first()
    if found is None:
        raise errors.ServerNotFound(server_id)
    return found


def list_page(session: Session, filters: Sequence[sa.ColumnElement[bool]], page: paging.Page) -> list[S]:
    query = paging.paginate(session, sa.select(S).where(_LIVE, *filters), S, page)
    return list(session.scalars(query, execution_options=paging.SHAPED))


def register(session: Session, host: str, domains: Mapping[str, Mapping[str, Any]]) -> None:
    """Make a host's servers what its agent sees.

    A domain that is gone from its host leaves the list; one that comes back, or moves here from
    another host, is taken over.

    :param domains: by UUID: ``name``, ``project_id``, ``power_state``, ``devices``.
    """
    moment = models.now()
    rows = {row.id: row for row in session.scalars(sa.select(S).where(sa.or_(S.host == host, S.id.in_(list(domains)))))}
    for ident, facts in domains.items():
        row = rows.get(ident)
        if row is None:
            session.add(S(id=ident, host=host, created_at=moment, **facts))
            continue
        wanted = {'host': host, 'deleted_at': None, **facts}
        for key, value in wanted.items():
            if getattr(row, key) != value:
                setattr(row, key, value)
    for ident, row in rows.items():
        if ident not in domains and row.host == host and row.deleted_at is None:
            row.deleted_at = moment
    session.flush()
