# SPDX-License-Identifier: Apache-2.0
"""Queries on attachments."""

import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.orm import Session

from multiattach.db import models, paging
from multiattach.db.commits import Work
from multiattach.domain import errors, sharing, states

A = models.Attachment


class Summary(NamedTuple):
    """An attachment in a list, columns as in :class:`~multiattach.db.models.Attachment`."""

    id: str
    volume_id: str
    instance_uuid: str | None
    state: str


class Shown(NamedTuple):
    """An attachment as its view has it, columns as in :class:`~multiattach.db.models.Attachment`."""

    id: str
    volume_id: str
    instance_uuid: str | None
    state: str
    attach_mode: str | None
    attached_at: datetime.datetime | None
    detached_at: datetime.datetime | None
    initiator: str | None
    connection_info: Any


_LIVE = A.deleted_at.is_(None)
# Statements that each attach needs are built once: building one costs several times what sending it does.
_GET = (
    sa.select(A)
    .select_from(models.Volume)
    .join(A, models.Volume.id == A.volume_id)
    .where(A.id == sa.bindparam('ident'), _LIVE, models.Volume.deleted_at.is_(None))
    .options(orm.contains_eager(A.volume), orm.undefer(A.connection_info), orm.undefer(A.connector))
    .execution_options(populate_existing=True)
)
_SHOW = sa.select(*(A.__table__.c[name] for name in Shown._fields)).where(
    A.__table__.c.id == sa.bindparam('ident'), A.__table__.c.deleted_at.is_(None)
)
_COUNT_PLACES = sa.select(
    sa.func.count(),
    sa.func.coalesce(sa.func.sum(sa.case((A.instance_uuid == sa.bindparam('server', type_=sa.String), 1), else_=0)), 0),
).where(A.volume_id == sa.bindparam('volume'), _LIVE, A.state.not_in(sorted(states.PLACELESS)))
_OF_VOLUME = sa.select(A).where(A.volume_id == sa.bindparam('volume'), _LIVE).order_by(A.created_at, A.id)
_LEFT = _OF_VOLUME.with_only_columns(*(A.__table__.c[name] for name in Summary._fields))
_ON_BACKEND = (
    sa.select(A)
    .join(models.Volume, models.Volume.id == A.volume_id)
    .where(_LIVE, models.Volume.host == sa.bindparam('host'), A.state.in_(sa.bindparam('states', expanding=True)))
    .options(orm.contains_eager(A.volume), orm.undefer(A.connector), orm.undefer(A.connection_info))
    .order_by(A.created_at)
)
# Of each volume of a backend at its worker's start.
_ADMITTED = (
    sa.select(A.initiator, A.attach_mode, A.connection_info, A.shared_account)
    .where(A.volume_id == sa.bindparam('volume'), _LIVE, models.is_one_of(A.state, states.ADMITTED))
    .order_by(A.created_at)
)


def get(session: Session, attachment_id: str) -> A:
    """Load an attachment with its volume, in one statement.

    :raises AttachmentNotFound: no live attachment has this id.
    """
    attachment = session.scalars(_GET, {'ident': attachment_id}).first()
    if attachment is None:
        raise errors.AttachmentNotFound(attachment_id)
    return attachment


def show(rows: sa.Connection, attachment_id: str) -> Shown:
    """Read what is shown of an attachment.

    :raises AttachmentNotFound: no live attachment has this id.
    """
    found = rows.execute(_SHOW, {'ident': attachment_id}).first()
    if found is None:
        raise errors.AttachmentNotFound(attachment_id)
    return Shown(*found)


def read_state(work: Work, attachment_id: str) -> tuple[str, str | None] | None:
    """Return internal state and error of an attachment; None if it is gone."""
    row = work.execute(sa.select(A.state, A.error).where(A.id == attachment_id, A.deleted_at.is_(None))).first()
    return (row.state, row.error) if row else None


def get_timeline(session: Session, attachment_id: str) -> str:
    """Read the timeline of an attachment, of a deleted one too."""
    timeline = session.scalars(sa.select(A.timeline).where(A.id == attachment_id)).first()
    if timeline is None:
        raise errors.AttachmentNotFound(attachment_id)
    return timeline


def count_attached(session: Session, volume_id: str) -> int:
    return session.execute(
        sa.select(sa.func.count())
        .select_from(A)
        .where(A.volume_id == volume_id, A.deleted_at.is_(None), A.state == states.Attachment.ATTACHED)
    ).scalar_one()


def count_places(session: Session, volume_id: str, instance_uuid: str | None) -> tuple[int, int]:
    """Count the attachments of a server, and of others, that take a place on a volume, in one statement.

    Those without a server are others.
    """
    row = session.execute(_COUNT_PLACES, {'volume': volume_id, 'server': instance_uuid}).one()
    return int(row[1]), int(row[0]) - int(row[1])


def list_sharers(work: Work, volume_id: str, *conditions: sa.ColumnElement[bool]) -> list[sharing.Sharer]:
    """List the live attachments of a volume as the sharing rules see them."""
    rows = work.execute(
        sa.select(A.id, A.state, A.instance_uuid, A.attached_host, A.initiator, A.attach_mode).where(
            A.volume_id == volume_id, _LIVE, *conditions
        )
    )
    return [sharing.Sharer(*row) for row in rows]


def list_left(rows: sa.Connection, volume_id: str) -> list[Summary]:
    """List the live attachments of a volume, oldest first."""
    return [Summary(*row) for row in rows.execute(_LEFT, {'volume': volume_id})]


def list_page(
    session: Session, filters: Sequence[sa.ColumnElement[bool]], page: paging.Page, *, detail: bool
) -> list[A]:
    """Load one page of attachments, their volumes' rows with them."""
    query = sa.select(A).join(models.Volume, models.Volume.id == A.volume_id).where(_LIVE, *filters)
    query = paging.paginate(session, query, A, page).options(orm.contains_eager(A.volume))
    if detail:
        query = query.options(orm.undefer(A.connection_info))
    return list(session.scalars(query, execution_options=paging.SHAPED))


def list_of_volume(session: Session, volume_id: str) -> list[A]:
    """List the live attachments of a volume without their deferred columns, oldest first."""
    return list(session.scalars(_OF_VOLUME, {'volume': volume_id}))


def list_on_backend(session: Session, backend_host: str, wanted: Iterable[str]) -> list[A]:
    """List the attachments whose volumes a backend exports, with all that is needed for it, oldest first."""
    return list(session.scalars(_ON_BACKEND, {'host': backend_host, 'states': sorted(wanted)}))


def list_volumes_on_backend(session: Session, backend_host: str, wanted: Iterable[str]) -> list[str]:
    """List the ids of a backend's volumes that have attachments in some states."""
    query = (
        sa.select(models.Volume.id)
        .join(A, A.volume_id == models.Volume.id)
        .where(_LIVE, models.Volume.host == backend_host, A.state.in_(sorted(wanted)))
        .distinct()
    )
    return list(session.scalars(query))


def list_with_connectors(session: Session, volume_id: str) -> list[A]:
    """List the attachments of a volume that are not at their end, with their connectors, oldest first."""
    return list(
        session.scalars(
            sa.select(A)
            .where(A.volume_id == volume_id, _LIVE, A.state.not_in(sorted(states.PLACELESS)))
            .options(orm.undefer(A.connector))
            .order_by(A.created_at, A.id)
        )
    )


class Admitted(NamedTuple):
    """An attachment that a target must admit."""

    initiator: str | None
    attach_mode: str | None
    connection_info: Any
    shared_account: str | None


def list_admitted(work: Work, volume_id: str) -> list[Admitted]:
    """List the attachments that a volume's target must admit, oldest first."""
    return [Admitted._make(row) for row in work.execute(_ADMITTED, {'volume': volume_id})]


def list_of_agent(session: Session, host: str, wanted: Iterable[str]) -> list[A]:
    """List the attachments that a host agent drives, with their volumes' rows, oldest first."""
    return list(
        session.scalars(
            sa.select(A)
            .join(models.Volume, models.Volume.id == A.volume_id)
            .where(_LIVE, A.agent_host == host, A.state.in_(sorted(wanted)))
            .options(orm.contains_eager(A.volume))
            .order_by(A.created_at)
        )
    )


def list_grown(session: Session, host: str, volume_id: str | None = None) -> list[A]:
    """List the attached attachments of a host agent whose server has not seen the volume grow."""
    query = (
        sa.select(A)
        .join(models.Volume, models.Volume.id == A.volume_id)
        .where(_LIVE, A.agent_host == host, A.state == states.Attachment.ATTACHED, A.seen_size < models.Volume.size)
    )
    if volume_id is not None:
        query = query.where(A.volume_id == volume_id)
    return list(session.scalars(query))


def list_agent_hosts(session: Session, volume_id: str) -> list[str]:
    """List the host agents that drive attachments of a volume."""
    return list(
        session.scalars(
            sa.select(A.agent_host).where(A.volume_id == volume_id, _LIVE, A.agent_host.is_not(None)).distinct()
        )
    )


def set_seen_size(session: Session, attachment_id: str, size: int) -> None:
    """Write the size, GiB, that a server was told of."""
    session.execute(
        sa.update(A)
        .where(A.id == attachment_id, _LIVE)
        .values(seen_size=size)
        .execution_options(synchronize_session=False)
    )


def set_connection_info(session: Session, attachment_id: str, connection_info: Mapping[str, Any]) -> None:
    """Write the flat connection_info that a host is told when it asks again."""
    session.execute(
        sa.update(A)
        .where(A.id == attachment_id, _LIVE)
        .values(connection_info=dict(connection_info), updated_at=models.now())
        .execution_options(synchronize_session=False)
    )


def list_of_server(session: Session, server_id: str) -> list[A]:
    """List the attachments of a server that a host agent drives, with their volumes' rows, oldest first."""
    return list(
        session.scalars(
            sa.select(A)
            .join(models.Volume, models.Volume.id == A.volume_id)
            .where(_LIVE, A.instance_uuid == server_id, A.agent_host.is_not(None))
            .options(orm.contains_eager(A.volume))
            .order_by(A.created_at, A.id)
        )
    )


def list_of_servers(session: Session, server_ids: Iterable[str]) -> list[A]:
    """List the attachments of host agents' servers that take a place, in one statement, oldest first."""
    return list(
        session.scalars(
            sa.select(A)
            .where(
                A.instance_uuid.in_(list(server_ids)),
                _LIVE,
                A.agent_host.is_not(None),
                A.state.not_in(sorted(states.PLACELESS)),
            )
            .order_by(A.created_at, A.id)
        )
    )


def set_delete_on_termination(session: Session, attachment_id: str, wanted: bool) -> None:
    session.execute(
        sa.update(A)
        .where(A.id == attachment_id)
        .values(delete_on_termination=wanted)
        .execution_options(synchronize_session=False)
    )


def remove_placeless(session: Session, volume_id: str) -> None:
    """End the history of attachments that failed: their volume is about to go."""
    moment = models.now()
    session.execute(
        sa.update(A)
        .where(A.volume_id == volume_id, _LIVE, A.state.in_(sorted(states.PLACELESS)))
        .values(deleted_at=moment)
        .execution_options(synchronize_session=False)
    )


def remove_placeless_of(session: Session, volume_id: str, instance_uuid: str) -> None:
    """End the history of a server's failed attaches: it tries anew."""
    session.execute(
        sa.update(A)
        .where(A.volume_id == volume_id, A.instance_uuid == instance_uuid, _LIVE, A.state.in_(sorted(states.PLACELESS)))
        .values(deleted_at=models.now())
        .execution_options(synchronize_session=False)
    )


def reload(session: Session, attachment_id: str) -> A:
    """Load an attachment after a move, one that has just been removed too."""
    return session.scalars(sa.select(A).where(A.id == attachment_id).execution_options(populate_existing=True)).one()
