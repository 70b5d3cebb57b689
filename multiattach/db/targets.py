# SPDX-License-Identifier: Apache-2.0
"""Queries on what targets should have."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Session

from multiattach.db import models
from multiattach.domain import states
from multiattach.domain.target_drift import Recorded

A = models.Attachment
V = models.Volume
_LIVE = A.deleted_at.is_(None)


def list_exported(session: Session, host: str | None, marker: str | None, limit: int) -> list[tuple[str, str | None]]:
    """List volume id and backend of the volumes after *marker* that some target should have, in order."""
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
    """Return the backend of each of some volumes that is recorded."""
    return {
        row[0]: row[1]
        for row in session.execute(sa.select(V.id, V.host).where(V.id.in_(list(volume_ids)), V.deleted_at.is_(None)))
    }


class Owner(NamedTuple):
    project_id: str
    host: str | None


def find_owner(session: Session, volume_id: str) -> Owner | None:
    """Return whose a volume is, and its backend; None if it is not recorded."""
    row = session.execute(sa.select(V.project_id, V.host).where(V.id == volume_id, V.deleted_at.is_(None))).first()
    return None if row is None else Owner(*row)


def list_recorded(session: Session, volume_ids: Sequence[str]) -> dict[str, list[Recorded]]:
    """List by volume id whom its target should admit; CHAP names, no secrets."""
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
