# SPDX-License-Identifier: Apache-2.0
"""Backends that changed their name, or are gone for good: what becomes of their volumes' rows.

Nothing here talks to a worker, a target or a storage: the old worker must be down, and what it left is said.
"""

import dataclasses
import difflib
import re

from sqlalchemy.orm import Session

from multiattach.db import (
    attachments as db_attachments,
    backends as db_backends,
    database,
    migrations as db_migrations,
    models,
    services as db_services,
    snapshots as db_snapshots,
    transfers as db_transfers,
    transitions,
    volumes as db_volumes,
)
from multiattach.domain import errors, pools, states
from multiattach.domain.services import VOLUME_BINARY, is_up
from multiattach.engine import clones, migrations

_NAME = re.compile(r'[^\s@#]+@([^\s@#]+)(?:#([^\s@#]+))?')
_MAX_NAME = 255
# Rows that one transaction moves: others wait for their locks that long only.
BATCH = 500
A, V = states.Attachment, states.Volume


@dataclasses.dataclass
class Moved:
    """What a backend's new name was written to; *history* are volumes that were deleted, *services* the old workers."""

    volumes: int = 0
    history: int = 0
    attachments: int = 0
    services: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Left:
    """An attachment that was removed without asking its target or its host.

    :param host: host that may be logged in, or None.
    :param initiator: name that its target may still admit, or None.
    """

    id: str
    state: str
    server: str | None
    host: str | None
    initiator: str | None


@dataclasses.dataclass(frozen=True)
class Removed:
    """:param name_id: after which its storage and its target are named."""

    volume_id: str
    name_id: str
    backend: str
    size: int
    status: str
    attachments: list[Left]


class Backends:
    """The use cases of ``multiattach-manage volume``."""

    def __init__(self, db: database.Database, down_time: float, actor: transitions.Actor) -> None:
        self._db = db
        self._down_time = down_time
        self._actor = actor

    # -- another name --------------------------------------------------------------------------

    def rename(self, old: str, new: str, *, force: bool = False, dry_run: bool = False) -> Moved:
        """Write another backend into the volumes of one; what was moved stays so if it is interrupted.

        :param new: ``host@backend`` that is to look after them.
        :param force: also if no worker of the new backend reports.
        :raises InvalidInput: a name is none, or both are one.
        :raises NotFound: nothing is recorded of the old one, or no worker ever reported as the new one.
        :raises Conflict: a worker of the old one reports, or none of the new one.
        """
        old, new = parse_backend(old), parse_backend(new)
        if old == new:
            raise errors.InvalidInput(f'{old} is both names: there is nothing to move.')
        service_uuid = self._check(old, new, force=force)
        if dry_run:
            return self._count(old)
        moved, marker = Moved(), ''
        while True:
            some = self._move_some(old, new, service_uuid, marker)
            if some is None:
                break
            marker, volumes, history, attachments = some
            moved.volumes += volumes
            moved.history += history
            moved.attachments += attachments
        moved.services = self._forget(old, new)
        return moved

    @database.retry
    def _check(self, old: str, new: str, *, force: bool) -> str | None:
        with self._db.reader() as session:
            self._check_down(session, old, 'Its volumes are its own: stop it first, and for good.')
            names = db_backends.list_names(session, VOLUME_BINARY)
            if not db_backends.is_known(session, old) and not self._list(session, old):
                raise errors.NotFound(
                    f'Nothing is recorded of the backend {old}: moved already, or misspelt. {_tell_near(old, names)}'
                )
            workers = self._list(session, new)
            if not workers and not force:
                raise errors.NotFound(
                    f'No worker ever reported as the backend {new}: start it first, or say '
                    f'--force if it is to come. {_tell_near(new, names)}'
                )
            if not force and not any(map(self._is_up, workers)):
                raise errors.Conflict(
                    f'The worker of the backend {new} does not report: start it first, so '
                    'that somebody looks after the volumes, or say --force.'
                )
            return workers[0].id if workers else None

    @database.retry
    def _count(self, old: str) -> Moved:
        with self._db.reader() as session:
            return Moved(*db_backends.count(session, old), [row.host for row in self._list(session, old)])

    @database.retry
    def _move_some(self, old: str, new: str, service_uuid: str | None, marker: str) -> tuple[str, int, int, int] | None:
        with self._db.writer() as session:
            self._check_down(session, old, 'It was started meanwhile: what is moved stays moved.')
            return db_backends.move(session, old, new, service_uuid, marker, BATCH)

    @database.retry
    def _forget(self, old: str, new: str) -> list[str]:
        """Delete the rows of the old workers, which nothing names any more."""
        with self._db.writer() as session:
            db_migrations.rename(session, old, new)
            gone = [row.host for row in self._list(session, old) if not self._is_up(row)]
            for host in gone:
                db_services.remove(session, VOLUME_BINARY, host)
            return gone

    # -- without a backend ---------------------------------------------------------------------

    @database.retry
    def remove_volume(self, volume_id: str, *, force: bool = False, dry_run: bool = False) -> Removed:
        """Remove the rows of a volume whose backend is gone for good, as a delete does.

        :param force: its attachments, too.
        :raises InvalidVolume: it has no backend, or it is being copied.
        :raises Conflict: a worker of its backend reports, or it has attachments.
        """
        with self._db.writer() as session:
            volume = db_volumes.lock(session, volume_id)
            if volume.host is None:
                raise errors.InvalidVolume(
                    'The volume never got a backend: "openstack volume delete" needs none for it.'
                )
            self._check_down(
                session,
                volume.host,
                'It can delete the volume, and its storage with it: "openstack volume delete", --force for any status.',
            )
            clones.check_not_copied(session, volume)
            rows = [
                row for row in db_attachments.list_of_volume(session, volume_id) if row.state not in states.PLACELESS
            ]
            if rows and not force:
                raise errors.Conflict(
                    f'The volume has {len(rows)} attachment{"" if len(rows) == 1 else "s"}. See that their '
                    'servers do not use it any more, and say --force: it removes them without asking their '
                    'target and their hosts.'
                )
            found = Removed(
                volume_id,
                volume.name_id or volume_id,
                volume.host,
                volume.size,
                volume.status,
                [
                    Left(row.id, row.state, row.instance_uuid, row.agent_host or row.attached_host, row.initiator)
                    for row in rows
                ],
            )
            if not dry_run:
                self._remove(session, volume, rows)
            return found

    def _remove(self, session: Session, volume: models.Volume, rows: list[models.Attachment]) -> None:
        for row in rows:
            transitions.move_attachment(
                session, row.id, 'abandon', self._actor, error=f'The backend {volume.host} is gone for good.'
            )
        db_attachments.remove_placeless(session, volume.id)
        db_snapshots.forget(session, volume.id)
        db_transfers.end(session, volume.id)
        migrations.cancel(session, volume, 'its backend is gone for good')
        if volume.status != V.DELETING:  # somebody asked for it already
            transitions.move_volume(session, volume.id, 'force_delete')
        transitions.move_volume(session, volume.id, 'deleted')

    # -- workers -------------------------------------------------------------------------------

    def _list(self, session: Session, backend: str) -> list[models.Service]:
        return db_services.list_of_backend(session, VOLUME_BINARY, backend)

    def _is_up(self, row: models.Service) -> bool:
        return is_up(row.heartbeat_at, models.now(), self._down_time)

    def _check_down(self, session: Session, backend: str, advice: str) -> None:
        alive = [row.host for row in self._list(session, backend) if self._is_up(row)]
        if alive:
            raise errors.Conflict(f'The worker {alive[0]} of the backend {backend} reports: it is alive. {advice}')


def parse_backend(name: str) -> str:
    """Read the name of a backend as people write it: ``host@backend``, perhaps with ``#pool``, which is left out.

    :raises InvalidInput: it is none.
    """
    match = _NAME.fullmatch(name) if len(name) <= _MAX_NAME else None
    if match is None:
        raise errors.InvalidInput(
            f'{name[:64]!r} is no name of a backend: HOST@BACKEND, as "multiattach-manage service list" shows it.'
        )
    if match[2] not in (None, match[1]):
        raise errors.InvalidInput(
            f'{name!r} has no such pool: a backend is one pool of the same name, '
            f'{pools.name_pool(pools.strip_pool(name))}.'
        )
    return pools.strip_pool(name)


def _tell_near(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, 3, 0.5) or known[:3]
    return f'Recorded {"is" if len(near) == 1 else "are"}: {", ".join(near)}.' if near else 'No backend is.'
