# SPDX-License-Identifier: Apache-2.0
"""What is recorded of the storage of a backend, and the steps on it that have not ended."""

import datetime
from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Session

from multiattach.db import models
from multiattach.domain import migrations, snapshots, states

V = models.Volume
S = models.Snapshot
M = models.Migration
_CHUNK = 500
_COPYING = migrations.State.COPYING


class Owner(NamedTuple):
    """The volume that storage belongs to, by the name that it has.

    :param lives: there is a volume, or a snapshot, of that id.
    """

    volume_id: str
    host: str | None
    lives: bool


class OpenStep(NamedTuple):
    """A step that has not ended.

    :param ident: of the volume, the snapshot or the migration.
    :param percent: how much of it is done, where somebody counts.
    """

    ident: str
    volume_id: str
    state: str
    since: datetime.datetime
    percent: str | None


def list_statuses(session: Session, host: str) -> dict[str, str]:
    """Return the statuses of a backend's volumes."""
    rows = session.execute(sa.select(V.id, V.status).where(V.deleted_at.is_(None), V.host == host))
    return {row[0]: row[1] for row in rows}


def find_owners(session: Session, idents: Sequence[str]) -> dict[str, Owner]:
    """Find the volumes and snapshots, gone ones too, whose ids are in the names of storage.

    What was given back by os-unmanage is nobody's here, whatever becomes of its name.
    """
    found: dict[str, Owner] = {}
    for some in _chunks(idents):
        for row in session.execute(
            sa.select(S.id, S.volume_id, V.host, S.deleted_at)
            .join(V, V.id == S.volume_id)
            .where(S.id.in_(some), _is_kept(S))
        ):
            found[row[0]] = Owner(row[1], row[2], row[3] is None)
        for volume in session.execute(sa.select(V.id, V.host, V.deleted_at).where(V.id.in_(some), _is_kept(V))):
            found[volume[0]] = Owner(volume[0], volume[1], volume[2] is None)
    return found


def _is_kept(model: type[models.Volume] | type[models.Snapshot]) -> sa.ColumnElement[bool]:
    return sa.or_(model.deleted_at.is_(None), model.managed_from.is_(None))


def find_busy(session: Session, idents: Sequence[str]) -> set[str]:
    """Return those of some volumes and snapshots on whose storage a step is due or under way, on any backend."""
    found: set[str] = set()
    for some in _chunks(idents):
        found.update(
            session.scalars(
                sa.union_all(
                    sa.select(V.id).where(V.id.in_(some), V.deleted_at.is_(None), V.status.in_(sorted(states.BUSY))),
                    sa.select(S.id).where(S.id.in_(some), S.deleted_at.is_(None), S.status.in_(sorted(snapshots.BUSY))),
                    sa.select(M.volume_id).where(M.volume_id.in_(some), M.deleted_at.is_(None)),
                )
            )
        )
    return found


def list_open_steps(session: Session, host: str, before: datetime.datetime) -> list[OpenStep]:
    """List the steps of a backend that have been due since before a moment."""
    copies, source, destination = models.ImageCopy, sorted(migrations.AT_SOURCE), sorted(migrations.AT_DESTINATION)
    nothing, share = sa.cast(sa.null(), sa.String(8)), sa.cast(M.progress, sa.String(8))
    rows = session.execute(
        sa.union_all(
            sa.select(V.id, V.id, V.status, V.status_at, sa.cast(copies.percent, sa.String(8)))
            .outerjoin(copies, copies.volume_id == V.id)
            .where(
                V.deleted_at.is_(None), V.host == host, V.status.in_(sorted(states.WITH_STEP)), V.status_at < before
            ),
            sa.select(S.id, S.volume_id, S.status, S.status_at, nothing)
            .join(V, V.id == S.volume_id)
            .where(
                S.deleted_at.is_(None),
                V.host == host,
                S.status.in_(sorted(snapshots.WORKER_SNAPSHOTS)),
                S.status_at < before,
            ),
            sa.select(M.id, M.volume_id, M.state, M.state_at, sa.case((M.state == _COPYING, share))).where(
                M.deleted_at.is_(None),
                M.state_at < before,
                sa.or_(
                    sa.and_(M.destination == host, M.state.in_(destination)),
                    sa.and_(M.source == host, M.state.in_(source)),
                ),
            ),
        )
    )
    return [OpenStep._make(row) for row in rows]


def _chunks(idents: Sequence[str]) -> list[list[str]]:
    unique = sorted(set(idents))
    return [unique[number : number + _CHUNK] for number in range(0, len(unique), _CHUNK)]
