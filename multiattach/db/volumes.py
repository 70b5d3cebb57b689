# SPDX-License-Identifier: Apache-2.0
"""Queries on volumes."""

import datetime
import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from multiattach.db import aggregates, changes, commits, items, models, paging
from multiattach.domain import errors, states

A = models.Attachment
V = models.Volume
_LIVE = V.deleted_at.is_(None)
_AT_ONCE = 500  # ids that one statement asks for
# What a written column says has happened, beside the state machine.
_NOTED = {'host': 'create', 'volume_type_id': 'retyped', 'display_name': 'update', 'display_description': 'update'}


_TYPES, _VOLUMES = models.VolumeType.__table__, V.__table__
# Columns of models.VolumeDetail that are the volume's own, in order.
_OWN = (
    'id',
    'project_id',
    'user_id',
    'display_name',
    'display_description',
    'size',
    'volume_type_id',
    'multiattach',
    'bootable',
    'readonly',
    'host',
    'availability_zone',
    'service_uuid',
    'status',
    'created_at',
    'updated_at',
    'source_volid',
    'snapshot_id',
    'migration_status',
    'name_id',
)


def _gather(table: Any) -> sa.ScalarSelect[Any]:
    return (
        sa.select(aggregates.ObjectOf(table.key, table.value))
        .where(table.volume_id == V.id)
        .correlate(V)
        .scalar_subquery()
    )


# Built once: each request needs one of them.
_ONE = sa.select(V).where(V.id == sa.bindparam('ident'), _LIVE).execution_options(populate_existing=True)
# Plain rows cost a fifth of mapped ones, and each column costs.
_DETAIL = (
    sa.select(
        *(_VOLUMES.c[name] for name in _OWN),
        _TYPES.c.name.label('type_name'),
        _gather(models.VolumeMetadata).label('metadata'),
        _gather(models.ImageMetadata).label('image'),
        sa.exists().where(A.volume_id == V.id, A.deleted_at.is_(None)).correlate(V).label('is_held'),
    )
    # Outer: else MariaDB may begin with the types, and sort all of their volumes for one page.
    .outerjoin_from(_VOLUMES, _TYPES, _TYPES.c.id == _VOLUMES.c.volume_type_id)
    .where(_LIVE)
)
_GET = _DETAIL.where(V.id == sa.bindparam('ident'))
_LOCK = _ONE.with_for_update()
# Plain rows, which cost a tenth of mapped ones: a volume may have a thousand.
_HELD = (
    sa.select(A.volume_id, A.id, A.state, A.instance_uuid, A.attached_host, A.mountpoint, A.attached_at)
    .where(A.volume_id.in_(sa.bindparam('volumes', expanding=True)), A.deleted_at.is_(None))
    .order_by(A.created_at, A.id)
)


def get(work: Session | sa.Connection, volume_id: str) -> models.VolumeDetail:
    """Load a volume with all that its view shows, in one statement, or in two if it has attachments."""
    rows = work.execute(_GET, {'ident': volume_id}).all()
    if not rows:
        raise errors.VolumeNotFound(volume_id)
    return _describe(work, rows)[0]


def _describe(work: Session | sa.Connection, rows: Iterable[Any]) -> list[models.VolumeDetail]:
    volumes = []
    held: dict[str, list[Any]] = {}
    for *own, metadata, image, is_held in rows:
        found = models.VolumeDetail(*(*own, _parse(metadata), _parse(image), []))
        volumes.append(found)
        if is_held:
            held[found.id] = found.attachments
    if held:
        for row in work.execute(_HELD, {'volumes': list(held)}):
            held[row.volume_id].append(row)
    return volumes


def _parse(text: str | None) -> dict[str, str]:
    return dict(sorted(json.loads(text).items())) if text else {}


def load(session: Session, volume_id: str) -> V:
    """Load a volume's row alone."""
    volume = session.scalars(_ONE, {'ident': volume_id}).first()
    if volume is None:
        raise errors.VolumeNotFound(volume_id)
    return volume


def lock(session: Session, volume_id: str) -> V:
    """Load a volume's row, without its relations, and hold its lock until the transaction ends."""
    volume = session.scalars(_LOCK, {'ident': volume_id}).first()
    if volume is None:
        raise errors.VolumeNotFound(volume_id)
    commits.note_lock(session, V, volume_id)
    return volume


def list_page(
    session: Session, filters: Sequence[sa.ColumnElement[bool]], page: paging.Page
) -> list[models.VolumeDetail]:
    """Load one page of volumes with all that their views show, in one statement, or up to three."""
    query = paging.paginate(session, _DETAIL.where(*filters), V, page)
    return _describe(session, session.execute(query, execution_options=paging.SHAPED))


def count(session: Session, filters: Sequence[sa.ColumnElement[bool]]) -> tuple[int, int]:
    """Return the number of volumes and the sum of their sizes in GiB."""
    row = session.execute(
        sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(V.size), 0)).where(_LIVE, *filters),
        execution_options=paging.SHAPED,
    ).one()
    return int(row[0]), int(row[1])


def collect_metadata(session: Session, filters: Sequence[sa.ColumnElement[bool]]) -> dict[str, list[str]]:
    """Return the distinct values of each key of the metadata of volumes."""
    table = models.VolumeMetadata
    found: dict[str, list[str]] = {}
    rows = session.execute(
        sa.select(table.key, table.value)
        .distinct()
        .join(V, V.id == table.volume_id)
        .where(_LIVE, *filters)
        .order_by(table.key, table.value)
    )
    for key, value in rows:
        found.setdefault(key, []).append(value)
    return found


def metadata_filter(items: Mapping[str, str]) -> list[sa.ColumnElement[bool]]:
    """Build a condition for each item of metadata that a volume must have."""
    table = models.VolumeMetadata
    return [
        sa.exists().where(table.volume_id == V.id, table.key == key, table.value == value)
        for key, value in items.items()
    ]


def image_metadata_filter(items: Mapping[str, str]) -> list[sa.ColumnElement[bool]]:
    """Build a condition for each item of image metadata that a volume must have."""
    table = models.ImageMetadata
    return [
        sa.exists().where(table.volume_id == V.id, table.key == key, table.value == value)
        for key, value in items.items()
    ]


def list_owned(session: Session, host: str, statuses: Iterable[str]) -> list[V]:
    """List a backend's volumes in some statuses without their relations, oldest first."""
    return list(
        session.scalars(
            sa.select(V).where(_LIVE, V.host == host, V.status.in_(sorted(statuses))).order_by(V.created_at)
        )
    )


def add(session: Session, volume: V) -> None:
    session.add(volume)
    session.flush()


def list_unplaced(session: Session) -> list[str]:
    """List the volumes that are to be made and have no backend."""
    return list(session.scalars(sa.select(V.id).where(_LIVE, V.host.is_(None), V.status == states.Volume.CREATING)))


def list_name_ids_of(session: Session, host: str) -> list[str]:
    """List the ids after which the storage of a backend's volumes is named."""
    return list(session.scalars(sa.select(sa.func.coalesce(V.name_id, V.id)).where(_LIVE, V.host == host)))


def list_renamed(session: Session) -> dict[str, str]:
    """List the ids after which storage is named that has not its volume's own, by volume, of all backends.

    Of deleted volumes, too: a migration may have left something.
    """
    rows = session.execute(sa.select(V.id, V.name_id).where(V.name_id.is_not(None)))
    return {ident: str(name_id) for ident, name_id in rows}


def find_live(session: Session, idents: Iterable[str]) -> set[str]:
    """Find which of some ids are those of volumes, on whatever backend."""
    wanted = list(idents)
    parts = (wanted[start : start + _AT_ONCE] for start in range(0, len(wanted), _AT_ONCE))
    return {ident for part in parts for ident in session.scalars(sa.select(V.id).where(_LIVE, V.id.in_(part)))}


def list_taken(session: Session, host: str) -> dict[str, str]:
    """List what is being taken over on a backend: the volume by the name that its storage had."""
    rows = session.execute(
        sa.select(V.managed_from, V.id).where(_LIVE, V.host == host, V.status == states.Volume.MANAGING)
    )
    return {str(name): ident for name, ident in rows}


def allocated(session: Session) -> dict[str, int]:
    """Sum up the GiB that are promised on each backend."""
    rows = session.execute(
        sa.select(V.host, sa.func.coalesce(sa.func.sum(sa.func.coalesce(V.new_size, V.size)), 0))
        .where(_LIVE, V.host.is_not(None))
        .group_by(V.host)
    )
    return {str(host): int(total) for host, total in rows}


def check_distinct(items: Mapping[str, str]) -> None:
    """Refuse keys that MariaDB takes for one: it does not see spaces at the end."""
    if len({key.rstrip(' ') for key in items}) != len(items):
        raise errors.InvalidInput('Two keys of metadata differ in nothing but spaces at their end.')


def replace_metadata(session: Session, volume_id: str, wanted: Mapping[str, str], *, keep_others: bool) -> None:
    """Write user metadata; the caller holds the volume's lock. *keep_others* leaves keys that are not named."""
    check_distinct(wanted)
    items.put(session, models.VolumeMetadata.volume_id, volume_id, wanted, keep_others=keep_others)


def delete_metadata(session: Session, volume_id: str, key: str) -> bool:
    return items.delete(session, models.VolumeMetadata.volume_id, volume_id, [key])


def set_image_metadata(session: Session, volume_id: str, wanted: Mapping[str, str]) -> None:
    """Set items of image metadata; the others stay."""
    check_distinct(wanted)
    items.put(session, models.ImageMetadata.volume_id, volume_id, wanted)


def delete_image_metadata(session: Session, volume_id: str, key: str) -> bool:
    return items.delete(session, models.ImageMetadata.volume_id, volume_id, [key])


def update(session: Session, volume_id: str, *, moment: datetime.datetime | None = None, **values: Any) -> None:
    """Write columns that are no part of the state machine, so never ``status``."""
    assert 'status' not in values
    moment = moment or models.now()
    session.execute(
        sa.update(V)
        .where(V.id == volume_id, _LIVE)
        .values(updated_at=moment, **values)
        .execution_options(synchronize_session=False)
    )
    commits.note_volume(session, volume_id, moment)
    for column, event in _NOTED.items():
        if column in values:
            changes.note(session, functools.partial(changes.Change, changes.VOLUME, volume_id, event, None, moment))
            break
