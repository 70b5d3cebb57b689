# SPDX-License-Identifier: Apache-2.0
"""Actions that copy between volumes and images (contract 6): upload and reimage."""

import dataclasses
import uuid
from typing import Any

from multiattach import failpoints
from multiattach.db import (
    attachments as db_attachments,
    database,
    image_copies,
    models,
    snapshots as db_snapshots,
    transitions,
    volumes as db_volumes,
)
from multiattach.domain import errors, images, states
from multiattach.domain.images import ImageCopy, Purpose
from multiattach.engine import clones
from multiattach.engine.access import lock_volume, show_sharers
from multiattach.engine.context import RequestContext
from multiattach.engine.images import CallerImages, Images
from multiattach.engine.policy import Policy
from multiattach.rpc.clients import VolumeWorkers

_PREFIX = 'volume_extension:volume_actions:'
_PUBLIC = 'public'


@dataclasses.dataclass(frozen=True)
class UploadWish:
    """The image that a user wants of a volume.

    :param force: also of a volume in use, if the operator allows that.
    :param visibility: None to leave it to the Image service.
    """

    name: str
    disk_format: str = images.RAW
    container_format: str = 'bare'
    force: bool = False
    visibility: str | None = None
    protected: bool | None = None


class ImageActions:
    """Use cases of both.

    :param force_enabled: whether the operator allows to copy volumes that are in use.
    """

    def __init__(
        self, db: database.Database, policy: Policy, workers: VolumeWorkers, found: Images, *, force_enabled: bool
    ) -> None:
        self._db = db
        self._policy = policy
        self._workers = workers
        self._images = found
        self._force_enabled = force_enabled

    # -- to an image ---------------------------------------------------------------------------

    def upload(self, ctx: RequestContext, volume_id: str, wish: UploadWish) -> tuple[models.VolumeDetail, images.Image]:
        """Have an image made of a volume (os-volume_upload_image).

        :returns: the volume, and the image, which has no data yet.
        :raises InvalidVolume: its status does not allow it.
        :raises InvalidInput: the Image service refuses; or the format is not made here.
        """
        image_id = str(uuid.uuid4())
        volume, api = self._begin_upload(ctx, volume_id, wish, image_id)
        failpoints.reach('engine.upload.written')
        made = self._make_image(ctx, api, volume, wish, image_id)
        failpoints.reach('engine.upload.made')
        self._workers.copy_image(str(volume.host), volume_id, ctx.request_id)
        return volume, made

    @database.retry
    def _begin_upload(
        self, ctx: RequestContext, volume_id: str, wish: UploadWish, image_id: str
    ) -> tuple[models.VolumeDetail, CallerImages]:
        """Write the intent, with the id that the image is to have: whoever takes it up finds it, or none."""
        with self._db.writer() as session:
            volume = lock_volume(session, self._policy, ctx, volume_id, _PREFIX + 'upload_image')
            if wish.visibility == _PUBLIC:
                self._policy.check(ctx, _PREFIX + 'upload_public', volume.project_id)
            _check_format(wish)
            api = self._images.connect(ctx)
            allowed = states.SETTLED if wish.force and self._force_enabled else (states.Volume.AVAILABLE,)
            if show_sharers(session, volume) not in allowed or volume.host is None:
                raise errors.InvalidVolume(
                    f'Invalid volume: Volume {volume_id} status must be {" or ".join(allowed)}, but current status is '
                    f'{volume.status}.'
                )
            clones.check_not_copied(session, volume)
            transitions.move_volume(session, volume_id, 'upload', request_id=ctx.request_id)
            image_copies.put(session, volume_id, ImageCopy(image_id, Purpose.UPLOAD, wish.disk_format))
            return db_volumes.get(session, volume_id), api

    def _make_image(
        self, ctx: RequestContext, api: CallerImages, volume: models.VolumeDetail, wish: UploadWish, image_id: str
    ) -> images.Image:
        try:
            made = api.create(_describe(volume, wish, image_id))
        except errors.MultiattachError:
            self._take_back(volume.id, image_id)
            raise
        if not self._is_wanted(volume.id, image_id):  # the worker did not find it in time, or an admin reset the status
            api.delete(image_id)
            raise errors.Conflict('The upload was given up meanwhile; try again.')
        return made

    @database.retry
    def _take_back(self, volume_id: str, image_id: str) -> None:
        with self._db.writer() as session:
            db_volumes.lock(session, volume_id)
            copy = image_copies.find(session, volume_id)
            if copy is not None and copy.image_id == image_id:
                image_copies.remove(session, volume_id)
                transitions.move_volume(session, volume_id, 'upload_failed')

    @database.retry
    def _is_wanted(self, volume_id: str, image_id: str) -> bool:
        with self._db.reader() as session:
            copy = image_copies.find(session, volume_id)
        return copy is not None and copy.image_id == image_id

    # -- from an image -------------------------------------------------------------------------

    def reimage(self, ctx: RequestContext, volume_id: str, image_id: str, *, reserved_allowed: bool) -> None:
        """Have a volume's contents replaced by an image's (os-reimage).

        :param reserved_allowed: also while a server is about to have it, as Nova does that rebuilds one.
        :raises Conflict: several servers have it.
        :raises NotFound: there is no such image that the caller may see.
        :raises InvalidVolume: its status does not allow it.
        """
        self._check_reimage(ctx, volume_id)
        image = self._images.connect(ctx).show(image_id)
        host = self._begin_reimage(ctx, volume_id, image, reserved_allowed)
        failpoints.reach('engine.reimage.written')
        self._workers.copy_image(host, volume_id, ctx.request_id)

    @database.retry
    def _check_reimage(self, ctx: RequestContext, volume_id: str) -> None:
        with self._db.reader() as session:
            self._judge_reimage(ctx, db_volumes.load(session, volume_id))

    def _judge_reimage(self, ctx: RequestContext, volume: models.Volume) -> None:
        self._policy.check_visible(ctx, volume, errors.VolumeNotFound(volume.id))
        rule = 'volume:reimage_reserved' if volume.status == states.Volume.RESERVED else 'volume:reimage'
        self._policy.check(ctx, rule, volume.project_id)

    @database.retry
    def _begin_reimage(self, ctx: RequestContext, volume_id: str, image: images.Image, reserved_allowed: bool) -> str:
        with self._db.writer() as session:
            volume = db_volumes.lock(session, volume_id)
            self._judge_reimage(ctx, volume)
            if sum(db_attachments.count_places(session, volume_id, None)) > 1:
                raise errors.Conflict('Cannot re-image a volume which is attached to more than one server.')
            allowed = states.REIMAGEABLE_RESERVED if reserved_allowed else states.REIMAGEABLE
            if volume.status not in allowed or volume.host is None:
                raise errors.InvalidVolume(
                    f'Invalid volume: Volume {volume_id} status must be {" or ".join(allowed)}, but current status is '
                    f'{volume.status}.'
                )
            clones.check_not_copied(session, volume)
            if db_snapshots.has_any(session, volume_id):
                raise errors.InvalidVolume('Invalid volume: it has snapshots, which share its storage; delete them.')
            images.check(image, volume.size)
            transitions.move_volume(session, volume_id, 'reimage', request_id=ctx.request_id)
            image_copies.put(session, volume_id, ImageCopy(image.id, Purpose.REIMAGE))
            return str(volume.host)


def _check_format(wish: UploadWish) -> None:
    if wish.disk_format not in images.MADE or wish.container_format in images.PACKED:
        raise errors.InvalidInput(
            f'Invalid input received: images are made in {", ".join(images.MADE)}, not in {wish.disk_format} in '
            f'container {wish.container_format}.'
        )


def _describe(volume: models.VolumeDetail, wish: UploadWish, image_id: str) -> dict[str, Any]:
    asked = {
        'id': image_id,
        'name': wish.name,
        'disk_format': wish.disk_format,
        'container_format': wish.container_format,
    }
    asked |= {} if wish.visibility is None else {'visibility': wish.visibility}
    flags = {} if wish.protected is None else {'protected': wish.protected}
    return {**images.choose_properties(volume.image_metadata), **asked, **flags}
