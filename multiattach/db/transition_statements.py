# SPDX-License-Identifier: Apache-2.0
"""The statements of :mod:`multiattach.db.transitions` alone.

Built once per shape: building one costs several times what sending it does.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa

from multiattach.db import locks, models, timelines
from multiattach.domain import sharing, states

# Parameters that are no columns; a column's own is named set_COLUMN.
IDENT, LINE, LEFT, VOLUME, STATUS = 'row_ident', 'timeline_line', 'left_ident', 'volume_ident', 'volume_status'
MOMENT, SERVER, HOST = 'moment', 'clash_server', 'clash_host'
INITIATOR, MODE = 'clash_initiator', 'clash_mode'
# What clashes: nothing, or shared of transitions.Clash, and which others of the initiator.
Kind = tuple[()] | tuple[bool | None] | tuple[bool | None, str]
ANY_MODE, OTHER_MODE = 'any mode', 'other mode'
_ATTACHMENTS, _VOLUMES = models.table_of(models.Attachment), models.table_of(models.Volume)


def _parameters(table: sa.Table, columns: tuple[str, ...]) -> dict[str, Any]:
    return {name: sa.bindparam(f'set_{name}', type_=table.c[name].type) for name in columns}


@functools.cache
def build_move(event: str, columns: tuple[str, ...], clash: Kind, is_long: bool) -> sa.Update:
    table = _ATTACHMENTS
    conditions = [
        table.c.id == sa.bindparam(IDENT),
        table.c.deleted_at.is_(None),
        models.is_one_of(table.c.state, states.ATTACHMENT_EVENTS[event].sources),
    ]
    if not is_long:
        conditions.append(sa.func.length(table.c.timeline) < sa.literal_column(str(timelines.LIMIT)))
    if clash:
        conditions.append(~_clash(*clash))
    return sa.update(table).where(*conditions).values(_move_values(columns, is_long))


def _move_values(columns: tuple[str, ...], is_long: bool) -> dict[Any, Any]:
    text, line = _ATTACHMENTS.c.timeline, sa.bindparam(LINE, type_=sa.Text())
    values = {_ATTACHMENTS.c[name]: value for name, value in _parameters(_ATTACHMENTS, columns).items()}
    return values | {text: timelines.append(text, line) if is_long else text.concat(line)}


def _clash(shared: bool | None, apart: str | None = None) -> sa.ColumnElement[bool]:
    """Build :func:`multiattach.domain.sharing.check_connect` of the others."""
    other = _ATTACHMENTS.alias('other')
    server: sa.BindParameter[str] = sa.bindparam(SERVER, type_=sa.String)
    host: sa.BindParameter[str] = sa.bindparam(HOST, type_=sa.String)
    conditions = [
        other.c.volume_id == _ATTACHMENTS.c.volume_id,
        other.c.deleted_at.is_(None),
        other.c.id != sa.bindparam(IDENT),
    ]
    if shared is not None:
        conditions.append(models.is_one_of(other.c.state, states.ON_TARGET))
    if shared:
        twice = sa.and_(other.c.instance_uuid == server, other.c.attached_host == host)
        conditions.append(twice if apart is None else sa.or_(twice, _is_of_initiator(other, apart)))
    elif shared is False:
        elsewhere = sa.and_(other.c.instance_uuid == server, sa.func.coalesce(other.c.attached_host, '') != host)
        conditions.append(sa.case((elsewhere, 0), else_=1) == 1)
    return sa.exists().where(*conditions).correlate(_ATTACHMENTS)


def _is_of_initiator(other: Any, apart: str) -> sa.ColumnElement[bool]:
    # Storage that has to tell initiators apart may take names that differ in capitals only for one.
    initiator = sa.func.lower(sa.bindparam(INITIATOR, type_=sa.String))
    mine: sa.ColumnElement[bool] = sa.func.lower(other.c.initiator) == initiator
    if apart == ANY_MODE:
        return mine
    mode: sa.BindParameter[str] = sa.bindparam(MODE, type_=sa.String)
    return sa.and_(mine, sa.func.coalesce(other.c.attach_mode, sharing.READ_WRITE) != mode)


def _status_values(asked: str | None) -> dict[Any, Any]:
    """Build what is written to the volume.

    :param asked: state of the attachment afterwards, where the other ones decide.
    """
    volumes = _VOLUMES
    status = sa.bindparam(STATUS, type_=sa.String) if asked is None else _derive_beside(asked)
    return {volumes.c.status: status, volumes.c.updated_at: sa.bindparam(MOMENT, type_=models.Instant)}


@functools.cache
def build_status(asked: str | None) -> sa.Update:
    return sa.update(_VOLUMES).where(_VOLUMES.c.id == sa.bindparam(VOLUME)).values(_status_values(asked))


@functools.cache
def build_together(asks: bool, event: str, columns: tuple[str, ...], clash: Kind, is_long: bool) -> sa.Update:
    """Build an UPDATE of both tables (MariaDB)."""
    target = states.ATTACHMENT_EVENTS[event].target if asks else None
    return (
        build_move(event, columns, clash, is_long)
        .where(_VOLUMES.c.id == _ATTACHMENTS.c.volume_id)
        .values(_status_values(target))
    )


@functools.cache
def build_alone(event: str, columns: tuple[str, ...], clash: Kind) -> sa.Update:
    """Build an UPDATE of both tables that names the volume first: InnoDB locks it before the attachment."""
    target = states.ATTACHMENT_EVENTS[event].target
    assert target is not None
    moved = build_move(event, columns, clash, False)
    assert moved.whereclause is not None
    derived = models.is_one_of(_VOLUMES.c.status, states.DERIVED_STATUSES)
    # What depends on the volume's row is read after the lock on that was waited for.
    status = sa.case((derived, _derive_beside(target, _VOLUMES.c.id)), else_=_VOLUMES.c.status)
    return (
        sa.update(_VOLUMES)
        .where(_VOLUMES.c.id == sa.bindparam(VOLUME), _VOLUMES.c.claim.is_(None), moved.whereclause)
        .where(_ATTACHMENTS.c.volume_id == _VOLUMES.c.id)
        .values(_status_values(None) | {_VOLUMES.c.status: status} | _move_values(columns, False))
    )


@functools.cache
def build_with(asks: bool, event: str, columns: tuple[str, ...], clash: Kind, is_long: bool) -> sa.Update:
    """Build an UPDATE of the volume with that of the attachment in front (PostgreSQL)."""
    target = states.ATTACHMENT_EVENTS[event].target if asks else None
    moved = build_move(event, columns, clash, is_long).returning(_ATTACHMENTS.c.volume_id).cte('moved')
    return sa.update(_VOLUMES).where(_VOLUMES.c.id == moved.c.volume_id).values(_status_values(target))


@functools.cache
def build_insert(columns: tuple[str, ...], rule: bool | None, together: bool) -> sa.Insert | sa.Update:
    """Build an INSERT.

    :param rule: None for none; that of a volume that may be shared, or of one that may not.
    :param together: with the volume's status (PostgreSQL).
    """
    table, volume_id = _ATTACHMENTS, sa.bindparam('set_volume_id', type_=sa.String)
    values = _parameters(table, columns)
    row = sa.select(*values.values()).where(_VOLUMES.c.id == volume_id)
    if rule is not None:
        server: sa.BindParameter[str] = sa.bindparam(SERVER, type_=sa.String)
        row = row.where(locks.count_mine(server) < sa.literal_column(str(sharing.MAX_PER_SERVER)))
        if not rule:
            row = row.where(~locks.find_others(server))
    made = sa.insert(table).from_select(list(columns), row, include_defaults=False)
    if not together:
        return made
    added = made.returning(table.c.volume_id).cte('added')
    return sa.update(_VOLUMES).where(_VOLUMES.c.id == added.c.volume_id).values(_status_values(None))


TOGETHER: Mapping[str, Callable[..., sa.Update]] = {'mariadb': build_together, 'postgresql': build_with}


@functools.cache
def build_volume_move(event: str, columns: tuple[str, ...]) -> sa.Update:
    table = _VOLUMES
    values = _parameters(table, columns)
    if 'status' not in columns:
        values['status'] = derive_status(table.c.claim)
    return (
        sa.update(table)
        .where(
            table.c.id == sa.bindparam(IDENT),
            table.c.deleted_at.is_(None),
            models.is_one_of(table.c.status, states.VOLUME_EVENTS[event].sources),
        )
        .values(**values)
    )


@functools.cache
def build_derivation(columns: tuple[str, ...], left: bool) -> sa.Update:
    table = _VOLUMES
    values = _parameters(table, columns)
    claim = values.get('claim', table.c.claim)
    if left:
        # MySQL writes the columns one after the other: status, of what claim was, comes first in the table.
        claim = values['claim'] = _end_detaching(table.c.claim)
    status = sa.case(
        (models.is_one_of(table.c.status, states.DERIVED_STATUSES), derive_status(claim)), else_=table.c.status
    )
    return sa.update(table).where(table.c.id == sa.bindparam(IDENT)).values(status=status, **values)


def _derive_beside(state: str, volume_id: sa.ColumnElement[str] | None = None) -> sa.ColumnElement[str]:
    """Build the status of a volume without marks, one of whose attachments takes a state now."""
    volume_id = sa.bindparam(VOLUME) if volume_id is None else volume_id
    other = _ATTACHMENTS.alias('beside')
    whens: list[tuple[Any, Any]] = []
    for source, status in states.DERIVATION:
        if state in source:
            return sa.case(*whens, else_=sa.literal(status, sa.String))
        found = sa.exists().where(
            other.c.volume_id == volume_id,
            other.c.deleted_at.is_(None),
            models.is_one_of(other.c.state, source),
            other.c.id != sa.bindparam(IDENT),
        )
        whens.append((found, sa.literal(status, sa.String)))
    return sa.case(*whens, else_=sa.literal(states.Volume.AVAILABLE, sa.String))


def _end_detaching(claim: Any) -> sa.ColumnElement[Any]:
    """Build what is left of the marks when the detach of attachment ``LEFT`` has ended."""
    row = models.Attachment
    ended = (
        sa.select(sa.literal(1))
        .select_from(row)
        .where(
            row.id == sa.bindparam(LEFT),
            row.attached_at.is_not(None),
            sa.or_(row.deleted_at.is_not(None), row.state == states.Attachment.ERROR_DETACHING),
        )
        .exists()
    )
    others = (
        sa.select(sa.literal(1))
        .select_from(row)
        .where(row.volume_id == sa.bindparam(IDENT), row.deleted_at.is_(None), row.state == states.Attachment.ATTACHED)
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


def derive_status(claim: Any) -> sa.ColumnElement[str]:
    """Build ``states.derive_status`` of the volume that parameter ``IDENT`` names, from the same table."""
    live = (models.Attachment.volume_id == sa.bindparam(IDENT), models.Attachment.deleted_at.is_(None))
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
