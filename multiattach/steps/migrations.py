# SPDX-License-Identifier: Apache-2.0
"""The volume workers' side of migrations: what is due, and that it was done."""

import dataclasses
import datetime
import uuid
from typing import Any

from multiattach.db import (
    clones as db_clones,
    database,
    migrations as db_migrations,
    models,
    snapshots as db_snapshots,
    transitions,
    types as db_types,
    volumes as db_volumes,
)
from multiattach.domain import errors, extra_specs, migrations

S = migrations.State
CHANGED = 'the volume was used or changed meanwhile'


@dataclasses.dataclass(frozen=True)
class Plan:
    """A step of a migration.

    :param size: GiB.
    :param token: of this attempt at a copy.
    """

    id: str
    volume_id: str
    source: str
    state: str
    size: int
    token: str = ''


class MigrationRows:
    """:param backend: name of the backend, as its volumes carry it."""

    def __init__(self, db: database.Database, backend: str) -> None:
        self._db = db
        self._backend = backend

    @database.retry
    def list_open(self) -> list[tuple[str, str, str, datetime.datetime]]:
        with self._db.reader() as session:
            return db_migrations.list_open(session, self._backend)

    @database.retry
    def plan(self, migration_id: str) -> Plan | None:
        """Read a step; None if there is none for this backend (any more)."""
        with self._db.reader() as session:
            row = db_migrations.find(session, migration_id)
            if row is None or not self._is_mine(row):
                return None
            return Plan(row.id, row.volume_id, row.source, row.state, 0)

    def _is_mine(self, row: models.Migration) -> bool:
        info = migrations.STATES[migrations.State(row.state)]
        return (
            self._backend
            == {
                migrations.Side.SOURCE: row.source,
                migrations.Side.DESTINATION: row.destination,
                migrations.Side.NOBODY: None,
            }[info.side]
        )

    @database.retry
    def begin(self, migration_id: str) -> Plan | None:
        """Write that a copy is begun, or begun anew; None if it is not wanted any more, which is written, too."""
        with self._db.writer() as session:
            volume, row = self._lock(session, migration_id)
            if row is None or row.state not in migrations.EVENTS['begin'].sources:
                return None
            if volume is None or not db_migrations.is_untouched(volume, row):
                db_migrations.break_off(session, row, volume, CHANGED)
                return None
            token = str(uuid.uuid4())
            db_migrations.move(session, row, 'begin', volume=volume, progress=0, new_token=token)
            return Plan(row.id, volume.id, row.source, S.COPYING, volume.size, token)

    def _lock(self, session: Any, migration_id: str) -> tuple[models.Volume | None, models.Migration | None]:
        """Lock the volume of a migration, and read that as it is then."""
        row = db_migrations.find(session, migration_id)
        if row is None:
            return None, None
        try:
            volume = db_volumes.lock(session, row.volume_id)
        except errors.VolumeNotFound:
            volume = None
        return volume, db_migrations.find(session, migration_id)

    @database.retry
    def note_progress(self, plan: Plan, percent: int) -> bool:
        """Write how far a copy is; return whether it is still wanted."""
        with self._db.writer() as session:
            volume, row = self._lock(session, plan.id)
            if row is None or not db_migrations.note_progress(session, plan.id, plan.token, percent):
                return False
            return volume is not None and db_migrations.is_untouched(volume, row)

    @database.retry
    def finish_copy(self, plan: Plan, digest: str) -> None:
        """Write that a copy is proven.

        :raises InvalidTransition: it is not wanted any more, or another attempt was begun.
        """
        with self._db.writer() as session:
            volume, row = self._lock(session, plan.id)
            if volume is None or row is None or not db_migrations.is_untouched(volume, row):
                raise errors.InvalidTransition('migration', plan.id, 'copied')
            db_migrations.move(session, row, 'copied', volume=volume, token=plan.token, digest=digest, progress=100)

    @database.retry
    def switch(self, migration_id: str) -> str | None:
        """Make the destination the volume's backend, if nobody could write to the source meanwhile.

        :returns: the source, whose worker is to be told; None if it was broken off.
        :raises OutcomeUnknown: the source is being copied for a clone; it is tried again.
        """
        with self._db.writer() as session:
            volume, row = self._lock(session, migration_id)
            if row is None or row.state != S.COPIED:
                return None
            if volume is None or not db_migrations.is_untouched(volume, row):
                db_migrations.break_off(session, row, volume, CHANGED)
                return None
            if db_snapshots.has_any(session, volume.id):  # they are at the source
                db_migrations.break_off(session, row, volume, 'a snapshot of the volume was taken meanwhile')
                return None
            if db_clones.is_being_copied(session, volume.id):
                raise errors.OutcomeUnknown('A clone of the volume is being made.')
            values: dict[str, Any] = {
                'host': row.destination,
                'availability_zone': row.zone,
                'service_uuid': row.service_uuid,
            }
            if row.new_type_id is not None:
                try:
                    kind = db_types.get(session, row.new_type_id)
                except errors.VolumeTypeNotFound:
                    db_migrations.break_off(session, row, volume, 'its new type was deleted meanwhile')
                    return None
                values |= {'volume_type_id': kind.id, 'multiattach': extra_specs.is_multiattach(kind.extra_specs)}
            transitions.move_volume(session, volume.id, 'migrated', **values)
            db_migrations.move(session, row, 'switched', volume=volume)
            return row.source

    @database.retry
    def may_remove(self, plan: Plan) -> bool:
        """Tell whether the volume is not on this backend: what it has there of the volume is to go."""
        with self._db.reader() as session:
            try:
                return db_volumes.load(session, plan.volume_id).host != self._backend
            except errors.VolumeNotFound:
                return True

    @database.retry
    def end(self, migration_id: str, event: str) -> None:
        with self._db.writer() as session:
            row = db_migrations.find(session, migration_id)
            if row is not None:
                db_migrations.move(session, row, event)

    @database.retry
    def fail(self, migration_id: str, error: str, *, is_draft: bool = False) -> None:
        """Write that a migration failed before it left its source; of another one nothing is written."""
        with self._db.writer() as session:
            volume, row = self._lock(session, migration_id)
            if row is not None and row.state in migrations.BEFORE:
                db_migrations.break_off(session, row, volume, error, is_draft=is_draft)
