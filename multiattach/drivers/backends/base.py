# SPDX-License-Identifier: Apache-2.0
"""What a storage backend is: the protocol and its report."""

import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

GIB = 1024**3


@dataclasses.dataclass(frozen=True)
class Capacity:
    """Room of a backend.

    :param free_gb: GiB not yet written.
    """

    total_gb: float
    free_gb: float


class Draft(Protocol):
    """Storage that is to become a volume's; it reads as zeros at first."""

    #: as :meth:`Backend.path` returns it
    path: str

    def adopt(self) -> None:
        """Give it the volume's name, once all is written; what has that name becomes trash.

        :raises CopyAborted: another worker is at it.
        """


class Imports(Protocol):
    """What a backend has that can hold what comes from elsewhere: images, volumes of other backends.

    One that may have the blocks of an image already also has ``find_shareable(image)``, which tells where, or None, and
    ``share(volume_id, size_gb, where, proceed)``, which gives a draft with them in it.
    """

    def open(self, volume_id: str, size_gb: int, proceed: Callable[[], bool]) -> AbstractContextManager[Draft]:
        """Have a draft, for the length of a block; one that is left of an attempt before goes, and so does one that
        was not adopted in the end.

        :raises CopyAborted: *proceed* said no, or another worker is at it.
        """


class Backend(Protocol):
    """Storage of volumes. Each call is idempotent: "already as wished" is success.

    All methods may raise ``StorageError``, and ``StorageUnavailable`` where storage is elsewhere
    (:mod:`multiattach.drivers.errors`). A class of such storage says so by ``IS_REMOTE = True``: its :meth:`check`
    is then part of what an operator has checked before programs start. One that cannot extend a volume which servers
    have, once it has snapshots, says so by ``GROWS_IN_USE_WITH_SNAPSHOTS = False``; one where a volume takes all of its
    room at once by ``IS_THICK = True``. One that takes over storage which is there has a
    :class:`~multiattach.drivers.backends.manageable.Manageable` as ``manageable``, and for snapshots a
    :class:`~multiattach.drivers.backends.manageable.ManageableSnapshots` as ``manageable_snapshots``; one that volumes
    can be copied to and from a :class:`~multiattach.drivers.backends.moving.Movable` as ``movable``, one that can hold
    images :class:`Imports` as ``imports``. One that can tell what has names of this service, besides snapshots, does so
    by ``list_storage()``, which returns :class:`~multiattach.drivers.backends.names.Stored`; it has a ``movable``, too.
    One that comes across things under such names while it removes others has ``learn_rows(has_row)``: it removes none
    of which ``has_row(id)`` says that it is recorded nowhere, or was given back.
    """

    def check(self) -> None:
        """See that the backend can serve.

        :raises StorageError: the message names the option and the remedy.
        """

    def create(self, volume_id: str, size_gb: int) -> None:
        """Make a volume's storage, reading as zeros."""

    def clone(self, volume_id: str, source_id: str, size_gb: int, proceed: Callable[[], bool]) -> None:
        """Make a volume's storage as a copy; half a copy never has the volume's name.

        :param source_id: UUID of the volume to copy; nobody deletes it meanwhile.
        :param size_gb: GiB, no less than the source has; the rest reads as zeros.
        :raises CopyAborted: it said no.
        """

    def discard(self, volume_id: str) -> None:
        """Take a volume's storage, and half a copy, away from its name; absent is success.

        It takes no time, and what there was is kept as trash until :meth:`clear`. A volume of the same id can
        be made at once.

        :raises ClearAborted: somebody has it open; nothing was done, and it is tried again.
        """

    def clear(self, volume_id: str, proceed: Callable[[], bool]) -> None:
        """Make a volume's trash unreadable and remove it, however long it takes; without any nothing is done.

        :raises ClearAborted: it said no, or somebody else is at it.
        """

    def extend(self, volume_id: str, size_gb: int) -> None:
        """Grow a volume's storage; never shrinks."""

    # Snapshots ---------------------------------------------------------------------------

    def can_snapshot_in_use(self) -> bool:
        """Tell whether a snapshot of a volume that servers write to is of one moment; else none is taken of it."""

    def create_snapshot(self, snapshot_id: str, volume_id: str, proceed: Callable[[], bool]) -> None:
        """Keep what a volume has now; half a snapshot never has the snapshot's name.

        :raises CopyAborted: it said no.
        :raises StorageError: also if somebody wrote to the volume, where :meth:`can_snapshot_in_use` says no.
        """

    def delete_snapshot(self, snapshot_id: str, volume_id: str, proceed: Callable[[], bool]) -> None:
        """Remove a snapshot, and half a one; absent is success. Volumes that were made from it stay whole.

        :raises ClearAborted: it said no, or somebody else is at it.
        :raises StorageError: also if something that this service did not make needs it; the message names it.
        """

    def clone_snapshot(
        self, volume_id: str, snapshot_id: str, source_id: str, size_gb: int, proceed: Callable[[], bool]
    ) -> None:
        """Make a volume's storage from a snapshot of the volume *source_id*; the rest is as for :meth:`clone`."""

    def revert(self, volume_id: str, snapshot_id: str, proceed: Callable[[], bool]) -> None:
        """Give a volume, which nobody has open, what a snapshot of it has; one that broke off is made anew.

        :raises CopyAborted: it said no; the volume may be neither what it was nor what the snapshot is.
        """

    def list_snapshots(self) -> dict[str, str | None]:
        """List the snapshots that there are: UUID, and that of the volume if the storage tells."""

    def path(self, volume_id: str) -> str:
        """Return what a target exports.

        :returns: path of a device or a file; of an image in Ceph its name as QEMU has it,
            ``rbd:POOL/IMAGE:id=USER:conf=FILE``.
        """

    def capacity(self) -> Capacity:
        """Read the room that there is.

        :raises StorageError: it cannot be read.
        """
