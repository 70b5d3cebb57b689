# SPDX-License-Identifier: Apache-2.0
"""Messages to users (microversion 3.3)."""

import datetime
import uuid
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session

from multiattach.db import models
from multiattach.domain import errors

M = models.Message
_KEPT = datetime.timedelta(days=30)


def add(session: Session, project_id: str, resource_uuid: str, event_id: str, text: str, *,
        request_id: str | None = None, resource_type: str = 'VOLUME') -> None:
    """Leave a message for a project's users.

    :param session: a writer's session.
    :param project_id: whose users may read it.
    :param resource_uuid: what it is about.
    :param event_id: machine-readable kind, ``VOLUME_VOLUME_001_003`` for example.
    :param text: what happened and what to do.
    :param request_id: the API call behind it.
    :param resource_type: kind of the resource.
    """
    moment = models.now()
    session.add(M(id=str(uuid.uuid4()), project_id=project_id, resource_uuid=resource_uuid,
                  resource_type=resource_type, event_id=event_id, user_message=text,
                  message_level='ERROR', request_id=request_id, created_at=moment,
                  guaranteed_until=moment + _KEPT))
    session.flush()


def list_all(session: Session, filters: Sequence[sa.ColumnElement[bool]], limit: int,
             marker: str | None = None, offset: int = 0) -> list[M]:
    """List messages, newest first.

    :param session: an open session.
    :param filters: conditions on the message.
    :param limit: most rows to return.
    :param marker: id of the last message of the page before, or None.
    :param offset: rows to leave out at the start.
    :returns: messages.
    :raises NotFound: the marker is no message.
    """
    query = sa.select(M).where(*filters).order_by(M.created_at.desc(), M.id.desc())
    if marker is not None:
        last = get(session, marker)
        if last is None:
            raise errors.NotFound(f'Marker {marker} could not be found.')
        query = query.where(sa.or_(
            M.created_at < last.created_at, sa.and_(M.created_at == last.created_at, M.id < last.id)))
    return list(session.scalars(query.limit(limit).offset(offset)))


def get(session: Session, message_id: str) -> M | None:
    """Load a message.

    :param session: an open session.
    :param message_id: UUID.
    :returns: the message, or None.
    """
    return session.get(M, message_id)
