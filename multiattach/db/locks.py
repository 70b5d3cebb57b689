# SPDX-License-Identifier: Apache-2.0
"""Rows that a transaction holds locked, as plain values: what requests wait for needs no mapped rows.

Everybody locks the volume before its attachments, so that transactions wait for each other and never deadlock.
"""

import datetime
from collections.abc import Iterable, Mapping, Sequence
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
    """An attachment with its volume, columns as in :class:`~multiattach.db.models.Attachment`.

    The last two are extra specs of the volume's type, read with ``connection_info``; see
    :data:`~multiattach.domain.extra_specs.OF_TARGETS`.
    """

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
    reservations: str | None = None
    enforce_read_only: str | None = None


class Allowance(NamedTuple):
    """How many may have a volume, and whether its storage has to tell them apart.

    :param cap: what the type allows, as it is written there; None if it says nothing; so is *reservations*.
    :param limit: the quota that an admin set for the project or its class, None if nobody did.
    """

    cap: str | None
    reservations: str | None
    limit: int | None


class Room(NamedTuple):
    """Who takes a place on a volume.

    :param mine: attachments of the asking server.
    :param others: whether others do, those without a server among them.
    :param servers: servers that have one; an attachment without a server counts as one.
    """

    mine: int
    others: bool
    servers: int


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
# In the database's own order, which is everybody's who locks more than one.
_LOCK_VOLUMES = (
    sa.select(*_VOLUME)
    .where(_V.c.id.in_(sa.bindparam('idents', expanding=True)), _V.c.deleted_at.is_(None))
    .order_by(_V.c.id)
    .with_for_update()
)
_AT_ONCE = 500  # ids in one statement


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


def _find_spec(key: str) -> sa.ScalarSelect[Any]:
    """Build an extra spec of the volume's type, as it is written there: it is not changed while a volume has it."""
    found = sa.select(_SPEC.c.value).where(_SPEC.c.volume_type_id == _V.c.volume_type_id, _SPEC.c.key == key)
    return found.correlate(_V).scalar_subquery()


_LOCK = _lock_attachment(*_VOLUME, *_ATTACHMENT)
_LOCK_WITH_INFO = _lock_attachment(
    *_VOLUME, *_ATTACHMENT, _A.c.connection_info, *(_find_spec(key) for key in extra_specs.OF_TARGETS)
)


_PLACED = (_A.c.volume_id == _V.c.id, _A.c.deleted_at.is_(None), ~models.is_one_of(_A.c.state, states.PLACELESS))


def count_mine(server: sa.BindParameter[str]) -> sa.ScalarSelect[int]:
    """Build the number of a server's attachments that take a place on the volume."""
    found = sa.select(sa.func.count()).where(*_PLACED, _A.c.instance_uuid == server)
    return found.correlate(_V).scalar_subquery()


def find_others(server: sa.BindParameter[str]) -> sa.Exists:
    """Build whether an attachment of another one takes a place on the volume."""
    stranger = sa.or_(_A.c.instance_uuid.is_(None), server.is_(None), _A.c.instance_uuid != server)
    return sa.exists().where(*_PLACED, stranger).correlate(_V)


def _allowance() -> tuple[sa.ScalarSelect[Any], ...]:
    specs = (extra_specs.MAX_ATTACHMENTS, extra_specs.RESERVATIONS)
    limits = [
        sa.select(_LIMIT.c.hard_limit).where(
            _LIMIT.c.resource == 'attachments', _LIMIT.c.scope == scope, _LIMIT.c.name == name
        )
        for scope, name in (('project', _V.c.project_id), ('class', sa.literal('default')))
    ]
    return (*map(_find_spec, specs), *(query.correlate(_V).scalar_subquery() for query in limits))


_SERVER: sa.BindParameter[str] = sa.bindparam('server', type_=sa.String)
_SERVERS = (
    sa.select(sa.func.count(sa.distinct(sa.func.coalesce(_A.c.instance_uuid, _A.c.id))))
    .where(*_PLACED)
    .correlate(_V)
    .scalar_subquery()
)
_ROOM = _ONE_VOLUME.with_only_columns(count_mine(_SERVER), find_others(_SERVER), _SERVERS)
_LOCK_WITH_ALLOWANCE = _LOCK_VOLUME.add_columns(*_allowance())
_ALLOWANCE = _ONE_VOLUME.with_only_columns(*_allowance())


def lock_volume(work: Work, volume_id: str) -> LockedVolume:
    """Lock a volume until the transaction ends."""
    row = work.execute(_LOCK_VOLUME, {'ident': volume_id}).first()
    if row is None:
        raise errors.VolumeNotFound(volume_id)
    commits.note_lock(work, models.Volume, volume_id)
    return LockedVolume(*row)


def lock_volumes(work: Work, volume_ids: Iterable[str]) -> dict[str, LockedVolume]:
    """Lock volumes until the transaction ends; those that are gone are left out."""
    idents, found = sorted(set(volume_ids)), {}
    for start in range(0, len(idents), _AT_ONCE):
        for row in work.execute(_LOCK_VOLUMES, {'idents': idents[start : start + _AT_ONCE]}):
            commits.note_lock(work, models.Volume, row[0])
            found[row[0]] = LockedVolume(*row)
    return found


def read_attachments(
    work: Work, volumes: Mapping[str, LockedVolume], *conditions: sa.ColumnElement[bool]
) -> list[LockedAttachment]:
    """Read the live attachments of locked volumes, oldest first, without connection_info.

    :param volumes: at most 500.
    """
    query = (
        sa.select(*_ATTACHMENT)
        .where(_A.c.volume_id.in_(sorted(volumes)), _A.c.deleted_at.is_(None), *conditions)
        .order_by(_A.c.volume_id, _A.c.created_at, _A.c.id)
    )
    return [_join(volumes[row.volume_id], row, None) for row in work.execute(query)]


def _join(volume: LockedVolume, row: Sequence[Any], *info: Any) -> LockedAttachment:
    return LockedAttachment(volume, *row, *info)


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
    return _join(volume, row[split:], *(() if with_info else (None,)))


def lock_with_allowance(work: Work, volume_id: str) -> tuple[LockedVolume, Allowance]:
    """Lock a volume until the transaction ends, and read how many may have it."""
    row = work.execute(_LOCK_WITH_ALLOWANCE, {'ident': volume_id}).first()
    if row is None:
        raise errors.VolumeNotFound(volume_id)
    commits.note_lock(work, models.Volume, volume_id)
    *columns, cap, reservations, own, general = row
    return LockedVolume(*columns), Allowance(cap, reservations, general if own is None else own)


def read_allowance(work: Work, volume_id: str) -> Allowance:
    """Read how many may have a volume."""
    cap, reservations, own, general = work.execute(_ALLOWANCE, {'ident': volume_id}).one()
    return Allowance(cap, reservations, general if own is None else own)


def read_room(work: Work, volume_id: str, instance_uuid: str | None) -> Room:
    """Read who takes a place on a volume.

    Not by the statement that locks the volume: what that one reads besides may be what was true before it waited.

    :param instance_uuid: the asking server, or None.
    """
    row = work.execute(_ROOM, {'ident': volume_id, 'server': instance_uuid}).one()
    return Room(int(row[0]), bool(row[1]), int(row[2]))
