# SPDX-License-Identifier: Apache-2.0
"""The one writer of attachment states and volume statuses.

Each move is a compare-and-swap: the WHERE clause of the UPDATE holds the sources of the row in
:mod:`multiattach.domain.states`, and one row changes or nobody's does.
"""

import dataclasses
import json
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from multiattach.db import models
from multiattach.domain import errors, states

_MAX_ERROR = 1000


@dataclasses.dataclass(frozen=True)
class Actor:
    """Who moves a state: a part of the service and the request it works for.

    :param name: ``api``, ``volume:HOST`` or ``host:HOST``.
    :param request_id: ``req-…`` of the API call, if one is behind it.
    """

    name: str
    request_id: str | None = None


def move_attachment(
    session: Session, attachment_id: str, event: str, actor: Actor, *,
    error: str | None = None, seconds: float | None = None, **values: Any,
) -> None:
    """Move an attachment by an event, with what is written in the same UPDATE.

    :param session: a writer's session; the volume's row is locked by the caller where the move
        changes what the volume's status is derived from.
    :param attachment_id: UUID.
    :param event: key of :data:`~multiattach.domain.states.ATTACHMENT_EVENTS`.
    :param actor: who does it, for the timeline.
    :param error: why a step failed, for the row and the timeline; free of secrets.
    :param seconds: how long the step took, in seconds.
    :param values: further columns.
    :raises InvalidTransition: the row is gone or in none of the event's sources.
    """
    row = states.ATTACHMENT_EVENTS[event]
    assert row.target is not None
    moment = models.now()
    line = _entry(event, row.target, moment.isoformat(), actor, error, seconds)
    table = models.Attachment
    values |= {
        'state': row.target, 'state_at': moment, 'updated_at': moment,
        'error': error[:_MAX_ERROR] if error else None,
        'timeline': table.timeline.concat(line),
    }
    if row.target == states.Attachment.DETACHED:
        values |= {'deleted_at': moment, 'detached_at': moment}
    done = session.execute(
        sa.update(table).execution_options(synchronize_session=False)
        .where(table.id == attachment_id, table.deleted_at.is_(None),
               table.state.in_(sorted(row.sources)))
        .values(**values))
    if done.rowcount != 1:  # type: ignore[attr-defined]
        raise errors.InvalidTransition('attachment', attachment_id, event)


def add_attachment(session: Session, attachment: models.Attachment, actor: Actor) -> None:
    """Insert an attachment in state ``reserved``.

    :param session: a writer's session that holds the volume's lock.
    :param attachment: the row without state.
    :param actor: who reserves.
    """
    moment = models.now()
    attachment.state = states.Attachment.RESERVED
    attachment.created_at = attachment.state_at = moment
    attachment.timeline = _entry('reserve', attachment.state, moment.isoformat(), actor, None, None)
    session.add(attachment)
    session.flush()


def move_volume(session: Session, volume_id: str, event: str, **values: Any) -> None:
    """Move a volume by an event, with what is written in the same UPDATE.

    :param session: a writer's session.
    :param volume_id: UUID.
    :param event: key of :data:`~multiattach.domain.states.VOLUME_EVENTS`.
    :param values: further columns.
    :raises InvalidTransition: the row is gone or in none of the event's sources.
    """
    row = states.VOLUME_EVENTS[event]
    moment = models.now()
    table = models.Volume
    values |= {
        'status': _derivation(volume_id) if row.target is None else row.target,
        'status_at': moment, 'updated_at': moment,
    }
    if row.target == states.Volume.DELETED:
        values['deleted_at'] = moment
    done = session.execute(
        sa.update(table).execution_options(synchronize_session=False)
        .where(table.id == volume_id, table.deleted_at.is_(None),
               table.status.in_(sorted(row.sources)))
        .values(**values))
    if done.rowcount != 1:  # type: ignore[attr-defined]
        raise errors.InvalidTransition('volume', volume_id, event)


def reset_volume(session: Session, volume_id: str, status: str) -> None:
    """Set a status at an admin's word; one that attachments decide is derived instead.

    ``attaching`` and ``detaching`` leave the mark that os-reserve and os-begin_detaching leave.

    :param session: a writer's session that holds the volume's lock.
    :param volume_id: UUID.
    :param status: the status to set.
    """
    table = models.Volume
    derived = status in states.DERIVED_STATUSES
    claim = status if status in list(states.Claim) else None
    # What an extension had promised is given back with it.
    promised = {} if status == states.Volume.EXTENDING else {'new_size': None}
    session.execute(
        sa.update(table).execution_options(synchronize_session=False)
        .where(table.id == volume_id)
        .values(status=_derivation(volume_id, sa.literal(claim, sa.String)) if derived else status,
                claim=claim, status_at=models.now(), updated_at=models.now(), **promised))


def derive_volume(session: Session, volume_id: str, **values: Any) -> None:
    """Write the status that the volume's attachments and its claim give.

    One statement, whatever the number of attachments. A status that is none of the derived
    ones (``deleting``, ``retyping``, …) stays: its own event ends in a derivation.

    :param session: a writer's session that holds the volume's lock.
    :param volume_id: UUID.
    :param values: further columns, written whatever the status; ``claim`` among them counts.
    """
    table = models.Volume
    claim = sa.literal(values['claim']) if 'claim' in values else table.claim
    status = sa.case((table.status.in_(sorted(states.DERIVED_STATUSES)), _derivation(volume_id, claim)),
                     else_=table.status)
    session.execute(
        sa.update(table).execution_options(synchronize_session=False)
        .where(table.id == volume_id).values(status=status, updated_at=models.now(), **values))


def _derivation(volume_id: str, claim: Any = None) -> sa.ColumnElement[str]:
    """Build ``states.derive_status`` in SQL, from the same table."""
    claim = models.Volume.claim if claim is None else claim
    live = (models.Attachment.volume_id == volume_id, models.Attachment.deleted_at.is_(None))
    whens: list[tuple[Any, Any]] = []
    for source, status in states.DERIVATION:
        mine = sa.select(sa.literal(1)).select_from(models.Attachment).where(
            *live, models.Attachment.state.in_(sorted(source)))
        if status is states.Volume.IN_USE:
            number = sa.select(sa.func.count()).select_from(models.Attachment).where(
                *live, models.Attachment.state.in_(sorted(source))).scalar_subquery()
            whens.append((sa.and_(claim == states.Claim.DETACHING, number == 1),
                          sa.literal(states.Volume.DETACHING)))
        whens.append((mine.exists(), sa.literal(status)))
    whens.append((claim == states.Claim.ATTACHING, sa.literal(states.Volume.ATTACHING)))
    return sa.case(*whens, else_=sa.literal(states.Volume.AVAILABLE))


def _entry(event: str, state: str, moment: str, actor: Actor, error: str | None,
           seconds: float | None) -> str:
    entry: dict[str, Any] = {'at': moment, 'event': event, 'state': state, 'by': actor.name}
    if actor.request_id:
        entry['request_id'] = actor.request_id
    if seconds is not None:
        entry['seconds'] = round(seconds, 4)
    if error:
        entry['error'] = error[:_MAX_ERROR]
    return json.dumps(entry, separators=(',', ':')) + '\n'
