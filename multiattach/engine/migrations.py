# SPDX-License-Identifier: Apache-2.0
"""Volumes that nobody uses go to another backend: at an admin's word, or for a type that their own does not have."""

import uuid
from collections.abc import Iterable, Mapping

from sqlalchemy.orm import Session

from multiattach import failpoints
from multiattach.db import (
    attachments as db_attachments,
    database,
    migrations as db_migrations,
    models,
    transitions,
    types as db_types,
)
from multiattach.domain import errors, extra_specs, migrations, states
from multiattach.engine import clones, placement, snapshots
from multiattach.engine.access import lock_volume
from multiattach.engine.context import RequestContext
from multiattach.engine.manageable import Place, find_backend
from multiattach.engine.policy import Policy
from multiattach.engine.services import Services
from multiattach.rpc.clients import VolumeWorkers

_RULE = 'volume_extension:volume_admin_actions:migrate_volume'
CANCELLED = 'an administrator reset the status of the volume'


class VolumeMigrations:
    def __init__(self, db: database.Database, policy: Policy, services: Services, workers: VolumeWorkers) -> None:
        self._db = db
        self._policy = policy
        self._services = services
        self._workers = workers

    def migrate(self, ctx: RequestContext, volume_id: str, place: Place, *, locked: bool) -> None:
        """Have a volume moved to another backend (os-migrate_volume).

        :param locked: nobody uses it meanwhile; else whoever does breaks the migration off.
        :raises InvalidVolume: its status, or something of it, does not allow it.
        :raises InvalidInput: the backend is none, or cannot have it.
        """
        ident = str(uuid.uuid4())
        host = self._begin(ctx, volume_id, ident, place, locked)
        failpoints.reach('engine.volume_migrate.written')
        self._workers.migrate_volume(host, ident, ctx.request_id)

    @database.retry
    def _begin(self, ctx: RequestContext, volume_id: str, ident: str, place: Place, locked: bool) -> str:
        backends = self._services.list_backends()
        with self._db.writer() as session:
            volume = lock_volume(session, self._policy, ctx, volume_id, _RULE)
            destination = find_backend(place, backends)
            check_unused(session, volume)
            if destination.host == volume.host:
                raise errors.InvalidVolume('Invalid volume: destination host must be different than the current one.')
            specs = db_types.get(session, volume.volume_type_id).extra_specs
            choice = choose(volume, placement.Requirements(volume.size, None, specs), [destination])
            if choice.backend is None:
                raise errors.InvalidInput(f'Invalid input received: {destination.host} cannot have it. {choice.reason}')
            begin(session, ctx, volume, ident, destination, 'migrate' if locked else None)
            return destination.host


def check_unused(session: Session, volume: models.Volume) -> None:
    """See that a locked volume can be moved.

    :raises InvalidVolume: it cannot.
    """
    if volume.status != states.Volume.AVAILABLE:
        raise errors.InvalidVolume(
            f'Invalid volume: status must be available to migrate; it is {volume.status}. Detach it from its servers.'
        )
    if db_attachments.list_of_volume(session, volume.id):
        raise errors.InvalidVolume('Invalid volume: it has attachments (fenced, or failed); delete them first.')
    if volume.migration_status in migrations.UNDER_WAY:
        raise errors.InvalidVolume(f'Invalid volume: it is being migrated already ({volume.migration_status}).')
    clones.check_not_copied(session, volume)
    snapshots.check_none(session, volume)


def choose(
    volume: models.Volume, wish: placement.Requirements, backends: Iterable[placement.Candidate]
) -> placement.Choice:
    """Choose a backend that can have a volume, and can read it where it is; or tell why there is none."""
    others = [backend for backend in backends if backend.host != volume.host]
    readers = [backend for backend in others if volume.host in backend.reads]
    choice = placement.choose(wish, readers)
    if choice.backend is None and placement.choose(wish, others).backend is not None:
        return placement.Choice(
            None,
            f'No volume backend that could have it can read from {volume.host}: name both in enabled_backends of one '
            'multiattach-volume (of this release).',
        )
    return choice


def begin(
    session: Session,
    ctx: RequestContext,
    volume: models.Volume,
    ident: str,
    destination: placement.Candidate,
    event: str | None,
    new_type_id: str | None = None,
) -> None:
    """Write the intent to move a locked volume.

    :param event: moves the volume's status, None to leave it ``available``.
    :raises InvalidVolume: something of an earlier migration is left at the destination.
    """
    if db_migrations.is_left_at(session, volume.id, destination.host):
        raise errors.InvalidVolume(
            f'Invalid volume: what an earlier migration left on {destination.host} is not removed yet; try again later.'
        )
    if event is not None:
        transitions.move_volume(session, volume.id, event)
    db_migrations.begin(
        session,
        volume,
        models.Migration(
            id=ident,
            volume_id=volume.id,
            source=volume.host,
            destination=destination.host,
            zone=destination.zone,
            service_uuid=destination.service_uuid,
            new_type_id=new_type_id,
            request_id=ctx.request_id,
        ),
    )


def find_destination(
    volume: models.Volume, specs: Mapping[str, str | None], backends: Iterable[placement.Candidate]
) -> placement.Choice:
    """Choose a backend for a volume of another type: in its zone, or in one that the type allows."""
    zone = None if extra_specs.list_zones(specs) else volume.availability_zone
    return choose(volume, placement.Requirements(volume.size, zone, specs), backends)


def cancel(session: Session, volume: models.Volume, reason: str = CANCELLED) -> None:
    """Break off the migration of a locked volume, if one is under way."""
    if volume.migration_status in migrations.UNDER_WAY:
        found = db_migrations.find_under_way(session, volume.id)
        if found is not None:
            db_migrations.break_off(session, found, volume, reason)
