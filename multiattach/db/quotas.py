# SPDX-License-Identifier: Apache-2.0
"""Quota limits, and what projects have. Use is counted, never booked: it cannot drift."""

import collections
from collections.abc import Mapping

import sqlalchemy as sa
from oslo_db import exception as db_exc
from sqlalchemy.orm import Session

from multiattach.db import models
from multiattach.db.commits import Work, find_dialect
from multiattach.domain import migrations, quotas, states

PROJECT, CLASS = 'project', 'class'
DEFAULT_CLASS = 'default'
# Parts of what is counted.
_VOLUMES, _SNAPSHOTS, _ARRIVING = range(3)
Q = models.QuotaLimit


def lock_project(work: Work, project_id: str) -> None:
    """Hold a project's lock until the transaction ends, so that counting and adding are one."""
    if find_dialect(work).name == 'sqlite':
        return  # BEGIN IMMEDIATE lets one writer in at a time
    query = (
        sa.select(models.ProjectLock.project_id).where(models.ProjectLock.project_id == project_id).with_for_update()
    )
    if work.execute(query).first() is None:
        try:
            work.execute(sa.insert(models.table_of(models.ProjectLock)), {'project_id': project_id})
        except db_exc.DBDuplicateEntry as exc:  # another one was first: begin again
            raise db_exc.RetryRequest(exc) from exc


def count_usage(session: Session, project_id: str, *, snapshot_gigabytes: bool) -> quotas.QuotaUsage:
    """Count what a project has, in one statement.

    :param snapshot_gigabytes: the GiB of snapshots count, too.
    """
    volume, kind, snapshot, way = models.Volume, models.VolumeType, models.Snapshot, models.Migration
    size = sa.func.coalesce(sa.func.sum(sa.func.coalesce(volume.new_size, volume.size)), 0)
    copied = sa.func.coalesce(sa.func.sum(snapshot.size), 0)
    rows = session.execute(
        sa.union_all(
            sa.select(sa.literal(_VOLUMES), kind.name, sa.func.count(), size)
            .join(volume, kind.id == volume.volume_type_id)
            .where(volume.project_id == project_id, volume.deleted_at.is_(None))
            .group_by(kind.name),
            sa.select(sa.literal(_SNAPSHOTS), kind.name, sa.func.count(), copied)
            .join(volume, kind.id == volume.volume_type_id)
            .join(snapshot, snapshot.volume_id == volume.id)
            .where(snapshot.project_id == project_id, snapshot.deleted_at.is_(None))
            .group_by(kind.name),
            # Begun under the same lock of the project; its status says so of each of them, and few others have it.
            sa.select(sa.literal(_ARRIVING), kind.name, sa.func.count(), size)
            .join(way, way.new_type_id == kind.id)
            .join(volume, volume.id == way.volume_id)
            .where(
                volume.project_id == project_id,
                volume.deleted_at.is_(None),
                volume.status == states.Volume.RETYPING,
                way.deleted_at.is_(None),
                way.state.in_(sorted(migrations.BEFORE)),
            )
            .group_by(kind.name),
        )
    ).all()
    gigabytes = collections.Counter[str]()
    for part, name, _, total in rows:
        if part == _VOLUMES or (part == _SNAPSHOTS and snapshot_gigabytes):
            gigabytes[name] += int(total)
    return quotas.QuotaUsage(
        {name: int(number) for part, name, number, _ in rows if part == _VOLUMES},
        gigabytes,
        snapshots={name: int(number) for part, name, number, _ in rows if part == _SNAPSHOTS},
        arriving={name: (int(number), int(total)) for part, name, number, total in rows if part == _ARRIVING},
    )


def count_attachments(work: Work, project_id: str) -> int:
    """Count the servers that have a project's volumes, once for each volume.

    :returns: their number; an attachment without a server counts as one.
    """
    volume, row = models.Volume, models.Attachment
    taken = (
        sa.select(row.volume_id, sa.func.coalesce(row.instance_uuid, row.id).label('server'))
        .join(volume, volume.id == row.volume_id)
        .where(
            volume.project_id == project_id,
            volume.deleted_at.is_(None),
            row.deleted_at.is_(None),
            row.state.not_in(sorted(states.PLACELESS)),
        )
        .distinct()
        .subquery()
    )
    return int(work.scalar(sa.select(sa.func.count()).select_from(taken)) or 0)


def read_limits(session: Session, project_id: str | None, class_name: str = DEFAULT_CLASS) -> dict[str, int]:
    """Return the limits that admins set: those of a project (None for no project) before those of its class."""
    mine = sa.and_(Q.scope == CLASS, Q.name == class_name)
    if project_id is not None:
        mine = sa.or_(mine, sa.and_(Q.scope == PROJECT, Q.name == project_id))
    rows = session.execute(sa.select(Q.scope, Q.resource, Q.hard_limit).where(mine)).all()
    limits = {resource: limit for scope, resource, limit in rows if scope == CLASS}
    limits |= {resource: limit for scope, resource, limit in rows if scope == PROJECT}
    return limits


def write_limits(session: Session, scope: str, name: str, limits: Mapping[str, int]) -> None:
    """Set limits of a :data:`PROJECT` or :data:`CLASS`; the others stay."""
    if not limits:
        return
    session.execute(
        sa.delete(Q)
        .where(Q.scope == scope, Q.name == name, Q.resource.in_(list(limits)))
        .execution_options(synchronize_session=False)
    )
    session.execute(
        sa.insert(Q),
        [
            {'scope': scope, 'name': name, 'resource': resource, 'hard_limit': limit}
            for resource, limit in limits.items()
        ],
    )


def delete_limits(session: Session, scope: str, name: str) -> None:
    session.execute(sa.delete(Q).where(Q.scope == scope, Q.name == name).execution_options(synchronize_session=False))
