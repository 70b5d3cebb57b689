# SPDX-License-Identifier: Apache-2.0
"""Rows that a transaction holds locked, as plain values: what requests wait for needs no mapped rows.

Everybody locks the volume before its attachments, so that transactions wait for each other and never deadlock.
"""

import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from multiattach.db import commits, models
from multiattach.db.commits import Work
from multiattach.domain import errors, extra_specs, states

_V, _A = models.table_of(models.Volume), models.table_of(models.Attachment)
_SPEC, _LIMIT = models.table_of(models.ExtraSpec), models.table_of(models.QuotaLimit)


class LockedVolume(NamedTuple):
    """A volume, columns as in :class:`~multiattach.db.models.Volume`."""

    id: str
    project_id: str
    host: str | None
    status: str
    claim: str | None
    multiattach: bool
    bootable: bool
    readonly: bool | None
    volume_type_id: str


class LockedAttachment(NamedTuple):
    """An attachment with its volume, columns as in :class:`~multiattach.db.models.Attachment`."""

    volume: LockedVolume
    id: str
    volume_id: str
    instance_uuid: str | None
    state: str
    state_at: datetime.datetime
    attach_mode: str | None
    attached_host: str | None
    initiator: str | None
    mountpoint: str | None
    attached_at: datetime.datetime | None
    agent_host: str | None
    has_connector: bool
    connection_info: Any


class Room(NamedTuple):
    """What a reservation depends on besides the volume's row.

    :param mine: attachments of the asking server that take a place.
    :param others: whether others do, those without a server among them.
    :param servers: servers that have one, if a cap makes it worth counting; an attachment without a server
        counts as one.
    :param cap: what the type allows, as it is written there; None if it says nothing.
    :param limit: the quota that an admin set for the project or its class, None if nobody did.
    """

    mine: int
    others: bool
    servers: int
    cap: str | None
    limit: int | None


# Statements that each attach needs are built once: building one costs several times what sending it does.
_VOLUME = tuple(_V.c[name] for name in LockedVolume._fields)
_FIELDS = LockedAttachment._fields
_ATTACHMENT = (
    *(_A.c[name] for name in _FIELDS[_FIELDS.index('id') : _FIELDS.index('has_connector')]),
    _A.c.connector.is_not(None),
)
_IDENT: sa.BindParameter[str] = sa.bindparam('ident', type_=sa.String)
_ONE_VOLUME = sa.select(*_VOLUME).where(_V.c.id == _IDENT, _V.c.deleted_at.is_(None))
_LOCK_VOLUME = _ONE_VOLUME.with_for_update()


def _lock_attachment(*columns: sa.ColumnElement[Any]) -> dict[str, sa.Select[Any]]:
    """Build the statement by dialect."""
    joined = (
        sa.select(*columns)
        .select_from(_V.join(_A, _A.c.volume_id == _V.c.id))
        .where(_A.c.deleted_at.is_(None), _V.c.deleted_at.is_(None))
        .with_for_update()
    )
    # PostgreSQL locks in the order of FROM. InnoDB locks a row that a constant names before it joins: the
    # volume is named by a query, and the attachment by something that takes a volume.
    named = sa.alias(_A)
    volume_id = sa.select(named.c.volume_id).where(named.c.id == _IDENT).scalar_subquery()
    ordered = joined.prefix_with('STRAIGHT_JOIN').where(
        _V.c.id == volume_id, _A.c.id == sa.case((_V.c.id.is_(None), sa.literal('')), else_=_IDENT)
    )
    plain = joined.where(_A.c.id == _IDENT)
    return {'mysql': ordered, 'mariadb': ordered, 'postgresql': plain, 'sqlite': plain}


_LOCK = _lock_attachment(*_VOLUME, *_ATTACHMENT)
_LOCK_WITH_INFO = _lock_attachment(*_VOLUME, *_ATTACHMENT, _A.c.connection_info)


def _room() -> tuple[sa.ColumnElement[Any], ...]:
    placed = (_A.c.volume_id == _V.c.id, _A.c.deleted_at.is_(None), ~models.is_one_of(_A.c.state, states.PLACELESS))
    server: sa.BindParameter[str] = sa.bindparam('server', type_=sa.String)
    cap = (
        sa.select(_SPEC.c.value)
        .where(_SPEC.c.volume_type_id == _V.c.volume_type_id, _SPEC.c.key == extra_specs.MAX_ATTACHMENTS)
        .correlate(_V)
        .scalar_subquery()
    )
    mine = sa.select(sa.func.count()).where(*placed, _A.c.instance_uuid == server)
    stranger = sa.or_(_A.c.instance_uuid.is_(None), server.is_(None), _A.c.instance_uuid != server)
    others = sa.exists().where(*placed, stranger)
    owner = sa.func.coalesce(_A.c.instance_uuid, _A.c.id)
    servers = sa.select(sa.func.count(sa.distinct(owner))).where(*placed).correlate(_V).scalar_subquery()
    counts = sa.or_(sa.bindparam('capped', type_=sa.Boolean), cap.is_not(None))
    limits = (
        sa.select(_LIMIT.c.hard_limit)
        .where(_LIMIT.c.resource == 'attachments', _LIMIT.c.scope == scope, _LIMIT.c.name == name)
        .correlate(_V)
        .scalar_subquery()
        for scope, name in (('project', _V.c.project_id), ('class', sa.literal('default')))
    )
    return (
        mine.correlate(_V).scalar_subquery(),
        others.correlate(_V),
        # With a thousand sharers counting them is most of the work.
        sa.case((counts, servers), else_=0),
        cap,
        *limits,
    )


_ROOM = _ONE_VOLUME.with_only_columns(*_VOLUME, *_room())


def lock_volume(work: Work, volume_id: str) -> LockedVolume:
    """Lock a volume until the transaction ends."""
    row = work.execute(_LOCK_VOLUME, {'ident': volume_id}).first()
    if row is None:
        raise errors.VolumeNotFound(volume_id)
    commits.note_lock(work, models.Volume, volume_id)
    return LockedVolume(*row)


def lock_attachment(work: Work, attachment_id: str, *, with_info: bool = False) -> LockedAttachment:
    """Lock an attachment and its volume until the transaction ends.

    :param with_info: read connection_info, too.
    :raises AttachmentNotFound: no live attachment has this id.
    """
    statement = (_LOCK_WITH_INFO if with_info else _LOCK)[commits.find_dialect(work).name]
    row = work.execute(statement, {'ident': attachment_id}).first()
    if row is None:
        raise errors.AttachmentNotFound(attachment_id)
    split = len(_VOLUME)
    volume = LockedVolume(*row[:split])
    commits.note_lock(work, models.Volume, volume.id)
    return LockedAttachment(volume, *row[split:], *(() if with_info else (None,)))


def lock_with_room(work: Work, volume_id: str, instance_uuid: str | None, *, capped: bool) -> tuple[LockedVolume, Room]:
    """Lock a volume and read who takes a place on it, and who may; the rest as for :func:`read_room`.

    By two statements: what one reads besides the row that it waits for may be what was true before it waited.
    On SQLite nobody waits inside a transaction.
    """
    if commits.find_dialect(work).name != 'sqlite':
        return lock_volume(work, volume_id), read_room(work, volume_id, instance_uuid, capped=capped)
    return _read_room(work, volume_id, instance_uuid, capped)


def read_room(work: Work, volume_id: str, instance_uuid: str | None, *, capped: bool) -> Room:
    """Read who takes a place on a volume that is locked, and who may, in one statement.

    :param instance_uuid: the asking server, or None.
    :param capped: whether there is a cap besides the one of the type.
    """
    return _read_room(work, volume_id, instance_uuid, capped)[1]


def _read_room(work: Work, volume_id: str, instance_uuid: str | None, capped: bool) -> tuple[LockedVolume, Room]:
    row = work.execute(_ROOM, {'ident': volume_id, 'server': instance_uuid, 'capped': capped}).first()
    if row is None:
        raise errors.VolumeNotFound(volume_id)
    split = len(_VOLUME)
    mine, others, servers, cap, own, general = row[split:]
    room = Room(int(mine), bool(others), int(servers), cap, general if own is None else own)
    return LockedVolume(*row[:split]), room
