# SPDX-License-Identifier: Apache-2.0
"""Queries on compute hosts: which names there are, and what is recorded of them."""

import dataclasses

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.orm import Session

from multiattach.db import models

A = models.Attachment
V = models.Volume
_LIVE = A.deleted_at.is_(None)
# A host agent's reservation has no connector yet, and an attachment of Nova's no agent.
_HOST = sa.func.coalesce(A.agent_host, A.attached_host)
# Names that are read to find those that are near; of more the rest is not offered.
_MOST = 10_000


def _is_of(host: str) -> sa.ColumnElement[bool]:
    """Compare _HOST in a way that indexes serve."""
    return sa.or_(A.agent_host == host, sa.and_(A.agent_host.is_(None), A.attached_host == host))


def is_known(session: Session, host: str, agent_binary: str) -> bool:
    """Return whether anything but a fence, also a deleted attachment, has ever named a compute host."""
    service, server = models.Service, models.Server
    of_host = sa.or_(A.attached_host == host, A.agent_host == host)
    for query in (
        sa.select(service.id).where(service.binary == agent_binary, service.host == host),
        sa.select(server.id).where(server.host == host, server.deleted_at.is_(None)),
        sa.select(A.id).where(A.deleted_at.is_(None), of_host),
        sa.select(A.id).where(of_host),
    ):
        if session.execute(query.limit(1)).first() is not None:
            return True
    return False


def list_names(session: Session, agent_binary: str) -> set[str]:
    names: set[str] = set()
    service, server, mark = models.Service, models.Server, models.FencedHost
    for query in (
        sa.select(service.host).where(service.binary == agent_binary),
        sa.select(server.host).where(server.deleted_at.is_(None)).distinct(),
        sa.select(A.attached_host).where(A.deleted_at.is_(None), A.attached_host.is_not(None)).distinct(),
        sa.select(A.agent_host).where(A.deleted_at.is_(None), A.agent_host.is_not(None)).distinct(),
        sa.select(mark.host),
    ):
        names.update(session.scalars(query.limit(_MOST)))
    return names


@dataclasses.dataclass
class RecordedHost:
    """What is recorded of one host; attachments are counted by state."""

    attachments: dict[str, int] = dataclasses.field(default_factory=dict)
    servers: int = 0
    initiators: list[str] = dataclasses.field(default_factory=list)


def list_facts(session: Session, host: str | None = None) -> dict[str, RecordedHost]:
    """Sum up what is recorded of hosts, or of one, in three statements."""
    hosts: dict[str, RecordedHost] = {}
    only = () if host is None else (_is_of(host),)
    for name, state, number in session.execute(
        sa.select(_HOST, A.state, sa.func.count()).where(_LIVE, _HOST.is_not(None), *only).group_by(_HOST, A.state)
    ):
        hosts.setdefault(name, RecordedHost()).attachments[state] = int(number)
    for name, named in session.execute(
        sa.select(_HOST, A.initiator)
        .where(_LIVE, _HOST.is_not(None), A.initiator.is_not(None), *only)
        .distinct()
        .order_by(_HOST, A.initiator)
    ):
        hosts.setdefault(name, RecordedHost()).initiators.append(str(named))
    table = models.Server
    mine = () if host is None else (table.host == host,)
    for name, number in session.execute(
        sa.select(table.host, sa.func.count()).where(table.deleted_at.is_(None), *mine).group_by(table.host)
    ):
        hosts.setdefault(name, RecordedHost()).servers = int(number)
    return hosts


def list_attachments(session: Session, host: str, limit: int = 1000) -> list[A]:
    """List the live attachments of a host with their volumes' rows, oldest first."""
    return list(
        session.scalars(
            sa.select(A)
            .join(V, V.id == A.volume_id)
            .where(_LIVE, _is_of(host))
            .options(orm.contains_eager(A.volume))
            .order_by(A.created_at, A.id)
            .limit(limit)
        )
    )


def list_servers(session: Session, host: str, limit: int) -> list[models.Server]:
    table = models.Server
    return list(
        session.scalars(
            sa.select(table)
            .where(table.host == host, table.deleted_at.is_(None))
            .order_by(table.name, table.id)
            .limit(limit)
        )
    )
