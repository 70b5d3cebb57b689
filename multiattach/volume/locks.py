# SPDX-License-Identifier: Apache-2.0
"""One lock per volume for what a target and a backend do, across threads and processes."""

import contextlib
import zlib
from collections.abc import Iterator

from tooz import coordination

# Locks leave files (or keys) behind: a bounded number of names serves any number of volumes.
_NAMES = 1024


class VolumeLocks:
    """Locks of a tooz coordinator.

    :param coordinator: started coordinator.
    """

    def __init__(self, coordinator: coordination.CoordinationDriver) -> None:
        self._coordinator = coordinator

    @contextlib.contextmanager
    def hold(self, volume_id: str) -> Iterator[None]:
        """Hold a volume's lock; never take a second one inside.

        :param volume_id: UUID.
        """
        name = f'multiattach-volume-{zlib.crc32(volume_id.encode()) % _NAMES:04d}'
        with self._coordinator.get_lock(name.encode()):
            yield
