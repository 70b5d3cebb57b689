# SPDX-License-Identifier: Apache-2.0
"""Queries on who uses, or used, a volume under the name of an initiator."""

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.orm import Session

from multiattach.db import models
from multiattach.domain import states
from multiattach.domain.reservations import Registrant

A = models.Attachment


def find_registrants(session: Session, volume_id: str, initiators: Iterable[str]) -> dict[str, Registrant]:
    """Find by initiator the attachment of a volume that has it, else the last one that had it, and its server.

    :param initiators: as the storage tells, which may not know any more which letters were capitals.
    """
    found = {}
    for initiator in sorted(initiators):
        row = session.execute(
            sa.select(A.id, A.state, A.instance_uuid, models.Server.name)
            .outerjoin(models.Server, models.Server.id == A.instance_uuid)
            .where(A.volume_id == volume_id, sa.func.lower(A.initiator) == initiator.lower())
            .order_by(sa.case((A.deleted_at.is_(None), 0), else_=1), A.created_at.desc(), A.id)
            .limit(1)
        ).first()
        if row is not None:
            status = states.public_status(row.state)
            found[initiator] = Registrant(initiator, '', False, row.id, status, row.instance_uuid, row.name)
    return found


def list_initiators(session: Session, volume_id: str, attachment_id: str | None, server_id: str | None) -> list[str]:
    """List the initiators by which an attachment or a server has or had a volume, and which nobody else has now."""

    def is_mine(table: Any) -> sa.ColumnElement[bool]:
        found: sa.ColumnElement[bool] = (
            table.id == attachment_id if attachment_id is not None else table.instance_uuid == server_id
        )
        return found

    other = orm.aliased(A)
    taken = sa.exists().where(
        other.volume_id == volume_id,
        other.initiator == A.initiator,
        other.deleted_at.is_(None),
        models.is_one_of(other.state, states.ON_TARGET),
        sa.case((is_mine(other), 0), else_=1) == 1,  # it may have no server
    )
    query = sa.select(A.initiator).where(A.volume_id == volume_id, A.initiator.is_not(None), is_mine(A), ~taken)
    return sorted(str(one) for one in session.scalars(query.distinct()))
