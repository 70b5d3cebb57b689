# SPDX-License-Identifier: Apache-2.0
"""The volume worker's side of a fence: whom to cut off a target, and what was seen there."""

import dataclasses
import datetime
import functools
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.orm import Session

from multiattach.db import (
    attachments as db_attachments,
    database,
    exports as db_exports,
    fences,
    locks,
    models,
    moves,
    transitions,
)
from multiattach.domain import connection, sharing, states

A = states.Attachment
_AT_ONCE = 100  # outcomes whose attachments are read by one statement


@dataclasses.dataclass(frozen=True)
class FencePlan:
    """One initiator that is to be cut off one volume's target.

    :param initiator: name of the initiator; None if no host ever connected.
    :param infos: connection_info, or None, by attachment: all that the initiator has in ``fencing``.
    :param is_last_on_target: nobody else uses the export.
    :param is_last_of_initiator: the initiator has no other attachment of the volume.
    :param proof: what an earlier fence of it saw, or None.
    :param account: as of :class:`~multiattach.steps.exports.ExportPlan`; so is *admitted*.
    """

    volume_id: str
    state: str
    initiator: str | None
    infos: Mapping[str, Any] = dataclasses.field(repr=False)
    is_last_on_target: bool
    is_last_of_initiator: bool
    proof: dict[str, Any] | None = None
    account: str | None = None
    admitted: Sequence[db_attachments.Admitted] | None = None


@dataclasses.dataclass(frozen=True)
class FenceOutcome:
    plan: FencePlan
    proof: Mapping[str, Any]
    seconds: float


class FencePlans:
    """Plans and outcomes of the worker's fences."""

    def __init__(self, db: database.Database, actor: transitions.Actor) -> None:
        self._db = db
        self._actor = actor

    @property
    def worker(self) -> str:
        return self._actor.name.partition(':')[2]

    @database.retry
    def plan(self, attachment_id: str) -> FencePlan:
        with self._db.reader() as session:
            row = db_exports.read(session, attachment_id)
            mates = [one for one in row.mates if one.state == A.FENCING]
            infos = {row.id: row.connection_info} | {one.id: one.connection_info for one in mates}
            rest = [one for one in row.sharers if one.id not in infos]
            return FencePlan(
                row.volume_id,
                row.state,
                row.initiator,
                infos,
                sharing.is_last_on_target(row.id, rest),
                sharing.is_last_of_initiator(row.id, row.initiator or '', rest),
                _find_proof(session, row),
                '' if row.has_partner else row.shared_account,
                db_attachments.list_admitted(session, row.volume_id) if row.is_adopted else None,
            )

    @database.retry
    def finish(self, outcomes: Sequence[FenceOutcome]) -> None:
        """Write that initiators are cut off, and forget their secrets; all in one transaction.

        What went elsewhere meanwhile, for instance because another worker was as fast, stays as it is.
        """
        outcomes = sorted(outcomes, key=lambda one: one.plan.volume_id)
        with self._db.transaction() as work:
            volumes = locks.lock_volumes(work, [one.plan.volume_id for one in outcomes])
            for start in range(0, len(outcomes), _AT_ONCE):
                some = outcomes[start : start + _AT_ONCE]
                by_ident = {ident: one for one in some for ident in one.plan.infos}
                held = {
                    one.plan.volume_id: volumes[one.plan.volume_id] for one in some if one.plan.volume_id in volumes
                }
                rows = locks.read_attachments(work, held, models.Attachment.id.in_(sorted(by_ident)))
                describe = functools.partial(_describe, by_ident)
                moves.move_each(work, rows, 'fenced', self._actor, describe, lenient=True)

    @database.retry
    def fail(self, plan: FencePlan, error: str) -> None:
        """Write why the initiator could not be cut off; it is tried again."""
        with self._db.writer() as session:
            for ident in plan.infos:
                transitions.move_attachment(session, ident, 'fence_failed', self._actor, error=error)

    @database.retry
    def list_pending(self, volume_id: str, initiator: str) -> list[str]:
        """List what is still to be cut off of one initiator at one volume."""
        with self._db.reader() as session:
            return [row.id for row in fences.list_fencing(session, volume_id) if row.initiator == initiator]

    @database.retry
    def list_recent(
        self, backend_host: str, seconds: float, after: datetime.datetime | None = None
    ) -> list[models.Attachment]:
        """List the attachments that were cut off a backend's targets in the last *seconds*, and since *after*."""
        since = models.now() - datetime.timedelta(seconds=seconds)
        since = since if after is None else max(since, after)
        with self._db.reader() as session:
            return fences.list_recent(session, backend_host, since)


def _describe(outcomes: Mapping[str, FenceOutcome], ident: str) -> dict[str, Any]:
    one = outcomes[ident]
    info = one.plan.infos[ident]
    return {
        'seconds': one.seconds,
        'fenced_at': models.now(),
        'fence_proof': dict(one.proof),
        'swept_at': None,
        'connection_info': connection.hide_secrets(info) if info else None,
    }


def _find_proof(session: Session, row: db_exports.ExportRow) -> dict[str, Any] | None:
    if row.state != A.FENCED:
        return None
    found = fences.get_proof(session, row.id)
    proof: dict[str, Any] | None = found.fence_proof if found is not None else None
    return proof
