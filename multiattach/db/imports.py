# SPDX-License-Identifier: Apache-2.0
"""Rows that are taken over from Cinder: compared with what is here, written in one transaction, and forgotten."""

import dataclasses
import datetime
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from multiattach.db import models, snapshots, transitions
from multiattach.db.commits import Work, note_row
from multiattach.domain.imports import OWN_TYPE, Item, Kind, Obstacle, Row

I = models.ImportedItem  # noqa: E741 - as the other modules name theirs
_CHUNK = 400
# Tables of a kind, the item's own first, and the column by which an item's rows are found.
_TABLES: dict[Kind, dict[str, str]] = {
    Kind.QOS: {'qos_specs': 'id', 'qos_specs_items': 'qos_specs_id'},
    Kind.TYPE: {
        'volume_types': 'id',
        'volume_type_extra_specs': 'volume_type_id',
        'volume_type_projects': 'volume_type_id',
        'volume_type_encryptions': 'volume_type_id',
        'volume_type_qos_specs': 'volume_type_id',
    },
    Kind.DEFAULT_TYPE: {'default_volume_types': 'project_id'},
    Kind.QUOTA: {'quota_limits': 'name'},
    Kind.VOLUME: {'volumes': 'id', 'volume_metadata': 'volume_id', 'volume_image_metadata': 'volume_id'},
    Kind.ATTACHMENT: {'attachments': 'id'},
    Kind.SNAPSHOT: {'snapshots': 'id', 'snapshot_metadata': 'snapshot_id'},
}
# What an item is compared by, of tables that have more: the rest the service writes by itself.
_COMPARED: dict[str, frozenset[str]] = {
    'qos_specs': frozenset({'id', 'name', 'consumer'}),
    'volume_types': frozenset({'id', 'name', 'description', 'is_public', 'deleted_at'}),
    'volume_type_encryptions': frozenset({'encryption_id', 'provider', 'control_location', 'cipher', 'key_size'}),
    'volumes': frozenset(
        {
            'id',
            'project_id',
            'user_id',
            'display_name',
            'display_description',
            'size',
            'new_size',
            'volume_type_id',
            'multiattach',
            'bootable',
            'readonly',
            'host',
            'availability_zone',
            'status',
            'claim',
            'source_volid',
            'snapshot_id',
            'deleted_at',
        }
    ),
    'snapshots': frozenset(
        {
            'id',
            'volume_id',
            'project_id',
            'user_id',
            'display_name',
            'display_description',
            'size',
            'status',
            'deleted_at',
        }
    ),
    'attachments': frozenset(
        {
            'id',
            'volume_id',
            'instance_uuid',
            'state',
            'attach_mode',
            'attached_host',
            'initiator',
            'shared_account',
            'mountpoint',
            'connector',
            'connection_info',
            'deleted_at',
        }
    ),
}
# Columns of a later release: what has nothing there has the fingerprint that it had before.
_COMPARED_IF_SET = frozenset({'name_id'})
# Names that only one of a kind may have.
_UNIQUE = {Kind.QOS: ('qos_specs', 'name'), Kind.TYPE: ('volume_types', 'live_name')}
# What an item needs to be there: the kind, and the table and column that name it.
_NEEDS = {
    Kind.TYPE: (Kind.QOS, 'volume_type_qos_specs', 'qos_specs_id'),
    Kind.DEFAULT_TYPE: (Kind.TYPE, 'default_volume_types', 'volume_type_id'),
    Kind.VOLUME: (Kind.TYPE, 'volumes', 'volume_type_id'),
    Kind.ATTACHMENT: (Kind.VOLUME, 'attachments', 'volume_id'),
    Kind.SNAPSHOT: (Kind.VOLUME, 'snapshots', 'volume_id'),
}
Key = tuple[Kind, str]


@dataclasses.dataclass
class Comparison:
    """What an import has to do.

    :param new: what is not here.
    :param changed: what was imported, and is not the same in Cinder any more.
    :param gone: what was imported, and is no more in Cinder.
    :param same: number of items that are as they were imported, or were changed here only.
    :param kept: what is here and was not imported.
    :param conflicts: what an import cannot decide.
    :param replaced: a type of this service's own making that gives way to Cinder's, as nobody uses it.
    """

    new: list[Item] = dataclasses.field(default_factory=list)
    changed: list[Item] = dataclasses.field(default_factory=list)
    gone: list[Key] = dataclasses.field(default_factory=list)
    same: int = 0
    kept: list[Key] = dataclasses.field(default_factory=list)
    conflicts: list[Obstacle] = dataclasses.field(default_factory=list)
    replaced: str | None = None


@dataclasses.dataclass
class Undone:
    """What an undo takes away by kind, and what it finds other than it was imported."""

    counts: dict[str, int] = dataclasses.field(default_factory=dict)
    changed: list[Obstacle] = dataclasses.field(default_factory=list)


# -- reading ---------------------------------------------------------------------------------------


def has_any(work: Work) -> bool:
    """Tell whether something was imported to which there is a way back."""
    return work.execute(sa.select(I.kind).limit(1)).first() is not None


def list_backends(work: Work) -> list[str]:
    """List the backends that have imported volumes to which there is a way back."""
    volume = models.Volume
    query = (
        sa.select(volume.host)
        .distinct()
        .join(I, sa.and_(I.kind == Kind.VOLUME, I.ident == volume.id))
        .where(volume.host.is_not(None))
    )
    return sorted(str(row[0]) for row in work.execute(query))


def count(work: Work) -> dict[str, int]:
    """Count what was imported, by kind."""
    return {row[0]: row[1] for row in work.execute(sa.select(I.kind, sa.func.count()).group_by(I.kind))}


def compare(work: Work, items: Sequence[Item], present: frozenset[Key]) -> Comparison:
    """Compare what Cinder has with what is here.

    :param items: in the order of their kinds.
    :param present: what Cinder has at all, beside the items.
    """
    found = Comparison()
    records = _read_records(work)
    blocked: set[Key] = set()
    named = _list_names(work, items)
    for kind in Kind:
        its = [item for item in items if item.kind is kind]
        here = _read(work, kind, [item.ident for item in its])
        for item in its:
            if kind is Kind.TYPE and (unused := _find_unused(work, item, named[kind])):
                found.replaced = unused
                named[kind].pop(OWN_TYPE)
            if obstacle := _find_clash(item, blocked, named):
                blocked.add((kind, item.ident))
                found.conflicts.append(obstacle)
            else:
                _judge(found, item, records.get((kind, item.ident)), here.get(item.ident))
    _find_gone(work, found, records, {(item.kind, item.ident) for item in items} | present)
    return found


def _read_records(work: Work) -> dict[Key, str]:
    rows = work.execute(sa.select(I.kind, I.ident, I.fingerprint))
    return {(Kind(kind), ident): fingerprint for kind, ident, fingerprint in rows}


def _list_names(work: Work, items: Iterable[Item]) -> dict[Kind, dict[str, str]]:
    found = {}
    for kind, (table, column) in _UNIQUE.items():
        columns = _find_table(table).c
        rows = work.execute(sa.select(columns[column], columns.id).where(columns[column].is_not(None)))
        found[kind] = {row[0]: row[1] for row in rows}
    return found


def _find_clash(item: Item, blocked: set[Key], named: Mapping[Kind, Mapping[str, str]]) -> Obstacle | None:
    own = next(iter(item.rows.values()))[0]
    name = own.get('name') or own.get('display_name')
    if need := _NEEDS.get(item.kind):
        kind, table, column = need
        for row in item.rows[table]:
            if (kind, row[column]) in blocked:
                return _oppose(item, f'Its {kind} {row[column]} cannot be imported.', 'See there.')
    taken = named.get(item.kind, {}).get(str(name))
    if taken is not None and taken != item.ident:
        return _oppose(
            item, f'There is another one of this name here, {taken}.', 'Rename or delete one of both, and import again.'
        )
    return None


def _find_unused(work: Work, item: Item, named: Mapping[str, str]) -> str | None:
    """Find the type that this service made for itself where Cinder did the same, if no volume has it."""
    ident = named.get(OWN_TYPE)
    if item.rows['volume_types'][0]['name'] != OWN_TYPE or ident in (None, item.ident):
        return None
    uses = [
        work.execute(sa.select(table.volume_type_id).where(table.volume_type_id == ident).limit(1)).first()
        for table in (models.Volume, models.DefaultType)
    ]
    return None if any(uses) else ident


def _oppose(item: Item, reason: str, remedy: str) -> Obstacle:
    own = next(iter(item.rows.values()))[0]
    return Obstacle(
        item.kind, item.ident, own.get('project_id'), own.get('display_name') or own.get('name'), reason, remedy
    )


def _judge(found: Comparison, item: Item, recorded: str | None, here: Mapping[str, list[Row]] | None) -> None:
    """Sort an item in by what Cinder has, what was imported and what is here."""
    now = None if here is None else _make_fingerprint(item.kind, here)
    if recorded is None:
        if now is None:
            found.new.append(item)
        else:
            found.kept.append((item.kind, item.ident))
        return
    theirs = _make_fingerprint(item.kind, item.rows)
    if theirs == recorded:
        found.same += 1
    elif now == recorded:
        found.changed.append(item)
    elif now != theirs:
        found.conflicts.append(
            _oppose(
                item,
                'It was changed here and in Cinder since it was imported.',
                'Keep one: undo the change here, or in Cinder; from a switch on, Cinder is not to be used.',
            )
        )


def _find_gone(work: Work, found: Comparison, records: Mapping[Key, str], present: set[Key]) -> None:
    gone = defaultdict(list)
    for kind, ident in records.keys() - present:
        gone[kind].append(ident)
    for kind, idents in gone.items():
        here = _read(work, kind, idents)
        for ident in idents:
            if ident not in here or _make_fingerprint(kind, here[ident]) == records[kind, ident]:
                found.gone.append((kind, ident))
            else:
                reason = 'It is no more in Cinder, and was changed here since it was imported.'
                found.conflicts.append(Obstacle(kind, ident, None, None, reason, 'Delete it here, if nobody needs it.'))


def _read(work: Work, kind: Kind, idents: Sequence[str]) -> dict[str, dict[str, list[Row]]]:
    """Read the rows of items of one kind, by item and table."""
    found: dict[str, dict[str, list[Row]]] = {}
    for some in _chunks(idents):
        for name in _TABLES[kind]:
            for row in work.execute(sa.select(_find_table(name)).where(_is_of(kind, name, some))):
                values = row._asdict()
                found.setdefault(_find_ident(kind, name, values), {}).setdefault(name, []).append(values)
    return found


def _find_table(name: str) -> sa.Table:
    return models.Base.metadata.tables[name]


def _is_of(kind: Kind, name: str, idents: Sequence[str]) -> sa.ColumnElement[bool]:
    columns = _find_table(name).c
    if kind is Kind.QUOTA:
        return sa.or_(
            *(
                sa.and_(columns.scope == scope, columns.name == of)
                for scope, _, of in (ident.partition('/') for ident in idents)
            )
        )
    return columns[_TABLES[kind][name]].in_(idents)


def _find_ident(kind: Kind, name: str, row: Row) -> str:
    return f'{row["scope"]}/{row["name"]}' if kind is Kind.QUOTA else str(row[_TABLES[kind][name]])


def _make_fingerprint(kind: Kind, rows: Mapping[str, Iterable[Row]]) -> str:
    """Tell rows from others in a text that gives no secret away."""
    parts = {
        name: sorted(
            json.dumps({k: _plain(v) for k, v in row.items() if _is_compared(name, k, v)}, sort_keys=True)
            for row in rows.get(name, ())
        )
        for name in _TABLES[kind]
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _is_compared(table: str, column: str, value: Any) -> bool:
    if column in _COMPARED_IF_SET:
        return value is not None
    return column in _COMPARED[table] if table in _COMPARED else True


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime.datetime) else value


# -- writing ---------------------------------------------------------------------------------------


def apply(work: Work, found: Comparison, actor: transitions.Actor) -> None:
    """Write what a comparison found."""
    _delete(work, [*found.gone, *([(Kind.TYPE, found.replaced)] if found.replaced else [])])
    for item in found.changed:
        _rewrite(work, item)
    for kind in Kind:
        its = [item for item in found.new if item.kind is kind]
        for name in _TABLES[kind]:
            rows = [dict(row) for item in its for row in item.rows.get(name, ())]
            _insert(work, name, rows, actor)
    moment = models.now()
    for item in found.changed:
        _update_record(work, item, moment)
    records = [
        {
            'kind': str(item.kind),
            'ident': item.ident,
            'fingerprint': _make_fingerprint(item.kind, item.rows),
            'imported_at': moment,
        }
        for item in found.new
    ]
    for some in _chunks(records):
        work.execute(sa.insert(models.table_of(I)), some)
    for item in found.new:
        if item.kind is Kind.VOLUME:  # if the answer to the COMMIT is lost, one row tells
            note_row(work, models.Volume, item.ident)
            break


def _insert(work: Work, name: str, rows: Sequence[dict[str, Any]], actor: transitions.Actor) -> None:
    for some in _chunks(rows):
        if name == 'attachments':
            transitions.import_attachments(work, some, actor)
        elif name == 'volumes':
            transitions.import_volumes(work, some)
        elif name == 'snapshots':
            snapshots.import_rows(work, some)
        else:
            work.execute(sa.insert(_find_table(name)), some)


def _rewrite(work: Work, item: Item) -> None:
    """Make an item's rows what Cinder says now: its own row keeps what it has beside."""
    for number, (name, column) in enumerate(_TABLES[item.kind].items()):
        rows = [dict(row) for row in item.rows.get(name, ())]
        if number == 0 and item.kind in (Kind.VOLUME, Kind.ATTACHMENT):
            transitions.rewrite_imported(work, _find_table(name), item.ident, rows[0])
        elif number == 0 and item.kind is Kind.SNAPSHOT:
            snapshots.rewrite_imported(work, item.ident, rows[0])
        elif number == 0 and column == 'id':
            table = _find_table(name)
            work.execute(sa.update(table).where(table.c.id == item.ident).values(**rows[0]))
        else:
            work.execute(sa.delete(_find_table(name)).where(_is_of(item.kind, name, [item.ident])))
            if rows:
                work.execute(sa.insert(_find_table(name)), rows)


def _update_record(work: Work, item: Item, moment: datetime.datetime) -> None:
    table = models.table_of(I)
    work.execute(
        sa.update(table)
        .where(table.c.kind == str(item.kind), table.c.ident == item.ident)
        .values(fingerprint=_make_fingerprint(item.kind, item.rows), imported_at=moment)
    )


def _delete(work: Work, keys: Iterable[Key]) -> None:
    """Delete items with all of their rows, and that they were imported: what needs others first."""
    by_kind = defaultdict(list)
    for kind, ident in keys:
        by_kind[kind].append(ident)
    for kind in reversed(Kind):
        for some in _chunks(by_kind.get(kind, [])):
            for name in reversed(_TABLES[kind]):
                work.execute(sa.delete(_find_table(name)).where(_is_of(kind, name, some)))
            table = models.table_of(I)
            work.execute(sa.delete(table).where(table.c.kind == str(kind), table.c.ident.in_(some)))


# -- the way back ----------------------------------------------------------------------------------


def find_undo(work: Work) -> tuple[Undone, list[Key]]:
    """Find what an undo takes away, and what of it is not what was imported."""
    records, found = _read_records(work), Undone()
    for kind in Kind:
        mine = {ident: fingerprint for (of, ident), fingerprint in records.items() if of is kind}
        here = _read(work, kind, sorted(mine))
        for ident, fingerprint in mine.items():
            if ident not in here:
                continue
            found.counts[kind] = found.counts.get(kind, 0) + 1
            if _make_fingerprint(kind, here[ident]) != fingerprint:
                found.changed.append(_tell(kind, ident, here[ident], 'It was changed here since it was imported.'))
    found.changed += _find_dependents(work, records)
    return found, list(records)


def _find_dependents(work: Work, records: Mapping[Key, str]) -> Iterator[Obstacle]:
    """Find what was made here of imported volumes and types, and would be left without them."""
    for kind, (need, name, column) in ((kind, _NEEDS[kind]) for kind in (Kind.VOLUME, Kind.ATTACHMENT, Kind.SNAPSHOT)):
        table = _find_table(name)
        needed = [ident for of, ident in records if of is need]
        for some in _chunks(needed):
            for row in work.execute(sa.select(table).where(table.c[column].in_(some))):
                if (kind, row.id) not in records and (row.deleted_at is None or kind is Kind.VOLUME):
                    yield _tell(kind, row.id, {name: [row._asdict()]}, f'It was made here, of an imported {need}.')


def _tell(kind: Kind, ident: str, rows: Mapping[str, Sequence[Row]], reason: str) -> Obstacle:
    own: Row = next(iter(rows.values()))[0]
    return Obstacle(
        kind,
        ident,
        own.get('project_id'),
        own.get('display_name') or own.get('name'),
        reason,
        'Cinder does not know of it: put it right there after the way back, or delete it here first.',
    )


def undo(work: Work, keys: Sequence[Key]) -> None:
    """Forget what was imported, and what was made of it here."""
    volumes = [ident for kind, ident in keys if kind is Kind.VOLUME]
    types = [ident for kind, ident in keys if kind is Kind.TYPE]
    table, made = _find_table('attachments'), _find_table('volumes')
    for some in _chunks(types):
        volumes += [row.id for row in work.execute(sa.select(made.c.id).where(made.c.volume_type_id.in_(some)))]
    made = _find_table('snapshots')
    taken = []
    for some in _chunks(sorted(set(volumes))):
        work.execute(sa.delete(table).where(table.c.volume_id.in_(some)))
        taken += [row.id for row in work.execute(sa.select(made.c.id).where(made.c.volume_id.in_(some)))]
    more = [(Kind.VOLUME, ident) for ident in volumes] + [(Kind.SNAPSHOT, ident) for ident in taken]
    _delete(work, {*keys, *more})


def finish(work: Work) -> None:
    """Forget that anything was imported: there is no way back any more."""
    work.execute(sa.delete(models.table_of(I)))


def _chunks(found: Iterable[Any]) -> Iterator[list[Any]]:
    rows = list(found)
    return (rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK))
