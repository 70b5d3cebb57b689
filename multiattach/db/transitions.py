# SPDX-License-Identifier: Apache-2.0
"""The one writer of attachment states and volume statuses.

Each move is a compare-and-swap: the WHERE clause of the UPDATE holds the sources of the row in
:mod:`multiattach.domain.states`, and one row changes or nobody's does.
"""

import dataclasses
import functools
import json
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa

from multiattach import request_ids
from multiattach.db import changes, commits, locks, models, timelines
from multiattach.db.commits import Work
from multiattach.domain import errors, sharing, states
from multiattach.domain.callers import Caller

_MAX_ERROR = 1000
# Parameters that are no columns.
_IDENT, _LINE, _LEFT, _VOLUME, _STATUS = 'row_ident', 'timeline_line', 'left_ident', 'volume_ident', 'volume_status'
_MOMENT, _SERVER, _HOST = 'moment', 'clash_server', 'clash_host'
Row = models.Attachment | locks.LockedAttachment
_ATTACHMENTS, _VOLUMES = models.table_of(models.Attachment), models.table_of(models.Volume)


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
    """Another connection that must not be there when an attachment is connected (contract 2.2).

    :param shared: the volume may be shared: only the same server from the same host clashes.
    """

    shared: bool
    server: str | None
    host: str


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
    _write(work, _build_move, event, tuple(values), clash, parameters)


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
    together = None if volume.claim else _TOGETHER.get(_find_family(work))
    if together is None or status == volume.status:
        move_attachment(work, row.id, event, actor, row=row, clash=clash, **values)
        if volume.claim:
            derive_volume(work, volume.id, left=row.id if ended else None)
        elif status is None or status != volume.status:
            _write_status(work, row.id, volume.id, target, status)
        return
    error, seconds = values.pop('error', None), values.pop('seconds', None)
    parameters = _note_move(work, row.id, event, actor, row, error, seconds, values)
    parameters |= {_VOLUME: volume.id, _STATUS: status}
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
    error: str | None = None,
    seconds: float | None = None,
    **values: Any,
) -> None:
    """Move an attachment and the status of its volume by one statement, which locks both rows (MariaDB).

    :raises InvalidTransition: nothing was changed: it is in no state for that, or :func:`lock_and_move` can do it.
    """
    parameters = _note_move(work, attachment_id, event, actor, None, error, seconds, values)
    parameters[_VOLUME] = volume_id
    if not work.execute(_build_alone(event, tuple(values)), parameters).rowcount:  # type: ignore[attr-defined]
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
    return {**_set(values), _IDENT: attachment_id, _LINE: line, _MOMENT: moment}


def _write(
    work: Work,
    build: Callable[[str, tuple[str, ...], bool | None, bool], sa.Update],
    event: str,
    columns: tuple[str, ...],
    clash: Clash | None,
    parameters: dict[str, Any],
) -> None:
    """Carry a move out; the longer statement, which shortens the timeline, only if the other one finds nothing."""
    if clash is not None:
        parameters |= {_SERVER: clash.server, _HOST: clash.host}
    kind = None if clash is None else clash.shared
    for is_long in (False, True):
        if work.execute(build(event, columns, kind, is_long), parameters).rowcount:  # type: ignore[attr-defined]
            return
    raise errors.InvalidTransition('attachment', parameters[_IDENT], event)


def _write_status(work: Work, attachment_id: str, volume_id: str, target: str, status: str | None) -> None:
    moment = models.now()
    statement = _build_status(target if status is None else None)
    work.execute(statement, {_IDENT: attachment_id, _VOLUME: volume_id, _STATUS: status, _MOMENT: moment})


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
    values = {name: value for name, value in vars(attachment).items() if name in _ATTACHMENTS.c and value is not None}
    status = None
    if volume is not None and not volume.claim:
        status = states.follow_status(volume.status, states.Attachment.DETACHED, attachment.state)
    changed = volume is not None and status is not None and status != volume.status
    together = changed and _find_family(work) == 'postgresql'
    statement = _build_insert(tuple(values), volume.multiattach if volume and if_room else None, together)
    parameters = {**_set(values), _STATUS: status, _MOMENT: moment} if together else _set(values)
    if not work.execute(statement, parameters | {_SERVER: attachment.instance_uuid}).rowcount:  # type: ignore[attr-defined]
        raise errors.InvalidTransition('attachment', attachment.id, 'reserve')
    if changed and not together:
        _write_status(work, attachment.id, attachment.volume_id, attachment.state, status)
    elif volume is not None and volume.claim:
        derive_volume(work, volume.id)


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
    done = work.execute(_build_volume_move(event, tuple(values)), {**_set(values), _IDENT: volume_id})
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
            status=_derivation(sa.literal(claim, sa.String)) if derived else status,
            claim=claim,
            claimed_at=moment if claim else None,
            status_at=moment,
            updated_at=moment,
            **promised,
        ),
        {_IDENT: volume_id},
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
    parameters = {**_set(values), _IDENT: volume_id} | ({} if left is None else {_LEFT: left})
    work.execute(_build_derivation(tuple(values), left is not None), parameters)
    commits.note_volume(work, volume_id, moment)


# Statements are built once per shape: building one costs several times what sending it does.


def _parameters(table: sa.Table, columns: tuple[str, ...]) -> dict[str, Any]:
    return {name: sa.bindparam(f'set_{name}', type_=table.c[name].type) for name in columns}


def _set(values: Mapping[str, Any]) -> dict[str, Any]:
    """Name the parameters of columns: a statement may write two tables that have some names in common."""
    return {f'set_{name}': value for name, value in values.items()}


def _find_family(work: Work) -> str:
    dialect = commits.find_dialect(work)
    return 'mariadb' if commits.is_mariadb(dialect) else dialect.name


@functools.cache
def _build_move(event: str, columns: tuple[str, ...], clash: bool | None, is_long: bool) -> sa.Update:
    table = _ATTACHMENTS
    conditions = [
        table.c.id == sa.bindparam(_IDENT),
        table.c.deleted_at.is_(None),
        models.is_one_of(table.c.state, states.ATTACHMENT_EVENTS[event].sources),
    ]
    if not is_long:
        conditions.append(sa.func.length(table.c.timeline) < sa.literal_column(str(timelines.LIMIT)))
    if clash is not None:
        conditions.append(~_clash(clash))
    return sa.update(table).where(*conditions).values(_move_values(columns, is_long))


def _move_values(columns: tuple[str, ...], is_long: bool) -> dict[Any, Any]:
    text, line = _ATTACHMENTS.c.timeline, sa.bindparam(_LINE, type_=sa.Text())
    values = {_ATTACHMENTS.c[name]: value for name, value in _parameters(_ATTACHMENTS, columns).items()}
    return values | {text: timelines.append(text, line) if is_long else text.concat(line)}


def _clash(shared: bool) -> sa.ColumnElement[bool]:
    """Build :func:`multiattach.domain.sharing.check_connect` of the others."""
    other = _ATTACHMENTS.alias('other')
    server: sa.BindParameter[str] = sa.bindparam(_SERVER, type_=sa.String)
    host: sa.BindParameter[str] = sa.bindparam(_HOST, type_=sa.String)
    conditions = [
        other.c.volume_id == _ATTACHMENTS.c.volume_id,
        other.c.deleted_at.is_(None),
        models.is_one_of(other.c.state, states.ON_TARGET),
        other.c.id != sa.bindparam(_IDENT),
    ]
    if shared:
        conditions += [other.c.instance_uuid == server, other.c.attached_host == host]
    else:
        elsewhere = sa.and_(other.c.instance_uuid == server, sa.func.coalesce(other.c.attached_host, '') != host)
        conditions.append(sa.case((elsewhere, 0), else_=1) == 1)
    return sa.exists().where(*conditions).correlate(_ATTACHMENTS)


def _status_values(asked: str | None) -> dict[Any, Any]:
    """Build what is written to the volume.

    :param asked: state of the attachment afterwards, where the other ones decide.
    """
    volumes = _VOLUMES
    status = sa.bindparam(_STATUS, type_=sa.String) if asked is None else _derive_beside(asked)
    return {volumes.c.status: status, volumes.c.updated_at: sa.bindparam(_MOMENT, type_=models.Instant)}


@functools.cache
def _build_status(asked: str | None) -> sa.Update:
    return sa.update(_VOLUMES).where(_VOLUMES.c.id == sa.bindparam(_VOLUME)).values(_status_values(asked))


@functools.cache
def _build_together(asks: bool, event: str, columns: tuple[str, ...], clash: bool | None, is_long: bool) -> sa.Update:
    """Build an UPDATE of both tables (MariaDB)."""
    target = states.ATTACHMENT_EVENTS[event].target if asks else None
    return (
        _build_move(event, columns, clash, is_long)
        .where(_VOLUMES.c.id == _ATTACHMENTS.c.volume_id)
        .values(_status_values(target))
    )


@functools.cache
def _build_alone(event: str, columns: tuple[str, ...]) -> sa.Update:
    """Build an UPDATE of both tables that names the volume first: InnoDB locks it before the attachment."""
    target = states.ATTACHMENT_EVENTS[event].target
    assert target is not None
    moved = _build_move(event, columns, None, False)
    assert moved.whereclause is not None
    derived = models.is_one_of(_VOLUMES.c.status, states.DERIVED_STATUSES)
    # What depends on the volume's row is read after the lock on that was waited for.
    status = sa.case((derived, _derive_beside(target, _VOLUMES.c.id)), else_=_VOLUMES.c.status)
    return (
        sa.update(_VOLUMES)
        .where(_VOLUMES.c.id == sa.bindparam(_VOLUME), _VOLUMES.c.claim.is_(None), moved.whereclause)
        .where(_ATTACHMENTS.c.volume_id == _VOLUMES.c.id)
        .values(_status_values(None) | {_VOLUMES.c.status: status} | _move_values(columns, False))
    )


@functools.cache
def _build_with(asks: bool, event: str, columns: tuple[str, ...], clash: bool | None, is_long: bool) -> sa.Update:
    """Build an UPDATE of the volume with that of the attachment in front (PostgreSQL)."""
    target = states.ATTACHMENT_EVENTS[event].target if asks else None
    moved = _build_move(event, columns, clash, is_long).returning(_ATTACHMENTS.c.volume_id).cte('moved')
    return sa.update(_VOLUMES).where(_VOLUMES.c.id == moved.c.volume_id).values(_status_values(target))


@functools.cache
def _build_insert(columns: tuple[str, ...], rule: bool | None, together: bool) -> sa.Insert | sa.Update:
    """Build an INSERT.

    :param rule: None for none; that of a volume that may be shared, or of one that may not.
    :param together: with the volume's status (PostgreSQL).
    """
    table, volume_id = _ATTACHMENTS, sa.bindparam('set_volume_id', type_=sa.String)
    values = _parameters(table, columns)
    row = sa.select(*values.values()).where(_VOLUMES.c.id == volume_id)
    if rule is not None:
        server: sa.BindParameter[str] = sa.bindparam(_SERVER, type_=sa.String)
        row = row.where(locks.count_mine(server) < sa.literal_column(str(sharing.MAX_PER_SERVER)))
        if not rule:
            row = row.where(~locks.find_others(server))
    made = sa.insert(table).from_select(list(columns), row, include_defaults=False)
    if not together:
        return made
    added = made.returning(table.c.volume_id).cte('added')
    return sa.update(_VOLUMES).where(_VOLUMES.c.id == added.c.volume_id).values(_status_values(None))


_TOGETHER: Mapping[str, Callable[..., sa.Update]] = {'mariadb': _build_together, 'postgresql': _build_with}


@functools.cache
def _build_volume_move(event: str, columns: tuple[str, ...]) -> sa.Update:
    table = _VOLUMES
    values = _parameters(table, columns)
    if 'status' not in columns:
        values['status'] = _derivation(table.c.claim)
    return (
        sa.update(table)
        .where(
            table.c.id == sa.bindparam(_IDENT),
            table.c.deleted_at.is_(None),
            models.is_one_of(table.c.status, states.VOLUME_EVENTS[event].sources),
        )
        .values(**values)
    )


@functools.cache
def _build_derivation(columns: tuple[str, ...], left: bool) -> sa.Update:
    table = _VOLUMES
    values = _parameters(table, columns)
    claim = values.get('claim', table.c.claim)
    if left:
        # MySQL writes the columns one after the other: status, of what claim was, comes first in the table.
        claim = values['claim'] = _end_detaching(table.c.claim)
    status = sa.case(
        (models.is_one_of(table.c.status, states.DERIVED_STATUSES), _derivation(claim)), else_=table.c.status
    )
    return sa.update(table).where(table.c.id == sa.bindparam(_IDENT)).values(status=status, **values)


def _derive_beside(state: str, volume_id: sa.ColumnElement[str] | None = None) -> sa.ColumnElement[str]:
    """Build the status of a volume without marks, one of whose attachments takes a state now."""
    volume_id = sa.bindparam(_VOLUME) if volume_id is None else volume_id
    other = _ATTACHMENTS.alias('beside')
    whens: list[tuple[Any, Any]] = []
    for source, status in states.DERIVATION:
        if state in source:
            return sa.case(*whens, else_=sa.literal(status, sa.String))
        found = sa.exists().where(
            other.c.volume_id == volume_id,
            other.c.deleted_at.is_(None),
            models.is_one_of(other.c.state, source),
            other.c.id != sa.bindparam(_IDENT),
        )
        whens.append((found, sa.literal(status, sa.String)))
    return sa.case(*whens, else_=sa.literal(states.Volume.AVAILABLE, sa.String))


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
            .where(*live, models.is_one_of(models.Attachment.state, source))
        )
        if status is states.Volume.IN_USE:
            whens.append(
                (
                    sa.and_(models.is_one_of(claim, states.DETACHING_CLAIMS), mine.exists()),
                    sa.literal(states.Volume.DETACHING),
                )
            )
        whens.append((mine.exists(), sa.literal(status)))
    whens.append((models.is_one_of(claim, states.ATTACHING_CLAIMS), sa.literal(states.Volume.ATTACHING)))
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
