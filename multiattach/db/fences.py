# SPDX-License-Identifier: Apache-2.0
"""Queries on fenced hosts, and on attachments that are or were cut off."""

import datetime
from collections.abc import Mapping

import sqlalchemy as sa
from oslo_db import exception as db_exc
from sqlalchemy import orm
from sqlalchemy.orm import Session

from multiattach.db import locks, models
from multiattach.db.commits import Work
from multiattach.domain import states

A = models.Attachment
F = models.FencedHost
_LIVE = A.deleted_at.is_(None)
_MARK = sa.select(F).where(F.host == sa.bindparam('host'))
# Sources of the event "fence", and those that are cut off already.
_FENCEABLE = sorted(states.LIVE)


# -- hosts -----------------------------------------------------------------------------------------


def find_mark(session: Session, host: str | None) -> F | None:
    """Load the mark of a fenced host, None if the host is not fenced."""
    return None if host is None else session.scalars(_MARK, {'host': host}).first()


def list_marks(session: Session) -> list[F]:
    return list(session.scalars(sa.select(F).order_by(F.host)))


def mark(session: Session, row: F) -> F:
    """Mark a host as fenced; one that is keeps its moment, and the stronger of both marks.

    :raises RetryRequest: another one was first.
    """
    found = session.scalars(_MARK.with_for_update(), {'host': row.host}).first()
    if found is None:
        session.add(row)
        try:
            session.flush()
        except db_exc.DBDuplicateEntry as exc:
            raise db_exc.RetryRequest(exc) from exc
        return row
    found.out_of_service = found.out_of_service or row.out_of_service
    found.reason = row.reason or found.reason
    session.flush()
    return found


def unmark(session: Session, host: str) -> bool:
    done = session.execute(sa.delete(F).where(F.host == host).execution_options(synchronize_session=False))
    return bool(done.rowcount)  # type: ignore[attr-defined]


# -- attachments -----------------------------------------------------------------------------------


def list_volumes_of(session: Session, host: str) -> list[str]:
    """List the volumes of which a host, of connectors or of an agent, has something, in order."""
    return list(session.scalars(sa.select(A.volume_id).where(*_of_host(host)).distinct().order_by(A.volume_id)))


def list_of_host(work: Work, host: str, volumes: Mapping[str, locks.LockedVolume]) -> list[locks.LockedAttachment]:
    """List the attachments that the fence of a host is about.

    :param volumes: locked ones.
    :returns: those of the host, and those of others that share an initiator with them; oldest first.
    """
    mate = orm.aliased(A)
    mine = _of_host(host)
    shares = sa.exists().where(
        mate.volume_id == A.volume_id,
        mate.initiator == A.initiator,
        mate.deleted_at.is_(None),
        mate.state != states.Attachment.FENCED,
        sa.or_(mate.attached_host == host, mate.agent_host == host),
    )
    wanted = sa.or_(sa.and_(*mine), sa.and_(A.state.in_(sorted(states.ON_TARGET)), shares))
    return locks.read_attachments(work, volumes, wanted)


def _of_host(host: str) -> tuple[sa.ColumnElement[bool], ...]:
    return _LIVE, sa.or_(A.attached_host == host, A.agent_host == host), A.state.in_(_FENCEABLE)


def list_same_initiator(work: Work, volume: locks.LockedVolume, initiator: str) -> list[locks.LockedAttachment]:
    """List the attachments by which one initiator may be known to a locked volume's target, oldest first."""
    known = A.state.in_(sorted(states.ON_TARGET))
    return locks.read_attachments(work, {volume.id: volume}, A.initiator == initiator, known)


def list_fencing(session: Session, volume_id: str) -> list[A]:
    """List the attachments of a volume that are to be cut off, with connection_info, oldest first."""
    return list(
        session.scalars(
            sa.select(A)
            .where(A.volume_id == volume_id, _LIVE, A.state == states.Attachment.FENCING)
            .options(orm.undefer(A.connection_info))
            .order_by(A.created_at, A.id)
        )
    )


def list_recent(session: Session, backend_host: str, since: datetime.datetime) -> list[A]:
    """List the attachments with an initiator that were cut off a backend's targets since *since* (UTC)."""
    return list(
        session.scalars(
            sa.select(A)
            .join(models.Volume, models.Volume.id == A.volume_id)
            .where(
                _LIVE,
                A.state == states.Attachment.FENCED,
                A.fenced_at >= since,
                A.initiator.is_not(None),
                models.Volume.host == backend_host,
            )
        )
    )


def get_proof(session: Session, attachment_id: str) -> A | None:
    """Load an attachment with its volume and what its fence saw; None if it is gone."""
    return session.scalars(
        sa.select(A)
        .join(models.Volume, models.Volume.id == A.volume_id)
        .where(A.id == attachment_id, _LIVE)
        .options(orm.contains_eager(A.volume), orm.undefer(A.fence_proof))
    ).first()


def list_unswept(session: Session, host: str) -> list[A]:
    """List the fenced attachments of which a host agent may still have something, oldest first.

    Those that were deleted meanwhile are among them: nothing of the host was needed for that.
    """
    return list(
        session.scalars(
            sa.select(A)
            .join(models.Volume, models.Volume.id == A.volume_id)
            .where(A.agent_host == host, A.fenced_at.is_not(None), A.swept_at.is_(None))
            .options(orm.contains_eager(A.volume), orm.undefer(A.connection_info), orm.undefer(A.connector))
            .order_by(A.created_at)
        )
    )


def set_swept(session: Session, attachment_id: str) -> None:
    """Write that a host has let go of a fenced attachment."""
    session.execute(
        sa.update(A)
        .where(A.id == attachment_id, A.swept_at.is_(None))
        .values(swept_at=models.now())
        .execution_options(synchronize_session=False)
    )
