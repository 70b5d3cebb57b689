# SPDX-License-Identifier: Apache-2.0
"""One lock per volume for what a target and a backend do, across threads and processes."""

import contextlib
import threading
import zlib
from collections.abc import Iterator

import tooz
from tooz import coordination

from multiattach.domain import errors

# Locks leave files (or keys) behind: a bounded number of names serves any number of volumes.
_NAMES = 1024
VOLUME, COPY = 'volume', 'copy'


class VolumeLocks:
    """Locks of a tooz coordinator.

    A copy takes as long as it takes: it has locks of its own, lest a volume that shares the number wait.

    :param coordinator: started coordinator.
    """

    def __init__(self, coordinator: coordination.CoordinationDriver) -> None:
        self._coordinator = coordinator
        # Threads of this process wait here: a backend's own lock may poll while it waits.
        self._local = {kind: [threading.Lock() for _ in range(_NAMES)] for kind in (VOLUME, COPY)}

    @contextlib.contextmanager
    def hold(self, volume_id: str) -> Iterator[None]:
        """Hold a volume's lock; never take a second one inside.

        :param volume_id: UUID.
        :raises OutcomeUnknown: the coordination backend does not answer; nothing was done.
        """
        with self._hold(volume_id, VOLUME, wait=True):
            yield

    def try_copy(self, volume_id: str) -> contextlib.AbstractContextManager[bool]:
        """Hold the lock of the copy that a volume is made by, or do not wait; that of the volume may follow.

        :param volume_id: UUID.
        :returns: context; it tells whether the lock is held.
        :raises OutcomeUnknown: as :meth:`hold`.
        """
        return self._hold(volume_id, COPY, wait=False)

    @contextlib.contextmanager
    def _hold(self, volume_id: str, kind: str, *, wait: bool) -> Iterator[bool]:
        number = zlib.crc32(volume_id.encode()) % _NAMES
        local = self._local[kind][number]
        if not local.acquire(blocking=wait):
            yield False
            return
        try:
            lock = self._coordinator.get_lock(f'multiattach-{kind}-{number:04d}'.encode())
            try:
                held = bool(lock.acquire(blocking=wait))
            except (tooz.ToozError, OSError) as exc:  # the latter from file://, if its disk is full
                why = getattr(exc, 'strerror', None) or type(exc).__name__
                raise errors.OutcomeUnknown(
                    f'The lock of volume {volume_id} cannot be taken ({why}): see '
                    'option backend_url in [coordination].') from exc
            try:
                yield held
            finally:
                if held:
                    # What was done is done; the lock runs out if it cannot be given back.
                    with contextlib.suppress(tooz.ToozError):
                        lock.release()
        finally:
            local.release()
