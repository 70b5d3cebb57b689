# SPDX-License-Identifier: Apache-2.0
"""Rows that a caller may act on: loaded, then judged by their own project (contract 7.1)."""

from sqlalchemy.orm import Session

from multiattach.db import attachments as db_attachments, models, snapshots as db_snapshots, volumes as db_volumes
from multiattach.domain import errors, states
from multiattach.engine.context import RequestContext
from multiattach.engine.policy import Policy


def lock_volume(session: Session, policy: Policy, ctx: RequestContext, volume_id: str, rule: str) -> models.Volume:
    """Lock a volume for a caller who may do something with it."""
    volume = db_volumes.lock(session, volume_id)
    policy.check_visible(ctx, volume, errors.VolumeNotFound(volume_id))
    policy.check(ctx, rule, volume.project_id)
    return volume


def lock_snapshot(
    session: Session, policy: Policy, ctx: RequestContext, snapshot_id: str, rule: str
) -> models.Snapshot:
    """Lock a snapshot for a caller who may do something with it."""
    snapshot = db_snapshots.lock(session, snapshot_id)
    policy.check_visible(ctx, snapshot, errors.SnapshotNotFound(snapshot_id))
    policy.check(ctx, rule, snapshot.project_id)
    return snapshot


def show_sharers(session: Session, volume: models.Volume) -> str:
    """Return the status of a volume for those of its servers that stay.

    A server that is about to detach (os-begin_detaching) refuses nothing to the others: with one that does not
    detach, ``detaching`` is ``in-use``.
    """
    leaving = states.MARKS.get(volume.claim, states.Marks()).detaching
    if (
        volume.status == states.Volume.DETACHING
        and leaving
        and db_attachments.count_attached(session, volume.id) > leaving
    ):
        return states.Volume.IN_USE
    return volume.status
