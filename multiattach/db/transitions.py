# SPDX-License-Identifier: Apache-2.0
"""The one writer of attachment states and volume statuses.

Each move is a compare-and-swap: the WHERE clause of the UPDATE holds the sources of the row in
:mod:`multiattach.domain.states`, and one row changes or nobody's does.
"""

import dataclasses
import functools
import json
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from multiattach import request_ids
from multiattach.db import changes, commits, models, timelines
from multiattach.domain import errors, states
from multiattach.domain.callers import Caller

_MAX_ERROR = 1000
_IDENT, _LINE, _LEFT = 'row_ident', 'timeline_line', 'left_ident'  # parameters that are no columns


@dataclasses.dataclass(frozen=True)
class Actor:
    """Who moves a state: a part of the service and the request it works for.

    :param name: ``api``, ``volume:HOST`` or ``host:HOST``.
    :param request_id: ``req-…`` of the API call, if one is behind it.
    :param caller: who called the API, None for the service itself.
    """

    name: str
    request_id: str | None = None
    caller: Caller | None = None


def move_attachment(
    session: Session,
    attachment_id: str,
    event: str,
    actor: Actor,
    *,
    error: str | None = None,
    seconds: float | None = None,
    **values: Any,
) -> None:
    """Move an attachment by an event, with what is written in the same UPDATE.

    :param session: a writer's session; the volume's row is locked by the caller where the move
        changes what the volume's status is derived from.
    :param event: key of :data:`~multiattach.domain.states.ATTACHMENT_EVENTS`.
    :param actor: who does it, for the timeline.
    :param error: why a step failed, for the row and the timeline; free of secrets.
    :param seconds: how long the step took, in seconds.
    """
    row = states.ATTACHMENT_EVENTS[event]
    assert row.target is not None
    moment = models.now()
    line = _entry(event, row.target, moment.isoformat(), actor, error, seconds)
    table = models.Attachment
    values |= {
        'state': row.target,
        'state_at': moment,
        'updated_at': moment,
        'error': error[:_MAX_ERROR] if error else None,
    }
    if row.target == states.Attachment.DETACHED:
        values |= {'deleted_at': moment, 'detached_at': moment}
    done = session.execute(_build_move(event, tuple(values)), {**values, _IDENT: attachment_id, _LINE: line})
    if done.rowcount != 1:  # type: ignore[attr-defined]
        raise errors.InvalidTransition('attachment', attachment_id, event)
    commits.note_line(session, attachment_id, line)
    changes.note(
        session,
        lambda: changes.Change(
            changes.ATTACHMENT,
            attachment_id,
            event,
            row.target,
            moment,
            *changes.state_before(session, table, attachment_id, 'state', moment),
            seconds=seconds,
            error=error,
            request_id=_find_request(actor),
            caller=actor.caller,
        ),
    )


def add_attachment(session: Session, attachment: models.Attachment, actor: Actor) -> None:
    """Insert an attachment in state ``reserved``.

    :param attachment: the row without state.
    :param actor: who reserves.
    """
    moment = models.now()
    attachment.state = states.Attachment.RESERVED
    attachment.created_at = attachment.state_at = moment
    attachment.timeline = _entry('reserve', attachment.state, moment.isoformat(), actor, None, None)
    session.add(attachment)
    session.flush()
    changes.note(
        session,
        lambda: changes.Change(
            changes.ATTACHMENT,
            attachment.id,
            'reserve',
            attachment.state,
            moment,
            request_id=_find_request(actor),
            caller=actor.caller,
        ),
    )


def move_volume(session: Session, volume_id: str, event: str, **values: Any) -> None:
    """Move a volume by an event, with what is written in the same UPDATE.

    :param event: key of :data:`~multiattach.domain.states.VOLUME_EVENTS`.
    """
    row = states.VOLUME_EVENTS[event]
    moment = models.now()
    values |= {'status_at': moment, 'updated_at': moment}
    if row.target is not None:
        values['status'] = row.target
    if row.target == states.Volume.DELETED:
        values['deleted_at'] = moment
    done = session.execute(_build_volume_move(event, tuple(values)), {**values, _IDENT: volume_id})
    if done.rowcount != 1:  # type: ignore[attr-defined]
        raise errors.InvalidTransition('volume', volume_id, event)
    commits.note_volume(session, volume_id, moment)
    changes.note(
        session,
        lambda: changes.Change(
            changes.VOLUME,
            volume_id,
            event,
            row.target,
            moment,
            *changes.state_before(session, models.Volume, volume_id, 'status', moment),
        ),
    )


def reset_volume(session: Session, volume_id: str, status: str) -> None:
    """Set a status at an admin's word; one that attachments decide is derived instead.

    ``attaching`` and ``detaching`` leave the mark that os-reserve and os-begin_detaching leave.

    :param status: the status to set.
    """
    table = models.Volume
    derived = status in states.DERIVED_STATUSES
    claim = status if status in list(states.Claim) else None
    # What an extension had promised is given back with it.
    promised = {} if status == states.Volume.EXTENDING else {'new_size': None}
    moment = models.now()
    session.execute(
        sa.update(table)
        .execution_options(synchronize_session=False)
        .where(table.id == volume_id)
        .values(
            status=_derivation(sa.literal(claim, sa.String)) if derived else status,
            claim=claim,
            claimed_at=moment if claim else None,
            status_at=moment,
            updated_at=moment,
            **promised,
        ),
        {_IDENT: volume_id},
    )
    commits.note_volume(session, volume_id, moment)


def drop_claim(session: Session, volume: models.Volume, claim: str) -> None:
    """Take back the mark of a legacy action; another one, or none, stays as it is.

    :param claim: the mark.
    """
    if volume.claim == claim:
        derive_volume(session, volume.id, claim=None)


def derive_volume(session: Session, volume_id: str, *, left: str | None = None, **values: Any) -> None:
    """Write the status that the volume's attachments and its claim give.

    One statement, whatever the number of attachments. A status that is none of the derived
    ones (``deleting``, ``extending``, …) stays: its own event ends in a derivation.

    :param left: UUID of an attachment whose detach has just ended; the mark that os-begin_detaching left
        of it goes if a server had it.
    :param values: further columns, written whatever the status; ``claim`` among them counts.
    """
    moment = models.now()
    values['updated_at'] = moment
    if 'claim' in values:
        values['claimed_at'] = moment if values['claim'] is not None else None
    parameters = {**values, _IDENT: volume_id} | ({} if left is None else {_LEFT: left})
    session.execute(_build_derivation(tuple(values), left is not None), parameters)
    commits.note_volume(session, volume_id, moment)


# Statements are built once per shape: building one costs several times what sending it does.


def _parameters(table: sa.Table, columns: tuple[str, ...]) -> dict[str, Any]:
    return {name: sa.bindparam(name, type_=table.c[name].type) for name in columns}


@functools.cache
def _build_move(event: str, columns: tuple[str, ...]) -> sa.Update:
    table = models.Attachment.__table__
    assert isinstance(table, sa.Table)
    return (
        sa.update(table)
        .where(
            table.c.id == sa.bindparam(_IDENT),
            table.c.deleted_at.is_(None),
            table.c.state.in_(sorted(states.ATTACHMENT_EVENTS[event].sources)),
        )
        .values(
            timeline=timelines.append(table.c.timeline, sa.bindparam(_LINE, type_=sa.Text())),
            **_parameters(table, columns),
        )
    )


@functools.cache
def _build_volume_move(event: str, columns: tuple[str, ...]) -> sa.Update:
    table = models.Volume.__table__
    assert isinstance(table, sa.Table)
    values = _parameters(table, columns)
    if 'status' not in columns:
        values['status'] = _derivation(table.c.claim)
    return (
        sa.update(table)
        .where(
            table.c.id == sa.bindparam(_IDENT),
            table.c.deleted_at.is_(None),
            table.c.status.in_(sorted(states.VOLUME_EVENTS[event].sources)),
        )
        .values(**values)
    )


@functools.cache
def _build_derivation(columns: tuple[str, ...], left: bool) -> sa.Update:
    table = models.Volume.__table__
    assert isinstance(table, sa.Table)
    values = _parameters(table, columns)
    claim = values.get('claim', table.c.claim)
    if left:
        # MySQL writes the columns one after the other: status, of what claim was, comes first in the table.
        claim = values['claim'] = _end_detaching(table.c.claim)
    status = sa.case((table.c.status.in_(sorted(states.DERIVED_STATUSES)), _derivation(claim)), else_=table.c.status)
    return sa.update(table).where(table.c.id == sa.bindparam(_IDENT)).values(status=status, **values)


def _end_detaching(claim: Any) -> sa.ColumnElement[Any]:
    """Build what is left of the marks when the detach of attachment ``_LEFT`` has ended."""
    row = models.Attachment
    ended = (
        sa.select(sa.literal(1))
        .select_from(row)
        .where(
            row.id == sa.bindparam(_LEFT),
            row.attached_at.is_not(None),
            sa.or_(row.deleted_at.is_not(None), row.state == states.Attachment.ERROR_DETACHING),
        )
        .exists()
    )
    others = (
        sa.select(sa.literal(1))
        .select_from(row)
        .where(row.volume_id == sa.bindparam(_IDENT), row.deleted_at.is_(None), row.state == states.Attachment.ATTACHED)
        .exists()
    )
    whens: list[tuple[Any, Any]] = []
    for name in sorted(states.DETACHING_CLAIMS):
        marks = states.MARKS[name]
        whens += [
            (sa.and_(ended, claim == name, others), sa.literal(marks.end_detaching().claim, sa.String)),
            (sa.and_(ended, claim == name), sa.literal(marks._replace(detaching=0).claim, sa.String)),
        ]
    return sa.case(*whens, else_=claim)


def _derivation(claim: Any) -> sa.ColumnElement[str]:
    """Build ``states.derive_status`` of the volume that parameter ``_IDENT`` names, from the same table."""
    live = (models.Attachment.volume_id == sa.bindparam(_IDENT), models.Attachment.deleted_at.is_(None))
    whens: list[tuple[Any, Any]] = []
    for source, status in states.DERIVATION:
        mine = (
            sa.select(sa.literal(1))
            .select_from(models.Attachment)
            .where(*live, models.Attachment.state.in_(sorted(source)))
        )
        if status is states.Volume.IN_USE:
            whens.append(
                (
                    sa.and_(claim.in_(sorted(states.DETACHING_CLAIMS)), mine.exists()),
                    sa.literal(states.Volume.DETACHING),
                )
            )
        whens.append((mine.exists(), sa.literal(status)))
    whens.append((claim.in_(sorted(states.ATTACHING_CLAIMS)), sa.literal(states.Volume.ATTACHING)))
    return sa.case(*whens, else_=sa.literal(states.Volume.AVAILABLE))


def _find_request(actor: Actor) -> str | None:
    """Find the request behind an act: a worker's thread carries the one that it works for."""
    return actor.request_id or request_ids.make(None)['request_id']


def _entry(event: str, state: str, moment: str, actor: Actor, error: str | None, seconds: float | None) -> str:
    entry: dict[str, Any] = {'at': moment, 'event': event, 'state': state, 'by': actor.name}
    if request_id := _find_request(actor):
        entry['request_id'] = request_id
    if actor.caller is not None:
        entry |= actor.caller.tell()
    if seconds is not None:
        entry['seconds'] = round(seconds, 4)
    if error:
        entry['error'] = error[:_MAX_ERROR]
    return json.dumps(entry, separators=(',', ':')) + '\n'
