# SPDX-License-Identifier: Apache-2.0
"""Actions on volumes (contract 5 and 6)."""

import uuid
from collections.abc import Callable

from sqlalchemy.orm import Session

from multiattach import failpoints
from multiattach.db import (
    attachments as db_attachments,
    database,
    messages,
    models,
    qos_specs,
    snapshots as db_snapshots,
    transitions,
    types as db_types,
    volumes as db_volumes,
)
from multiattach.domain import errors, extra_specs, sharing, states
from multiattach.domain.messages import NO_RETYPE
from multiattach.engine import clones, encryptions, migrations, placement, snapshots
from multiattach.engine.access import lock_volume, show_sharers
from multiattach.engine.context import RequestContext
from multiattach.engine.policy import Policy
from multiattach.engine.quotas import Quotas
from multiattach.engine.services import Services
from multiattach.rpc.clients import VolumeWorkers

_PREFIX = 'volume_extension:volume_actions:'


class VolumeActions:
    def __init__(
        self, db: database.Database, policy: Policy, services: Services, quotas: Quotas, workers: VolumeWorkers
    ) -> None:
        self._quotas = quotas
        self._db = db
        self._policy = policy
        self._services = services
        self._workers = workers

    @database.retry
    def reserve(self, ctx: RequestContext, volume_id: str) -> None:
        """Mark a volume as being attached, without an attachment (os-reserve).

        :raises InvalidVolume: not available, nor in use and multiattach.
        """
        with self._db.writer() as session:
            volume = lock_volume(session, self._policy, ctx, volume_id, _PREFIX + 'reserve')
            mine, others = db_attachments.count_places(session, volume_id, None)
            marks = states.MARKS.get(volume.claim, states.Marks())
            claimed = 1 if marks.attaching else 0
            sharing.check_reserve(sharing.VolumeFacts(volume.status, volume.multiattach), mine, others + claimed)
            transitions.derive_volume(session, volume_id, claim=marks._replace(attaching=True).claim)

    @database.retry
    def unreserve(self, ctx: RequestContext, volume_id: str) -> None:
        """Take that mark back (os-unreserve); without a mark nothing changes."""
        self._drop_mark(ctx, volume_id, 'unreserve', lambda marks: marks._replace(attaching=False))

    @database.retry
    def begin_detaching(self, ctx: RequestContext, volume_id: str) -> None:
        """Mark a volume as being detached (os-begin_detaching).

        The status is ``detaching`` until that detach has ended, also while other servers have the volume:
        a client that waits for the end must not go on before. Nobody is refused because of it.

        :raises InvalidVolume: no server has it, or all that have it are detaching already.
        """
        with self._db.writer() as session:
            volume = lock_volume(session, self._policy, ctx, volume_id, _PREFIX + 'begin_detaching')
            if show_sharers(session, volume) != states.Volume.IN_USE:
                raise errors.InvalidVolume(
                    f'Invalid volume: Unable to detach volume. Volume status must be in-use, it is {volume.status}.'
                )
            marks = states.MARKS.get(volume.claim, states.Marks())
            transitions.derive_volume(session, volume_id, claim=marks.add_detaching().claim)

    @database.retry
    def roll_detaching(self, ctx: RequestContext, volume_id: str) -> None:
        """Take that mark back (os-roll_detaching); without a mark nothing changes."""
        self._drop_mark(ctx, volume_id, 'roll_detaching', states.Marks.end_detaching)

    def _drop_mark(
        self, ctx: RequestContext, volume_id: str, rule: str, change: Callable[[states.Marks], states.Marks]
    ) -> None:
        with self._db.writer() as session:
            volume = lock_volume(session, self._policy, ctx, volume_id, _PREFIX + rule)
            claim = change(states.MARKS.get(volume.claim, states.Marks())).claim
            if claim != volume.claim:
                transitions.derive_volume(session, volume_id, claim=claim)

    def retype(self, ctx: RequestContext, volume_id: str, new_type: str, *, may_migrate: bool = False) -> None:
        """Change a volume's type; type and flag change in one transaction or not at all.

        :param may_migrate: if its backend does not have what the type asks for, another one gets the volume, and that
            the type.
        :raises InvalidVolume: the same type, or a status that does not allow it; a multiattach
            change needs ``available`` (contract 5).
        """
        ident = str(uuid.uuid4())
        destination = self._retype(ctx, volume_id, new_type, ident, may_migrate)
        if destination is not None:
            failpoints.reach('engine.volume_migrate.written')
            self._workers.migrate_volume(destination, ident, ctx.request_id)

    @database.retry
    def _retype(self, ctx: RequestContext, volume_id: str, new_type: str, ident: str, may_migrate: bool) -> str | None:
        """Change a type, or begin the migration that does; return the backend that is to be told of that."""
        backends = {backend.host: backend for backend in self._services.list_backends()}
        with self._db.writer() as session:
            volume = lock_volume(session, self._policy, ctx, volume_id, 'volume:retype')
            found = db_types.find(session, new_type, lock=True)
            if not ctx.is_admin and not db_types.is_accessible(session, found, ctx.project):
                raise errors.VolumeTypeNotFound(new_type)
            if found.id == volume.volume_type_id:
                raise errors.InvalidInput('Invalid input received: The new volume type is the same as the current one.')
            shared = extra_specs.is_multiattach(found.extra_specs)
            status = show_sharers(session, volume)
            if status not in states.SETTLED:
                raise errors.InvalidVolume(
                    f'Invalid volume: status must be available or in-use to retype; it is {volume.status}.'
                )
            clones.check_not_copied(session, volume)
            if status == states.Volume.IN_USE and (
                qos_specs.find_front_end(session, found.id) != qos_specs.find_front_end(session, volume.volume_type_id)
            ):
                raise errors.InvalidVolume(
                    'Invalid volume: front-end qos specs cannot change while the volume is in-use.'
                )
            before = db_types.get(session, volume.volume_type_id).extra_specs
            changes = ['multiattach property'] if shared != volume.multiattach else []
            changes += extra_specs.list_changes(before, found.extra_specs)
            if changes:
                self._check_change(session, volume, changes)
            if shared and not volume.multiattach:
                self._policy.check(ctx, 'volume:multiattach', volume.project_id)
            encryptions.check_not_encrypted(session, found.id, multiattach=shared)
            self._quotas.check_retype(session, volume, db_snapshots.list_of_volume(session, volume_id), found.name)
            reason = self._cannot_hold(backends.get(volume.host or ''), found)
            if reason and may_migrate:
                migrations.check_unused(session, volume)
                choice = migrations.find_destination(volume, found.extra_specs, backends.values())
                if choice.backend is not None:
                    migrations.begin(session, ctx, volume, ident, choice.backend, 'retype', found.id)
                    return choice.backend.host
                reason = choice.reason
            if reason:
                messages.add(
                    session,
                    volume.project_id,
                    volume.id,
                    NO_RETYPE,
                    f'retype volume: {reason}',
                    request_id=ctx.request_id,
                )
                return None
            db_volumes.update(session, volume_id, volume_type_id=found.id, multiattach=shared)
            return None

    def _check_change(self, session: Session, volume: models.Volume, changes: list[str]) -> None:
        mine, others = db_attachments.count_places(session, volume.id, None)
        if volume.status != states.Volume.AVAILABLE or mine + others:
            raise errors.InvalidVolume(
                f'Invalid volume: the {" and ".join(changes)} of a volume can change only while it '
                f'is available; it is {volume.status}.'
            )

    def _cannot_hold(self, backend: placement.Candidate | None, found: models.VolumeType) -> str:
        """Say why the volume's backend does not serve a type."""
        if backend is None:
            return 'the backend of the volume does not report.'
        if not backend.fits(found.extra_specs):
            return (
                'the backend of the volume does not have what the type asks for '
                f'({placement.describe(found.extra_specs)}).'
            )
        return ''

    def extend(self, ctx: RequestContext, volume_id: str, new_size: int, *, in_use_allowed: bool) -> None:
        """Grow a volume (os-extend).

        :param in_use_allowed: the microversion lets a volume in use grow (3.42).
        :raises InvalidVolume: its status does not allow it.
        :raises InvalidInput: not larger than now.
        """
        host = self._begin_extend(ctx, volume_id, new_size, in_use_allowed)
        failpoints.reach('engine.volume_extend.written')
        self._workers.extend_volume(host, volume_id, ctx.request_id)

    @database.retry
    def _begin_extend(self, ctx: RequestContext, volume_id: str, new_size: int, in_use_allowed: bool) -> str:
        with self._db.writer() as session:
            volume = lock_volume(session, self._policy, ctx, volume_id, 'volume:extend')
            allowed = states.SETTLED if in_use_allowed else (states.Volume.AVAILABLE,)
            status = show_sharers(session, volume)
            if status not in allowed or volume.host is None:
                raise errors.InvalidVolume(
                    f'Invalid volume: status must be {" or ".join(allowed)} to extend; it is {volume.status}.'
                )
            if status == states.Volume.IN_USE:
                self._policy.check(ctx, 'volume:extend_attached_volume', volume.project_id)
            if new_size <= volume.size:
                raise errors.InvalidInput(
                    f'Invalid input received: New size for extend must be greater than current '
                    f'size. (current: {volume.size}, extended: {new_size}).'
                )
            clones.check_not_copied(session, volume)
            snapshots.check_growth(session, volume, in_use=status == states.Volume.IN_USE)
            self._quotas.check_growth(
                session,
                volume.project_id,
                db_types.get(session, volume.volume_type_id).name,
                volumes=0,
                gigabytes=new_size - volume.size,
                size=new_size,
            )
            transitions.move_volume(session, volume_id, 'extend', new_size=new_size)
            return str(volume.host)
