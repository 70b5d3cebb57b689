# SPDX-License-Identifier: Apache-2.0
"""Queries for people who ask what is going on."""

from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.orm import Session

from multiattach.db import models
from multiattach.domain import errors, sharing

A = models.Attachment
V = models.Volume


def get_attachment(session: Session, attachment_id: str) -> A:
    """Load an attachment, one that is gone too, with its timeline and its volume, without its secrets."""
    found = session.scalars(
        sa.select(A)
        .join(V, V.id == A.volume_id)
        .where(A.id == attachment_id)
        .options(orm.contains_eager(A.volume), orm.undefer(A.timeline))
    ).first()
    if found is None:
        raise errors.AttachmentNotFound(attachment_id)
    return found


def get_volume(session: Session, volume_id: str) -> V:
    found = session.scalars(
        sa.select(V)
        .where(V.id == volume_id, V.deleted_at.is_(None))
        .options(orm.joinedload(V.volume_type), orm.selectinload(V.attachments))
    ).first()
    if found is None:
        raise errors.VolumeNotFound(volume_id)
    return found


def list_beside_writers(session: Session, rows: Iterable[A]) -> frozenset[str]:
    """List those of some read-only attachments whose initiator its target may let write for another attachment.

    One that may write, and went since, counts: what an initiator is let do ends with its last attachment.
    """
    idents = [row.id for row in rows if row.attach_mode == sharing.READ_ONLY and row.initiator]
    if not idents:
        return frozenset()
    other = orm.aliased(A)
    query = sa.select(A.id).where(
        A.id.in_(idents),
        sa.exists().where(
            other.volume_id == A.volume_id,
            other.initiator == A.initiator,
            other.id != A.id,
            sa.func.coalesce(other.attach_mode, sharing.READ_WRITE) != sharing.READ_ONLY,
            sa.or_(other.deleted_at.is_(None), other.deleted_at >= A.created_at),
        ),
    )
    return frozenset(session.scalars(query))


def list_services(session: Session, binary: str, agents: tuple[str, Iterable[str | None]]) -> list[models.Service]:
    """Load all services of one program, and those of another one on some hosts, in one statement.

    :param binary: the program; workers of a cluster are found by what they report, so all are read.
    :param agents: the other program and its hosts, None among them for no host.
    :returns: services, in no order.
    """
    table = models.Service
    other, hosts = agents
    return list(
        session.scalars(
            sa.select(table).where(
                sa.or_(
                    table.binary == binary,
                    sa.and_(table.binary == other, table.host.in_([host for host in hosts if host])),
                )
            )
        )
    )
