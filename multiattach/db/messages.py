# SPDX-License-Identifier: Apache-2.0
"""Messages to users (microversion 3.3)."""

import datetime
import uuid
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session

from multiattach.db import models, paging

M = models.Message
_KEPT = datetime.timedelta(days=30)


def add(
    session: Session,
    project_id: str,
    resource_uuid: str,
    event_id: str,
    text: str,
    *,
    request_id: str | None = None,
    resource_type: str = 'VOLUME',
) -> None:
    """Leave a message for a project's users; *event_id* is its kind, ``VOLUME_VOLUME_001_003`` for example."""
    moment = models.now()
    session.add(
        M(
            id=str(uuid.uuid4()),
            project_id=project_id,
            resource_uuid=resource_uuid,
            resource_type=resource_type,
            event_id=event_id,
            user_message=text,
            message_level='ERROR',
            request_id=request_id,
            created_at=moment,
            guaranteed_until=moment + _KEPT,
        )
    )
    session.flush()


def list_page(session: Session, filters: Sequence[sa.ColumnElement[bool]], page: paging.Page) -> list[M]:
    query = paging.paginate(session, sa.select(M).where(*filters), M, page)
    return list(session.scalars(query, execution_options=paging.SHAPED))


def get(session: Session, message_id: str) -> M | None:
    return session.get(M, message_id)


def delete(session: Session, message_id: str) -> None:
    session.execute(sa.delete(M).where(M.id == message_id))
