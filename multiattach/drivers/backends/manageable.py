# SPDX-License-Identifier: Apache-2.0
"""Storage that is there already and may become a volume or a snapshot: what a backend shows, and the protocols."""

import dataclasses
import re
from typing import Protocol

from multiattach.drivers.backends.base import GIB
from multiattach.drivers.errors import StorageError

SECTOR = 512
_UUID = r'([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})'
_OWN = re.compile(f'volume-{_UUID}')
_OWN_SNAPSHOT = re.compile(f'_?snapshot-{_UUID}')
# What the service itself makes besides volumes.
_PASSING = ('draft-', 'trash-', 'snapshot-', 'probe-')


@dataclasses.dataclass(frozen=True)
class Found:
    """Something in the storage.

    :param size: bytes.
    :param obstacle: why it cannot be managed now, a clause; empty if it can.
    :param owner: UUID of the volume whose storage it is, if that is not the one in its name.
    """

    name: str
    size: int
    obstacle: str = ''
    owner: str | None = dataclasses.field(default=None, kw_only=True)


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


@dataclasses.dataclass(frozen=True)
class FoundSnapshot(Found):
    """The same of what may become a snapshot.

    :param size: bytes that a volume made of it has.
    :param origin: name of what it is a snapshot of; None if the storage does not tell.
    """

    origin: str | None = None


class ManageableSnapshots(Protocol):
    """The part of a backend that takes snapshots over. All methods may raise ``StorageError``."""

    def list(self) -> list[FoundSnapshot]:
        """List what there is, snapshots of this service among it."""

    def find(self, volume_id: str, name: str) -> FoundSnapshot:
        """Look at one that may become a snapshot of a volume.

        :raises StorageError: the volume has none of that name.
        """

    def take(self, snapshot_id: str, volume_id: str, name: str) -> None:
        """Give one the name of a snapshot; if that has been done, nothing is.

        :raises StorageError: it is not there, in use, not the volume's, or the name is taken.
        """


def find_volume(name: str) -> str | None:
    """Return the UUID of the volume that storage of a name belongs to, by that name."""
    found = _OWN.fullmatch(name)
    return found[1] if found else None


def find_snapshot(name: str) -> str | None:
    """Return the UUID of the snapshot that storage of a name belongs to, by that name."""
    found = _OWN_SNAPSHOT.fullmatch(name)
    return found[1] if found else None


def is_passing(name: str) -> bool:
    """Tell whether the service itself makes and removes things of such a name."""
    return name.startswith(_PASSING)


def check_size(size: int) -> str:
    """Say why nothing of a size can be a volume; empty if it can."""
    if not size:
        return 'it is empty'
    return f'its size is no multiple of {SECTOR} bytes' if size % SECTOR else ''


def check_snapshot_size(size: int, volume_size: int) -> str:
    """Say why nothing of a size can be a snapshot of a volume's storage; empty if it can. Both in bytes.

    Of another size it must be one that the volume may have had before it was extended.
    """
    if size == volume_size or (size % GIB == 0 and 0 < size < volume_size):
        return ''
    return f'it has {size} bytes: neither as many as its volume ({volume_size}) nor less, in whole GiB'


def check_obstacle(found: Found) -> None:
    """Refuse what cannot be managed now.

    :raises StorageError: the reason.
    """
    if found.obstacle:
        raise StorageError(f'{found.name} cannot be managed: {found.obstacle}.')


def missing(name: str, place: str) -> StorageError:
    return StorageError(f'There is no {name[:64]!r} in {place}, or it cannot be a volume.')
