# SPDX-License-Identifier: Apache-2.0
"""Storage that is there already and may become a volume: what a backend shows of it, and the protocol."""

import dataclasses
import re
from typing import Protocol

from multiattach.drivers.errors import StorageError

SECTOR = 512
_OWN = re.compile(r'volume-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})')
# What the service itself makes besides volumes.
_PASSING = ('draft-', 'trash-', 'snapshot-', 'probe-')


@dataclasses.dataclass(frozen=True)
class Found:
    """Something in the storage.

    :param size: bytes.
    :param obstacle: why it cannot be managed now, a clause; empty if it can.
    """

    name: str
    size: int
    obstacle: str = ''


class Manageable(Protocol):
    """The part of a backend that takes storage over. All methods may raise ``StorageError``."""

    def list(self) -> list[Found]:
        """List what there is, volumes of this service among it."""

    def find(self, name: str) -> Found:
        """Look at one of them.

        :raises StorageError: there is none of that name in the backend's own place.
        """

    def take(self, volume_id: str, name: str) -> None:
        """Give something the name of a volume; if that has been done, nothing is.

        :raises StorageError: it is not there, in use, or the name is taken.
        """


def find_volume(name: str) -> str | None:
    """Return the UUID of the volume that storage of a name belongs to, by that name."""
    found = _OWN.fullmatch(name)
    return found[1] if found else None


def is_passing(name: str) -> bool:
    """Tell whether the service itself makes and removes things of such a name."""
    return name.startswith(_PASSING)


def check_size(size: int) -> str:
    """Say why nothing of a size can be a volume; empty if it can."""
    if not size:
        return 'it is empty'
    return f'its size is no multiple of {SECTOR} bytes' if size % SECTOR else ''


def check_obstacle(found: Found) -> None:
    """Refuse what cannot be managed now.

    :raises StorageError: the reason.
    """
    if found.obstacle:
        raise StorageError(f'{found.name} cannot be managed: {found.obstacle}.')


def missing(name: str, place: str) -> StorageError:
    return StorageError(f'There is no {name[:64]!r} in {place}, or it cannot be a volume.')
