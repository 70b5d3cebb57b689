# SPDX-License-Identifier: Apache-2.0
"""Queries for people who ask what is going on: history, hosts, and what targets should have."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.orm import Session

from multiattach.db import models
from multiattach.domain import errors, states
from multiattach.domain.drift import Recorded

A = models.Attachment
V = models.Volume
_LIVE = A.deleted_at.is_(None)
# A host agent's reservation has no connector yet, and an attachment of Nova's no agent.
_HOST = sa.func.coalesce(A.agent_host, A.attached_host)


def get_attachment(session: Session, attachment_id: str) -> A:
    """Load an attachment, one that is gone too, with its timeline and its volume.

    :returns: the attachment without connector and connection_info.
    """
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
    """Load a volume with its type and its live attachments."""
    found = session.scalars(
        sa.select(V)
        .where(V.id == volume_id, V.deleted_at.is_(None))
        .options(orm.joinedload(V.volume_type), orm.selectinload(V.attachments))
    ).first()
    if found is None:
        raise errors.VolumeNotFound(volume_id)
    return found


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


# -- hosts -----------------------------------------------------------------------------------------


@dataclasses.dataclass
class HostFacts:
    """What is recorded of one host.

    :param attachments: number of attachments by state.
    :param servers: number of servers that its agent registered.
    :param initiators: initiators that its connectors named.
    """

    attachments: dict[str, int] = dataclasses.field(default_factory=dict)
    servers: int = 0
    initiators: list[str] = dataclasses.field(default_factory=list)


def list_hosts(session: Session, host: str | None = None) -> dict[str, HostFacts]:
    """Sum up what is recorded of hosts, in three statements.

    :param host: only this one.
    """
    hosts: dict[str, HostFacts] = {}
    only = () if host is None else (host == _HOST,)
    for name, state, number in session.execute(
        sa.select(_HOST, A.state, sa.func.count()).where(_LIVE, _HOST.is_not(None), *only).group_by(_HOST, A.state)
    ):
        hosts.setdefault(name, HostFacts()).attachments[state] = int(number)
    for name, named in session.execute(
        sa.select(_HOST, A.initiator)
        .where(_LIVE, _HOST.is_not(None), A.initiator.is_not(None), *only)
        .distinct()
        .order_by(_HOST, A.initiator)
    ):
        hosts.setdefault(name, HostFacts()).initiators.append(str(named))
    table = models.Server
    mine = () if host is None else (table.host == host,)
    for name, number in session.execute(
        sa.select(table.host, sa.func.count()).where(table.deleted_at.is_(None), *mine).group_by(table.host)
    ):
        hosts.setdefault(name, HostFacts()).servers = int(number)
    return hosts


def list_of_host(session: Session, host: str, limit: int = 1000) -> list[A]:
    """List the live attachments of a host with their volumes' rows.

    :param limit: most attachments.
    :returns: attachments, oldest first.
    """
    return list(
        session.scalars(
            sa.select(A)
            .join(V, V.id == A.volume_id)
            .where(_LIVE, _HOST.in_([host]))
            .options(orm.contains_eager(A.volume))
            .order_by(A.created_at, A.id)
            .limit(limit)
        )
    )


def list_servers(session: Session, host: str, limit: int) -> list[models.Server]:
    """List the servers of a host.

    :param limit: most servers.
    """
    table = models.Server
    return list(
        session.scalars(
            sa.select(table)
            .where(table.host == host, table.deleted_at.is_(None))
            .order_by(table.name, table.id)
            .limit(limit)
        )
    )


# -- targets ---------------------------------------------------------------------------------------


def list_exported(session: Session, host: str | None, marker: str | None, limit: int) -> list[tuple[str, str | None]]:
    """List the volumes that some target should have, in order of their ids.

    :param host: only those of this backend.
    :param marker: only those after this id.
    :returns: pairs of volume id and backend.
    """
    query = (
        sa.select(V.id, V.host)
        .where(
            V.deleted_at.is_(None), sa.exists().where(A.volume_id == V.id, _LIVE, A.state.in_(sorted(states.ON_TARGET)))
        )
        .order_by(V.id)
        .limit(limit)
    )
    if host is not None:
        query = query.where(V.host == host)
    if marker is not None:
        query = query.where(V.id > marker)
    return [(row[0], row[1]) for row in session.execute(query)]


def find_backends(session: Session, volume_ids: Sequence[str]) -> dict[str, str | None]:
    """Tell which of some volumes are recorded, and where.

    :returns: backend by id of those that are.
    """
    return {
        row[0]: row[1]
        for row in session.execute(sa.select(V.id, V.host).where(V.id.in_(list(volume_ids)), V.deleted_at.is_(None)))
    }


def list_recorded(session: Session, volume_ids: Sequence[str]) -> dict[str, list[Recorded]]:
    """List whom the targets of volumes should admit.

    :returns: attachments on a target by volume id; CHAP names, no secrets.
    """
    found: dict[str, list[Recorded]] = {}
    for volume_id, state, initiator, info in session.execute(
        sa.select(A.volume_id, A.state, A.initiator, A.connection_info)
        .where(
            A.volume_id.in_(list(volume_ids)), _LIVE, A.state.in_(sorted(states.ON_TARGET)), A.initiator.is_not(None)
        )
        .order_by(A.volume_id, A.initiator)
    ):
        known: dict[str, Any] = info or {}
        found.setdefault(volume_id, []).append(Recorded(state, initiator, known.get('auth_username')))
    return found
