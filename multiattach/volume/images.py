# SPDX-License-Identifier: Apache-2.0
"""Copies between volumes and images: beside the other steps, because an image is as large as it is."""

import functools

from oslo_log import log

from multiattach import failpoints
from multiattach.domain import errors, states
from multiattach.domain.images import ImageCopy, Purpose
from multiattach.drivers.backends.base import Backend, Imports
from multiattach.drivers.errors import ClearAborted, CopyAborted, DriverRefused, DriverUnavailable, ImageUnavailable
from multiattach.drivers.nova.events import NovaEvents
from multiattach.steps.images import ImageCopies
from multiattach.steps.leases import VOLUME, StepLeases
from multiattach.volume import answers
from multiattach.volume.downloads import download
from multiattach.volume.locks import VolumeLocks
from multiattach.volume.slow_steps import SlowSteps
from multiattach.volume.uploads import abandon, upload
from multiattach.volume.workshop import Look, Workshop

LOG = log.getLogger(__name__)

_AT_A_TIME = 2  # more make each one slower, and what servers do
_STATUSES = {
    Purpose.CREATE: states.Volume.DOWNLOADING,
    Purpose.REIMAGE: states.Volume.DOWNLOADING,
    Purpose.UPLOAD: states.Volume.UPLOADING,
}


class ImageSteps:
    """The copies of images that a worker makes. One that broke off is made anew.

    :param workshop: None without an account at the Image service.
    """

    def __init__(
        self,
        copies: ImageCopies,
        backend: Backend,
        locks: VolumeLocks,
        leases: StepLeases,
        workshop: Workshop | None,
        nova: NovaEvents | None = None,
    ) -> None:
        self._copies = copies
        self._imports: Imports | None = getattr(backend, 'imports', None)
        self._backend = backend
        self._locks = locks
        self._leases = leases
        self._workshop = workshop
        self._nova = nova
        self._steps = SlowSteps(leases, 'image', _AT_A_TIME)

    @property
    def takes_images(self) -> bool:
        """Whether volumes here can be made of images."""
        return self._workshop is not None and self._imports is not None

    def start(self) -> None:
        """Copy (again)."""
        self._steps.start()

    def stop(self) -> None:
        """Break off the copies in work, and begin no more."""
        self._steps.stop()

    def begin(self, volume_id: str) -> None:
        """Have the copy of a volume made; one that is being made is left alone."""
        self._steps.begin(volume_id, functools.partial(self._run, volume_id))

    def give_up(self, volume_id: str, error: str) -> None:
        """End a copy that was tried often enough."""
        with self._locks.try_storage(volume_id) as held:
            _check(held)
            copy = self._copies.find(volume_id)
            if copy is not None and self._copies.load(volume_id, _STATUSES[copy.purpose]) is not None:
                self._fail(volume_id, copy, error)

    def forget(self, volume_id: str) -> None:
        """Leave nothing of a copy that nobody wants; the caller holds the lock of the storage."""
        copy = self._copies.find(volume_id)
        if copy is not None:
            self._abandon(copy)
            self._copies.forget(volume_id)

    def _run(self, volume_id: str) -> None:
        with (
            self._leases.attempt(VOLUME, volume_id, lambda error: self.give_up(volume_id, error)),
            self._locks.try_storage(volume_id) as held,
        ):
            _check(held)
            copy = self._copies.find(volume_id)
            if copy is None:
                return
            volume = self._copies.load(volume_id, _STATUSES[copy.purpose])
            if volume is None:
                return
            failpoints.reach('volume.image.planned')
            try:
                self._copy(volume_id, volume.size, copy)
            except (DriverRefused, errors.InvalidInput) as exc:
                LOG.error('Volume %s: %s of image %s failed: %s', volume_id, copy.purpose, copy.image_id, exc)
                self._fail(volume_id, copy, str(exc))
            except CopyAborted:
                LOG.info('Volume %s: %s of image %s is broken off', volume_id, copy.purpose, copy.image_id)
                if not self._steps.is_stopping and self._copies.load(volume_id, volume.status) is None:
                    self.forget(volume_id)
            except ClearAborted as exc:
                raise errors.OutcomeUnknown(str(exc)) from exc
            except ImageUnavailable:
                raise
            except DriverUnavailable as exc:
                raise answers.translate(exc, volume.status) from exc

    def _copy(self, volume_id: str, size_gb: int, copy: ImageCopy) -> None:
        if self._workshop is None or self._imports is None:
            raise errors.Unavailable('This worker has no account at the Image service: see [glance].')
        look = Look(self._copies, self._steps, volume_id, _STATUSES[copy.purpose])
        if copy.purpose == Purpose.UPLOAD:
            upload(self._workshop, self._backend, volume_id, size_gb, copy, look)
            self._copies.finish(volume_id, copy.purpose)
        else:
            image = download(self._workshop, self._backend, self._imports, volume_id, size_gb, copy, look)
            self._copies.finish(volume_id, copy.purpose, image.metadata)
        failpoints.reach('volume.image.finished')
        self._tell(volume_id, copy, failed=False)
        LOG.info('Volume %s: %s of image %s is done', volume_id, copy.purpose, copy.image_id)

    def _fail(self, volume_id: str, copy: ImageCopy, reason: str) -> None:
        self._abandon(copy)
        self._copies.fail(volume_id, copy.purpose, reason)
        self._tell(volume_id, copy, failed=True)

    def _abandon(self, copy: ImageCopy) -> None:
        if copy.purpose != Purpose.UPLOAD or self._workshop is None:
            return
        try:
            abandon(self._workshop, copy)
        except errors.MultiattachError as exc:
            LOG.warning('Image %s, which has no data, is left: %s', copy.image_id, exc)

    def _tell(self, volume_id: str, copy: ImageCopy, *, failed: bool) -> None:
        """Tell Nova, which waits for that while it rebuilds a server."""
        if copy.purpose == Purpose.REIMAGE and self._nova is not None:
            self._nova.tell_reimaged(volume_id, self._copies.list_nova_servers(volume_id), failed=failed)


def _check(held: bool) -> None:
    if not held:
        raise errors.OutcomeUnknown('Another worker is at the storage.')
