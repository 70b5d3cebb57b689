# SPDX-License-Identifier: Apache-2.0
"""Queries on transfers of volumes between projects."""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session

from multiattach.db import models, paging
from multiattach.domain import errors

T = models.Transfer
_LIVE = T.deleted_at.is_(None)


def get(session: Session, transfer_id: str) -> T:
    """Load an open transfer as it is now, also after a lock that was waited for.

    :raises NotFound: there is none, or it was accepted or withdrawn.
    """
    found = session.scalars(
        sa.select(T).where(T.id == transfer_id, _LIVE).execution_options(populate_existing=True)
    ).first()
    if found is None:
        raise missing(transfer_id)
    return found


def missing(transfer_id: str) -> errors.NotFound:
    return errors.NotFound(f'Transfer {transfer_id[:64]} could not be found.')


def add(session: Session, transfer: T) -> None:
    session.add(transfer)
    session.flush()


def list_page(session: Session, filters: Sequence[sa.ColumnElement[bool]], page: paging.Page) -> list[T]:
    query = paging.paginate(session, sa.select(T).where(_LIVE, *filters), T, page)
    return list(session.scalars(query, execution_options=paging.SHAPED))


def end(session: Session, volume_id: str, *, accepted_by: str | None = None) -> None:
    """End the open transfers of a volume, whose lock the caller holds.

    :param accepted_by: project that accepted; None if they are withdrawn.
    """
    moment = models.now()
    session.execute(
        sa.update(T)
        .where(T.volume_id == volume_id, _LIVE)
        .values(
            deleted_at=moment, updated_at=moment, accepted=accepted_by is not None, destination_project_id=accepted_by
        )
        .execution_options(synchronize_session=False)
    )
