# SPDX-License-Identifier: Apache-2.0
"""The one writer of attachment states and volume statuses.

Each move is a compare-and-swap: the WHERE clause of the UPDATE holds the sources of the row in
:mod:`multiattach.domain.states`, and one row changes or nobody's does.
"""

import dataclasses
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from multiattach import request_ids
from multiattach.db import changes, commits, locks, models, transition_statements as statements
from multiattach.db.commits import Work
from multiattach.domain import errors, states
from multiattach.domain.callers import Caller

_MAX_ERROR = 1000
Row = models.Attachment | locks.LockedAttachment


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


@dataclasses.dataclass(frozen=True)
class Clash:
    """Another attachment of the volume that must not be there when one is moved.

    :param shared: connecting, contract 2.2: the volume may be shared, so only the same server from the same host
        clashes; or it may not. None: every other one clashes.
    :param apart: of a volume that may be shared, what of *initiator* clashes, too: ``statements.ANY_MODE``, or
        ``statements.OTHER_MODE`` than *mode*.
    """

    shared: bool | None
    server: str | None = None
    host: str = ''
    apart: str | None = None
    initiator: str = ''
    mode: str = ''


ANYBODY = Clash(None)


def move_attachment(
    work: Work,
    attachment_id: str,
    event: str,
    actor: Actor,
    *,
    row: Row | None = None,
    clash: Clash | None = None,
    error: str | None = None,
    seconds: float | None = None,
    **values: Any,
) -> None:
    """Move an attachment by an event, with what is written in the same UPDATE.

    :param work: what writes; the volume's row is locked by the caller where the move changes what the
        volume's status is derived from.
    :param event: key of :data:`~multiattach.domain.states.ATTACHMENT_EVENTS`.
    :param actor: who does it, for the timeline.
    :param row: the attachment before, if it was read.
    :param clash: what must not be there.
    :param error: why a step failed, for the row and the timeline; free of secrets.
    :param seconds: how long the step took, in seconds.
    :raises InvalidTransition: it is in no state for that, or something clashes.
    """
    parameters = _note_move(work, attachment_id, event, actor, row, error, seconds, values)
    _write(work, statements.build_move, event, tuple(values), clash, parameters)


def move(
    work: Work, row: Row, event: str, actor: Actor, *, ended: bool = False, clash: Clash | None = None, **values: Any
) -> None:
    """Move an attachment and, where that changes it, the status of its volume.

    :param row: as it was read under the locks of both rows; neither has changed since.
    :param ended: a detach ends so: the mark that os-begin_detaching left of it goes if a server had it.
    :param values: as for :func:`move_attachment`, which tells the rest.
    """
    volume, target = row.volume, states.ATTACHMENT_EVENTS[event].target
    assert target is not None
    status = None if volume.claim else states.follow_status(volume.status, row.state, target)
    together = None if volume.claim else statements.TOGETHER.get(_find_family(work))
    if together is None or status == volume.status:
        move_attachment(work, row.id, event, actor, row=row, clash=clash, **values)
        if volume.claim:
            derive_volume(work, volume.id, left=row.id if ended else None)
        elif status is None or status != volume.status:
            _write_status(work, row.id, volume.id, target, status)
        return
    error, seconds = values.pop('error', None), values.pop('seconds', None)
    parameters = _note_move(work, row.id, event, actor, row, error, seconds, values)
    parameters |= {statements.VOLUME: volume.id, statements.STATUS: status}
    _write(work, functools.partial(together, status is None), event, tuple(values), clash, parameters)


def lock_and_move(work: Work, attachment_id: str, event: str, actor: Actor, **values: Any) -> None:
    """Lock an attachment and its volume, and move it; the rest as for :func:`move`.

    :raises InvalidTransition: it is in no state for that, or gone.
    """
    try:
        row = locks.lock_attachment(work, attachment_id)
    except errors.AttachmentNotFound as exc:
        raise errors.InvalidTransition('attachment', attachment_id, event) from exc
    move(work, row, event, actor, **values)


def move_alone(
    work: Work,
    attachment_id: str,
    volume_id: str,
    event: str,
    actor: Actor,
    *,
    clash: Clash | None = None,
    error: str | None = None,
    seconds: float | None = None,
    **values: Any,
) -> None:
    """Move an attachment and the status of its volume by one statement, which locks both rows (MariaDB).

    :raises InvalidTransition: nothing was changed: it is in no state for that, or :func:`lock_and_move` can do it.
    """
    parameters = _note_move(work, attachment_id, event, actor, None, error, seconds, values)
    parameters[statements.VOLUME] = volume_id
    statement = statements.build_alone(event, tuple(values), _find_kind(clash, parameters))
    if not work.execute(statement, parameters).rowcount:  # type: ignore[attr-defined]
        raise errors.InvalidTransition('attachment', attachment_id, event)


def _note_move(
    work: Work,
    attachment_id: str,
    event: str,
    actor: Actor,
    before: Row | None,
    error: str | None,
    seconds: float | None,
    values: dict[str, Any],
) -> dict[str, Any]:
    """Complete what is to be written, and note it for those who want to know; return the parameters."""
    row = states.ATTACHMENT_EVENTS[event]
    assert row.target is not None
    moment = models.now()
    line = _entry(event, row.target, moment.isoformat(), actor, error, seconds)
    values |= {
        'state': row.target,
        'state_at': moment,
        'updated_at': moment,
        'error': error[:_MAX_ERROR] if error else None,
    }
    if row.target == states.Attachment.DETACHED:
        values |= {'deleted_at': moment, 'detached_at': moment}
    commits.note_line(work, attachment_id, line)
    changes.note(
        work,
        lambda: changes.Change(
            changes.ATTACHMENT,
            attachment_id,
            event,
            row.target,
            moment,
            *(
                (before.state, (moment - before.state_at).total_seconds())
                if before is not None
                else changes.state_before(work, models.Attachment, attachment_id, 'state', moment)
            ),
            seconds=seconds,
            error=error,
            request_id=_find_request(actor),
            caller=actor.caller,
        ),
    )
    return {**_set(values), statements.IDENT: attachment_id, statements.LINE: line, statements.MOMENT: moment}


def _write(
    work: Work,
    build: Callable[[str, tuple[str, ...], statements.Kind, bool], sa.Update],
    event: str,
    columns: tuple[str, ...],
    clash: Clash | None,
    parameters: dict[str, Any],
) -> None:
    """Carry a move out; the longer statement, which shortens the timeline, only if the other one finds nothing."""
    kind = _find_kind(clash, parameters)
    for is_long in (False, True):
        if work.execute(build(event, columns, kind, is_long), parameters).rowcount:  # type: ignore[attr-defined]
            return
    raise errors.InvalidTransition('attachment', parameters[statements.IDENT], event)


def _find_kind(clash: Clash | None, parameters: dict[str, Any]) -> statements.Kind:
    if clash is None:
        return ()
    if clash.shared is not None:
        parameters |= {statements.SERVER: clash.server, statements.HOST: clash.host}
    if clash.apart is None:
        return (clash.shared,)
    parameters[statements.INITIATOR] = clash.initiator
    if clash.apart == statements.OTHER_MODE:
        parameters[statements.MODE] = clash.mode
    return clash.shared, clash.apart


def _write_status(work: Work, attachment_id: str, volume_id: str, target: str, status: str | None) -> None:
    moment = models.now()
    statement = statements.build_status(target if status is None else None)
    work.execute(
        statement,
        {
            statements.IDENT: attachment_id,
            statements.VOLUME: volume_id,
            statements.STATUS: status,
            statements.MOMENT: moment,
        },
    )


def add_attachment(
    work: Work,
    attachment: models.Attachment,
    actor: Actor,
    volume: locks.LockedVolume | None = None,
    *,
    if_room: bool = False,
) -> None:
    """Insert an attachment in state ``reserved``.

    :param attachment: the row without state; it stays outside the session.
    :param actor: who reserves.
    :param volume: its locked volume, whose status is written with it if it changes; None to leave that alone.
    :param if_room: only if :func:`multiattach.domain.sharing.check_reserve` says yes to who takes a place.
    :raises InvalidTransition: it says no.
    """
    moment = models.now()
    attachment.state = states.Attachment.RESERVED
    attachment.created_at = attachment.state_at = moment
    attachment.timeline = _entry('reserve', attachment.state, moment.isoformat(), actor, None, None)
    attachment.delete_on_termination = bool(attachment.delete_on_termination)
    commits.note_row(work, models.Attachment, attachment.id)
    changes.note(
        work,
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
    values = {
        name: value
        for name, value in vars(attachment).items()
        if name in models.table_of(models.Attachment).c and value is not None
    }
    status = None
    if volume is not None and not volume.claim:
        status = states.follow_status(volume.status, states.Attachment.DETACHED, attachment.state)
    changed = volume is not None and status is not None and status != volume.status
    together = changed and _find_family(work) == 'postgresql'
    statement = statements.build_insert(tuple(values), volume.multiattach if volume and if_room else None, together)
    parameters = {**_set(values), statements.STATUS: status, statements.MOMENT: moment} if together else _set(values)
    if not work.execute(statement, parameters | {statements.SERVER: attachment.instance_uuid}).rowcount:  # type: ignore[attr-defined]
        raise errors.InvalidTransition('attachment', attachment.id, 'reserve')
    if changed and not together:
        _write_status(work, attachment.id, attachment.volume_id, attachment.state, status)
    elif volume is not None and volume.claim:
        derive_volume(work, volume.id)


def import_attachments(work: Work, rows: Sequence[Mapping[str, Any]], actor: Actor) -> None:
    """Insert attachments in the states that they had elsewhere; they are no news to anybody.

    :param rows: columns of each, without timeline.
    """
    moment = models.now()
    more = {'state_at': moment, 'delete_on_termination': False}
    lines = [_entry('import', row['state'], moment.isoformat(), actor, None, None) for row in rows]
    values = [{**row, **more, 'timeline': line} for row, line in zip(rows, lines, strict=True)]
    work.execute(sa.insert(models.table_of(models.Attachment)), values)


def import_volumes(work: Work, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert volumes in the statuses that they had elsewhere."""
    moment = models.now()
    work.execute(sa.insert(models.table_of(models.Volume)), [{**row, 'status_at': moment} for row in rows])


def rewrite_imported(work: Work, table: sa.Table, ident: str, values: Mapping[str, Any]) -> None:
    """Make an imported volume or attachment what it is elsewhere by now; nobody here has changed it.

    :param table: that of either model.
    """
    at = {models.Volume.__tablename__: 'status_at', models.Attachment.__tablename__: 'state_at'}[table.name]
    work.execute(sa.update(table).where(table.c.id == ident).values({**values, at: models.now()}))


def move_volume(work: Work, volume_id: str, event: str, **values: Any) -> None:
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
    done = work.execute(
        statements.build_volume_move(event, tuple(values)), {**_set(values), statements.IDENT: volume_id}
    )
    if done.rowcount != 1:  # type: ignore[attr-defined]
        raise errors.InvalidTransition('volume', volume_id, event)
    commits.note_volume(work, volume_id, moment)
    changes.note(
        work,
        lambda: changes.Change(
            changes.VOLUME,
            volume_id,
            event,
            row.target,
            moment,
            *changes.state_before(work, models.Volume, volume_id, 'status', moment),
        ),
    )


def reset_volume(work: Work, volume_id: str, status: str) -> None:
    """Set a status at an admin's word; one that attachments decide is derived instead.

    ``attaching`` and ``detaching`` leave the mark that os-reserve and os-begin_detaching leave.
    """
    table = models.Volume
    derived = status in states.DERIVED_STATUSES
    claim = status if status in list(states.Claim) else None
    # What an extension had promised is given back with it.
    promised = {} if status == states.Volume.EXTENDING else {'new_size': None}
    moment = models.now()
    work.execute(
        sa.update(table)
        .execution_options(synchronize_session=False)
        .where(table.id == volume_id)
        .values(
            status=statements.derive_status(sa.literal(claim, sa.String)) if derived else status,
            claim=claim,
            claimed_at=moment if claim else None,
            status_at=moment,
            updated_at=moment,
            **promised,
        ),
        {statements.IDENT: volume_id},
    )
    commits.note_volume(work, volume_id, moment)


def drop_claim(work: Work, volume: models.Volume, claim: str) -> None:
    """Take back the mark of a legacy action; another one, or none, stays as it is.

    :param claim: the mark.
    """
    if volume.claim == claim:
        derive_volume(work, volume.id, claim=None)


def derive_volume(work: Work, volume_id: str, *, left: str | None = None, **values: Any) -> None:
    """Write the status that the volume's attachments and its claim give.

    One statement, whatever the number of attachments. A status that is none of the derived
    ones (``deleting``, ``extending``, …) stays: its own event ends in a derivation.

    :param left: UUID of an attachment whose detach has just ended; the mark that os-begin_detaching left
        of it goes if a server had it.
    """
    moment = models.now()
    values['updated_at'] = moment
    if 'claim' in values:
        values['claimed_at'] = moment if values['claim'] is not None else None
    parameters = {**_set(values), statements.IDENT: volume_id} | ({} if left is None else {statements.LEFT: left})
    work.execute(statements.build_derivation(tuple(values), left is not None), parameters)
    commits.note_volume(work, volume_id, moment)


def _set(values: Mapping[str, Any]) -> dict[str, Any]:
    """Name the parameters of columns: a statement may write two tables that have some names in common."""
    return {f'set_{name}': value for name, value in values.items()}


def _find_family(work: Work) -> str:
    dialect = commits.find_dialect(work)
    return 'mariadb' if commits.is_mariadb(dialect) else dialect.name


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
