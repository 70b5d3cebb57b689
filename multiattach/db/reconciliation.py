# SPDX-License-Identifier: Apache-2.0
"""Queries of the reconcilers: plain columns, one statement for all that a backend or a host has."""

import datetime
from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Session

from multiattach.db import models
from multiattach.db.commits import Work
from multiattach.domain import states

A = models.Attachment
V = models.Volume
S = models.Server
_LIVE = A.deleted_at.is_(None)
_COLUMNS = (
    V.id,
    V.status,
    V.claim,
    A.id,
    A.state,
    A.state_at,
    A.initiator,
    A.instance_uuid,
    A.agent_host,
    A.attached_host,
    # A release before wrote marks without the moment.
    sa.func.coalesce(V.claimed_at, V.updated_at),
    A.shared_account,
)
_OF_VOLUMES = (
    sa.select(*_COLUMNS).select_from(V).outerjoin(A, sa.and_(A.volume_id == V.id, _LIVE)).where(V.deleted_at.is_(None))
)
_ON_BACKEND = _OF_VOLUMES.where(
    V.host == sa.bindparam('host'), sa.or_(A.id.is_not(None), V.status.in_(sorted(states.TAKEN)), V.claim.is_not(None))
)
_OF_AGENT = (
    sa.select(A.id, A.volume_id, A.state, A.state_at, A.instance_uuid, A.error, V.name_id)
    .join(V, V.id == A.volume_id)
    .where(_LIVE, A.agent_host == sa.bindparam('host'))
)
_CHUNK = 500


def list_ids(session: Session, backend: str) -> list[str]:
    """List the volumes of a backend, in order."""
    return list(session.scalars(sa.select(V.id).where(V.host == backend, V.deleted_at.is_(None)).order_by(V.id)))


class BackendRow(NamedTuple):
    """A volume of a backend with one of its attachments; without one, the attachment's part is None."""

    volume_id: str
    status: str
    claim: str | None
    attachment_id: str | None
    state: str | None
    state_at: datetime.datetime | None
    initiator: str | None
    server_id: str | None
    agent_host: str | None
    attached_host: str | None
    claimed_at: datetime.datetime | None
    shared_account: str | None = None


class AgentRow(NamedTuple):
    """An attachment of a host agent."""

    attachment_id: str
    volume_id: str
    state: str
    state_at: datetime.datetime
    server_id: str | None
    error: str | None
    name_id: str | None = None


class Place(NamedTuple):
    """A server and a volume that some attachment joins, whoever drives it."""

    volume_id: str
    server_id: str | None
    host: str | None
    state: str


def read_backend(session: Session, host: str) -> list[BackendRow]:
    """List a row for each attachment on a backend, and for each volume whose status wants one."""
    return [BackendRow._make(row) for row in session.execute(_ON_BACKEND, {'host': host})]


def list_of_volumes(session: Session, volume_ids: Sequence[str]) -> list[BackendRow]:
    """List live volumes with their attachments, at least one row for each."""
    return [
        BackendRow._make(row)
        for some in _chunks(volume_ids)
        for row in session.execute(_OF_VOLUMES.where(V.id.in_(some)))
    ]


def find_volumes(session: Session, volume_ids: Sequence[str]) -> dict[str, tuple[str | None, bool]]:
    """Return, of the volumes that are recorded, the backend and whether the volume lives."""
    return {
        row[0]: (row[1], row[2] is None)
        for some in _chunks(volume_ids)
        for row in session.execute(sa.select(V.id, V.host, V.deleted_at).where(V.id.in_(some)))
    }


def read_agent(session: Session, host: str) -> list[AgentRow]:
    return [AgentRow._make(row) for row in session.execute(_OF_AGENT, {'host': host})]


def list_places(session: Session, volume_ids: Sequence[str]) -> list[Place]:
    return [
        Place._make(row)
        for some in _chunks(volume_ids)
        for row in session.execute(
            sa.select(A.volume_id, A.instance_uuid, sa.func.coalesce(A.agent_host, A.attached_host), A.state).where(
                A.volume_id.in_(some), _LIVE, A.state.not_in(sorted(states.PLACELESS))
            )
        )
    ]


def find_attachments(session: Session, attachment_ids: Sequence[str]) -> dict[str, Place]:
    """Tell where attachments are, by id; the host of one that has ended is None."""
    host = sa.case((_LIVE, sa.func.coalesce(A.agent_host, A.attached_host)))
    return {
        row[0]: Place(*row[1:])
        for some in _chunks(attachment_ids)
        for row in session.execute(sa.select(A.id, A.volume_id, A.instance_uuid, host, A.state).where(A.id.in_(some)))
    }


def list_shared_names(session: Session, initiators: Sequence[str] | None = None) -> dict[str, list[str]]:
    """List the initiator names that live attachments have with several hosts, and those hosts."""
    mine = [_LIVE, A.state.in_(sorted(states.ON_TARGET)), A.initiator.is_not(None), A.attached_host.is_not(None)]
    if initiators is not None:
        mine.append(A.initiator.in_(sorted(set(initiators))[:_CHUNK]))
    shared = list(
        session.scalars(
            sa.select(A.initiator)
            .where(*mine)
            .group_by(A.initiator)
            .having(sa.func.min(A.attached_host) != sa.func.max(A.attached_host))
            .limit(_CHUNK)
        )
    )
    found: dict[str, list[str]] = {}
    if shared:
        for name, host in session.execute(
            sa.select(A.initiator, A.attached_host)
            .where(*mine, A.initiator.in_(shared))
            .distinct()
            .order_by(A.initiator, A.attached_host)
        ):
            found.setdefault(str(name), []).append(str(host))
    return found


def list_never_connected(session: Session, attachment_ids: Sequence[str]) -> set[str]:
    """Return the attachments that no host was ever to be admitted for: their timeline knows of no export."""
    return {
        ident
        for some in _chunks(attachment_ids)
        for ident in session.scalars(
            sa.select(A.id).where(A.id.in_(some), _LIVE, A.timeline.not_like('%"event":"export"%'))
        )
    }


def list_infos(session: Session, attachment_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    return {
        row[0]: row[1]
        for some in _chunks(attachment_ids)
        for row in session.execute(sa.select(A.id, A.connection_info).where(A.id.in_(some), _LIVE))
        if row[1]
    }


def find_servers(work: Work, server_ids: Sequence[str]) -> dict[str, tuple[str, datetime.datetime | None]]:
    """Tell where servers of host agents are.

    :returns: by id the host, and when the server was gone (None if it lives).
    """
    return {
        row[0]: (row[1], row[2])
        for some in _chunks(server_ids)
        for row in work.execute(sa.select(S.id, S.host, S.deleted_at).where(S.id.in_(some)))
    }


def find_ended(session: Session, volume_ids: Sequence[str]) -> dict[str, set[str]]:
    """Return, by volume, the initiators and servers that are recorded to have it no more."""
    ended: dict[str, set[str]] = {}
    for some in _chunks(volume_ids):
        for volume_id, initiator, server_id in session.execute(
            sa.select(A.volume_id, A.initiator, A.instance_uuid)
            .where(A.volume_id.in_(some), A.deleted_at.is_not(None))
            .distinct()
        ):
            ended.setdefault(volume_id, set()).update(name for name in (initiator, server_id) if name)
    return ended


def find_left(session: Session, volume_ids: Sequence[str]) -> set[str]:
    """Return the volumes of which somebody was detached or fenced."""
    gone = sa.or_(A.deleted_at.is_not(None), A.state == states.Attachment.FENCED)
    found: set[str] = set()
    for some in _chunks(volume_ids):
        found |= {*session.scalars(sa.select(A.volume_id).where(A.volume_id.in_(some), gone).distinct())}
    return found


def find_registered(session: Session, server_ids: Sequence[str]) -> dict[str, datetime.datetime]:
    return {
        row[0]: row[1]
        for some in _chunks(server_ids)
        for row in session.execute(sa.select(S.id, S.created_at).where(S.id.in_(some)))
    }


def _chunks(idents: Sequence[str]) -> list[list[str]]:
    """Cut into parts of which no database says that there are too many parameters."""
    unique = sorted(set(idents))
    return [unique[number : number + _CHUNK] for number in range(0, len(unique), _CHUNK)]
