# SPDX-License-Identifier: Apache-2.0
"""Volumes: create, read, update, delete (contract 4, 10.2)."""

import dataclasses
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from multiattach import failpoints
from multiattach.db import (
    attachments as db_attachments,
    clones as db_clones,
    database,
    default_types as db_defaults,
    messages,
    migrations as db_migrations,
    models,
    paging,
    transfers as db_transfers,
    transitions,
    types as db_types,
    volumes as db_volumes,
)
from multiattach.domain import bounds, errors, extra_specs, images as domain_images, states
from multiattach.domain.messages import NO_BACKEND
from multiattach.domain.migrations import UNDER_WAY
from multiattach.engine import clones, encryptions, images, manageable, migrations, placement, snapshots
from multiattach.engine.access import lock_volume
from multiattach.engine.context import RequestContext
from multiattach.engine.images import Images
from multiattach.engine.policy import Policy
from multiattach.engine.quotas import Quotas
from multiattach.engine.services import Services
from multiattach.engine.types import Types
from multiattach.rpc.clients import VolumeWorkers

MetadataCheck = Callable[[Mapping[str, str]], None]


@dataclasses.dataclass(frozen=True)
class VolumeWish:
    """What a user asks a volume to be.

    :param size: GiB; None only with a source, for its size.
    :param type_name: name or id of the type, None for the source's, or for the default.
    :param source_volid: UUID of the volume to copy.
    :param snapshot_id: UUID of the snapshot to copy.
    :param image_ref: id, URL or name of the image to fill it from; without any of these the volume is empty.
    :param takes_server_images: an image of a server that boots from a volume stands for its snapshot (3.46).
    """

    size: int | None
    type_name: str | None = None
    name: str | None = None
    description: str | None = None
    zone: str | None = None
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)
    source_volid: str | None = None
    snapshot_id: str | None = None
    image_ref: str | None = None
    takes_server_images: bool = False


class Volumes:
    """Use cases on volumes."""

    def __init__(
        self,
        db: database.Database,
        policy: Policy,
        types: Types,
        services: Services,
        quotas: Quotas,
        workers: VolumeWorkers,
        images: Images,
        default_zone: str | None = None,
    ) -> None:
        self._images = images
        self._default_zone = default_zone
        self._quotas = quotas
        self._db = db
        self._policy = policy
        self._types = types
        self._services = services
        self._workers = workers

    # -- reading -------------------------------------------------------------------------------

    @database.retry
    def show(self, ctx: RequestContext, volume_id: str, rule: str = 'volume:get') -> models.VolumeDetail:
        with self._db.rows() as connection:
            volume = db_volumes.get(connection, volume_id)
        self._policy.check_visible(ctx, volume, errors.VolumeNotFound(volume_id))
        self._policy.check(ctx, rule, volume.project_id)
        return volume

    @database.retry
    def list_page(
        self,
        ctx: RequestContext,
        filters: Sequence[sa.ColumnElement[bool]],
        page: paging.Page,
        *,
        all_projects: bool = False,
    ) -> list[models.VolumeDetail]:
        """List volumes of the caller's project, or for admins of all."""
        self._policy.check(ctx, 'volume:get_all')
        with self._db.reader() as session:
            return db_volumes.list_page(session, [*filters, *_scope(ctx, all_projects)], page)

    @database.retry
    def count(
        self, ctx: RequestContext, filters: Sequence[sa.ColumnElement[bool]], *, all_projects: bool = False
    ) -> tuple[int, int]:
        """Return the number of volumes and their GiB in all."""
        self._policy.check(ctx, 'volume:get_all')
        with self._db.reader() as session:
            return db_volumes.count(session, [*filters, *_scope(ctx, all_projects)])

    @database.retry
    def summarise_metadata(self, ctx: RequestContext, *, all_projects: bool = False) -> dict[str, list[str]]:
        """Return the distinct values of each key of metadata."""
        self._policy.check(ctx, 'volume:get_all')
        with self._db.reader() as session:
            return db_volumes.collect_metadata(session, _scope(ctx, all_projects))

    # -- creating ------------------------------------------------------------------------------

    def create(self, ctx: RequestContext, wish: VolumeWish) -> models.VolumeDetail:
        """Record a volume and ask a backend for its storage.

        :returns: the volume in ``creating``. Without a place it turns to ``error`` at once, and
            a user message says why (requirement row 2).
        :raises InvalidVolume: the source's status does not allow it.
        :raises InvalidInput: size, zone or type do not go with the source.
        """
        if ctx.project is None:
            raise errors.InvalidInput('A volume needs a project: use a project-scoped token.')
        self._policy.check(ctx, 'volume:create', ctx.project)
        ident = str(uuid.uuid4())
        image, wish = self._find_image(ctx, wish)
        if wish.source_volid is not None or wish.snapshot_id is not None:
            volume, choice = self._insert_clone(ctx, ident, wish)
        else:
            volume, specs = self._insert(ctx, ident, wish, image)
            choice = placement.choose(
                placement.Requirements(volume.size, volume.availability_zone, specs, image is not None),
                self._services.list_backends(),
            )
            if choice.backend is not None:
                failpoints.reach('engine.volume_create.unplaced')
                volume = self._set_backend(volume.id, choice.backend, image)
        if choice.backend is None:
            self._fail_create(ctx, volume, choice.reason)
        else:
            failpoints.reach('engine.volume_create.written')
            order = self._workers.create_volume if wish.image_ref is None else self._workers.copy_image
            order(choice.backend.host, volume.id, ctx.request_id)
        return volume

    def _find_image(self, ctx: RequestContext, wish: VolumeWish) -> tuple[domain_images.Image | None, VolumeWish]:
        """Find the image that is asked for, or ask for the snapshot that it stands for."""
        if wish.image_ref is None:
            return None, wish
        self._policy.check(ctx, 'volume:create_from_image', ctx.project)
        image = self._images.find(ctx, wish.image_ref)
        snapshot_id = domain_images.find_boot_snapshot(image) if wish.takes_server_images else None
        if snapshot_id is not None:
            return None, dataclasses.replace(wish, image_ref=None, snapshot_id=snapshot_id)
        if wish.size is None:
            raise errors.InvalidInput("Invalid input received: 'size' must be given.")
        domain_images.check(image, wish.size)
        return image, wish

    @database.retry
    def _insert(
        self, ctx: RequestContext, ident: str, wish: VolumeWish, image: domain_images.Image | None
    ) -> tuple[models.VolumeDetail, dict[str, str | None]]:
        with self._db.writer() as session:
            asked = wish.type_name or (image.volume_type if image is not None else None)
            name = asked or db_defaults.find_type_id(session, ctx.project or '') or self._types.default_name
            found = self._lock_type(session, ctx, name)
            zone = self._find_zone(wish.zone, found.extra_specs)
            self._add(session, ctx, ident, wish, found, wish.size, availability_zone=zone)
            return db_volumes.get(session, ident), found.extra_specs

    def _find_zone(self, asked: str | None, specs: Mapping[str, str | None]) -> str | None:
        """Find the zone that a volume is to be in, None for any; zones of its type go before the default."""
        allowed = extra_specs.list_zones(specs)
        if not allowed:
            return asked or self._default_zone
        if asked is not None and asked not in allowed:
            raise errors.InvalidInput(
                f"Availability zone '{asked}' is invalid: volumes of this type may be in {', '.join(allowed)} only."
            )
        return asked

    @database.retry
    def _insert_clone(
        self, ctx: RequestContext, ident: str, wish: VolumeWish
    ) -> tuple[models.VolumeDetail, placement.Choice]:
        backends = self._services.list_backends()
        wanted = clones.CloneWish(wish.source_volid, wish.snapshot_id, wish.size, wish.zone)
        with self._db.writer() as session:
            source = clones.lock_source(session, self._policy, ctx, wanted)
            volume = source.volume
            found = self._lock_type(session, ctx, wish.type_name or volume.volume_type_id)
            size = source.size if wish.size is None else wish.size
            choice = clones.choose(source, size, found.id, found.extra_specs, backends)
            backend = choice.backend
            # With its backend at once: who deletes the source sees that it is to be copied.
            self._add(
                session,
                ctx,
                ident,
                wish,
                found,
                size,
                availability_zone=volume.availability_zone,
                bootable=volume.bootable,
                host=backend.host if backend else None,
                service_uuid=backend.service_uuid if backend else None,
                **source.origin,
            )
            if volume.bootable:
                db_clones.copy_image_metadata(session, volume.id, ident)
            return db_volumes.get(session, ident), choice

    def _lock_type(self, session: Session, ctx: RequestContext, name: str) -> models.VolumeType:
        """Lock a type: its extra specs stay as they are until the volume holds them."""
        found = db_types.find(session, name, lock=True)
        if not ctx.is_admin and not db_types.is_accessible(session, found, ctx.project):
            raise errors.VolumeTypeNotFound(name)
        return found

    def _add(
        self,
        session: Session,
        ctx: RequestContext,
        ident: str,
        wish: VolumeWish,
        found: models.VolumeType,
        size: int | None,
        **columns: Any,
    ) -> None:
        if size is None:
            raise errors.InvalidInput("Invalid input received: 'size' must be given.")
        shared = extra_specs.is_multiattach(found.extra_specs)
        if shared:
            self._policy.check(ctx, 'volume:multiattach', ctx.project)
        encryptions.check_not_encrypted(session, found.id, multiattach=shared)
        self._quotas.check_growth(session, ctx.project or '', found.name, volumes=1, gigabytes=size, size=size)
        db_volumes.add(
            session,
            models.Volume(
                id=ident,
                project_id=ctx.project,
                user_id=ctx.user_id,
                display_name=wish.name,
                display_description=wish.description,
                size=size,
                volume_type_id=found.id,
                multiattach=shared,
                status=states.Volume.CREATING,
                request_id=ctx.request_id,
                **columns,
            ),
        )
        db_volumes.replace_metadata(session, ident, wish.metadata, keep_others=True)

    @database.retry
    def _set_backend(
        self, volume_id: str, backend: placement.Candidate, image: domain_images.Image | None
    ) -> models.VolumeDetail:
        """Write where a volume is to be; the reply to its creation names the zone already."""
        with self._db.writer() as session:
            if image is not None:
                images.begin_download(session, volume_id, image, backend)
                return db_volumes.get(session, volume_id)
            db_volumes.update(
                session, volume_id, host=backend.host, availability_zone=backend.zone, service_uuid=backend.service_uuid
            )
            return db_volumes.get(session, volume_id)

    @database.retry
    def _fail_create(self, ctx: RequestContext, volume: models.VolumeDetail, reason: str) -> None:
        with self._db.writer() as session:
            transitions.move_volume(session, volume.id, 'create_failed')
            messages.add(
                session,
                volume.project_id,
                volume.id,
                NO_BACKEND,
                f'schedule allocate volume: {reason}',
                request_id=ctx.request_id,
            )

    # -- changing ------------------------------------------------------------------------------

    @database.retry
    def update(
        self,
        ctx: RequestContext,
        volume_id: str,
        changes: Mapping[str, str | None],
        metadata: Mapping[str, str] | None = None,
    ) -> models.VolumeDetail:
        """Change name or description, and replace metadata if it is given."""
        with self._db.writer() as session:
            volume = lock_volume(session, self._policy, ctx, volume_id, 'volume:update')
            db_migrations.describe(session, volume, **changes)
            if metadata is not None:
                db_volumes.replace_metadata(session, volume_id, metadata, keep_others=False)
            return db_volumes.get(session, volume_id)

    def delete(self, ctx: RequestContext, volume_id: str, *, force: bool = False, cascade: bool = False) -> None:
        """Record that a volume is to go and ask its backend to delete it.

        :param force: accept any status; attachments still refuse (contract 11.4 number 22).
        :param cascade: its snapshots are to go with it; else they refuse, too.
        :raises InvalidVolume: its status, or an attachment, does not allow it.
        """
        host, tell = self._begin_delete(ctx, volume_id, force, cascade)
        if host is not None:
            failpoints.reach('engine.volume_delete.written')
            tell(host, volume_id, ctx.request_id)

    @database.retry
    def _begin_delete(
        self, ctx: RequestContext, volume_id: str, force: bool, cascade: bool
    ) -> tuple[str | None, Callable[[str, str, str | None], None]]:
        rule = 'volume:force_delete' if force else 'volume:delete'
        with self._db.writer() as session:
            volume = lock_volume(session, self._policy, ctx, volume_id, rule)
            # Storage that was, or is being, taken over may be somebody's.
            if volume.status == states.Volume.ERROR_MANAGING or (force and volume.status == states.Volume.MANAGING):
                return manageable.begin_unmanage(session, volume), self._workers.unmanage_volume
            mine, others = db_attachments.count_places(session, volume_id, None)
            if mine + others:
                raise errors.InvalidVolume('Invalid volume: it has attachments; detach it from its servers first.')
            clones.check_not_copied(session, volume)
            if cascade:
                snapshots.begin_cascade(session, ctx, volume, force=force)
            else:
                snapshots.check_none(session, volume)
            if force:
                migrations.cancel(session, volume, 'an administrator deleted the volume')
            elif volume.migration_status in UNDER_WAY:
                raise errors.InvalidVolume('Invalid volume: it is being migrated; try again when that has ended.')
            db_attachments.remove_placeless(session, volume_id)
            event = 'force_delete' if force else 'delete'
            if volume.status == states.Volume.AWAITING_TRANSFER:
                db_transfers.end(session, volume_id)
            try:
                transitions.move_volume(session, volume_id, event)
            except errors.InvalidTransition as exc:
                raise errors.InvalidVolume(
                    f'Invalid volume: status must be available or error or error_extending, but it is {volume.status}.'
                ) from exc
            if volume.host is None:  # no backend ever made anything of it
                transitions.move_volume(session, volume_id, 'deleted')
            return volume.host, self._workers.delete_volume

    # -- metadata ------------------------------------------------------------------------------

    @database.retry
    def set_metadata(
        self,
        ctx: RequestContext,
        volume_id: str,
        items: Mapping[str, str],
        *,
        keep_others: bool,
        is_update: bool = False,
        check: MetadataCheck | None = None,
    ) -> dict[str, str]:
        """Set user metadata; return all of it.

        :param is_update: policy is asked for an update, not for a creation.
        :param check: looks at the metadata before the change and may raise, or None.
        :raises InvalidInput: there would be too many keys.
        """
        verb = 'update' if is_update else 'create'
        with self._db.writer() as session:
            lock_volume(session, self._policy, ctx, volume_id, f'volume:{verb}_volume_metadata')
            if check is not None:
                check(db_volumes.get(session, volume_id).metadata)
            db_volumes.replace_metadata(session, volume_id, items, keep_others=keep_others)
            written = db_volumes.get(session, volume_id).metadata
            bounds.check_items(written, 'keys of metadata')
            return written

    @database.retry
    def delete_metadata(self, ctx: RequestContext, volume_id: str, key: str) -> None:
        with self._db.writer() as session:
            lock_volume(session, self._policy, ctx, volume_id, 'volume:delete_volume_metadata')
            if not db_volumes.delete_metadata(session, volume_id, key):
                raise errors.NotFound(f'Volume {volume_id} has no metadata with key {key}.')


def _scope(ctx: RequestContext, all_projects: bool) -> list[Any]:
    return [] if all_projects and ctx.is_admin else [models.Volume.project_id == ctx.project]
