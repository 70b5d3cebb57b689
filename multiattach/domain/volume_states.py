# SPDX-License-Identifier: Apache-2.0
"""The life of a volume as two tables: what each status means, and which event leads from which to which.

:mod:`multiattach.domain.states` has the same of attachments, which decide a volume's status where it is derived.
"""

import dataclasses
import enum


class Owner(enum.StrEnum):
    """Who takes the next step of a row that is in a state."""

    USER = 'user'
    VOLUME = 'volume worker'
    HOST = 'host agent'
    NOBODY = 'nobody'


class Volume(enum.StrEnum):
    """Status of a volume as the API shows it (contract 3.1)."""

    CREATING = 'creating'
    DOWNLOADING = 'downloading'
    AVAILABLE = 'available'
    RESERVED = 'reserved'
    ATTACHING = 'attaching'
    IN_USE = 'in-use'
    DETACHING = 'detaching'
    EXTENDING = 'extending'
    REVERTING = 'reverting'
    UPLOADING = 'uploading'
    MAINTENANCE = 'maintenance'
    DELETING = 'deleting'
    DELETED = 'deleted'
    ERROR = 'error'
    ERROR_DELETING = 'error_deleting'
    ERROR_EXTENDING = 'error_extending'
    AWAITING_TRANSFER = 'awaiting-transfer'
    RETYPING = 'retyping'
    MANAGING = 'managing'
    ERROR_MANAGING = 'error_managing'
    UNMANAGING = 'unmanaging'


@dataclasses.dataclass(frozen=True)
class Transition:
    """One row of a transition table."""

    event: str
    sources: frozenset[str]
    target: str | None
    doc: str


def rows(*rows: tuple[str, tuple[str, ...], str | None, str]) -> dict[str, Transition]:
    """Make a table of event, sources, target and what it means."""
    return {row[0]: Transition(row[0], frozenset(row[1]), row[2], row[3]) for row in rows}


@dataclasses.dataclass(frozen=True)
class StatusInfo:
    """What a status of a volume means.

    :param derived: the volume's attachments decide it.
    :param resettable: os-reset_status may set it: somebody acts on it, or it is explained as a dead end.
        Not ``deleting``, ``error_deleting`` and ``detaching``: what they tell of is going on, or is not.
    :param failed: something failed; no further server may have the volume.
    :param has_storage: False while storage is made, and while it goes.
    :param has_server: a server may have the volume.
    """

    owner: Owner
    doc: str
    derived: bool = False
    resettable: bool = True
    failed: bool = False
    has_storage: bool = True
    has_server: bool = False


V = Volume

VOLUME_STATES: dict[Volume, StatusInfo] = {
    V.CREATING: StatusInfo(Owner.VOLUME, 'The volume worker creates the storage.', has_storage=False),
    V.DOWNLOADING: StatusInfo(
        Owner.VOLUME, 'The volume worker fills the storage from an image.', has_storage=False, resettable=False
    ),
    V.AVAILABLE: StatusInfo(Owner.NOBODY, 'The volume is not attached.', derived=True),
    V.RESERVED: StatusInfo(Owner.USER, 'Reserved for a server; no host has connected.', derived=True),
    V.ATTACHING: StatusInfo(Owner.USER, 'The volume is being attached to a server.', derived=True),
    V.IN_USE: StatusInfo(Owner.NOBODY, 'The volume is attached to at least one server.', derived=True, has_server=True),
    V.DETACHING: StatusInfo(
        Owner.USER, 'The volume is being detached from a server.', derived=True, has_server=True, resettable=False
    ),
    V.EXTENDING: StatusInfo(Owner.VOLUME, 'The volume worker extends the storage.'),
    V.REVERTING: StatusInfo(Owner.VOLUME, 'The volume worker reverts the storage to a snapshot.', resettable=False),
    V.UPLOADING: StatusInfo(Owner.VOLUME, 'The volume worker makes an image of the volume.', resettable=False),
    V.MAINTENANCE: StatusInfo(
        Owner.USER, 'Set by an administrator, or while the volume is migrated; nothing else changes until then.'
    ),
    V.DELETING: StatusInfo(Owner.VOLUME, 'The volume worker deletes the storage.', has_storage=False, resettable=False),
    V.DELETED: StatusInfo(Owner.NOBODY, 'Deleted.', has_storage=False, resettable=False),
    V.ERROR: StatusInfo(
        Owner.USER,
        'The storage could not be created, or reverted to a snapshot, or an administrator set this status.',
        failed=True,
    ),
    V.ERROR_DELETING: StatusInfo(
        Owner.USER, 'The storage could not be deleted.', failed=True, has_storage=False, resettable=False
    ),
    V.ERROR_EXTENDING: StatusInfo(Owner.USER, 'The storage could not be extended; the data is intact.', failed=True),
    V.AWAITING_TRANSFER: StatusInfo(
        Owner.USER, 'The volume is offered to another project, which has not accepted it yet.', resettable=False
    ),
    V.RETYPING: StatusInfo(
        Owner.VOLUME, 'The volume is being moved to a backend that has what its new type asks for.', resettable=False
    ),
    V.MANAGING: StatusInfo(
        Owner.VOLUME, 'The volume worker takes over storage that is there.', resettable=False, has_storage=False
    ),
    V.ERROR_MANAGING: StatusInfo(
        Owner.USER,
        'The storage could not be taken over; it is untouched.',
        resettable=False,
        failed=True,
        has_storage=False,
    ),
    V.UNMANAGING: StatusInfo(
        Owner.VOLUME, 'The volume goes, and its storage stays.', resettable=False, has_storage=False
    ),
}


# Something is copied between the volume and an image.
COPYING: tuple[str, ...] = (V.DOWNLOADING, V.UPLOADING)
# What os-reimage takes; the second for Nova, which reserves the volume of a server that it rebuilds.
REIMAGEABLE: tuple[str, ...] = (V.AVAILABLE, V.ERROR)
REIMAGEABLE_RESERVED: tuple[str, ...] = (*REIMAGEABLE, V.RESERVED)

VOLUME_EVENTS: dict[str, Transition] = rows(
    ('download', (V.CREATING,), V.DOWNLOADING, 'A backend is chosen for a volume that is made of an image.'),
    ('created', (V.CREATING, V.DOWNLOADING), None, 'The storage exists.'),
    (
        'create_failed',
        (V.CREATING, V.DOWNLOADING),
        V.ERROR,
        'No backend had space, or the backend failed; a message gives the reason.',
    ),
    (
        'reimage',
        REIMAGEABLE_RESERVED,
        V.DOWNLOADING,
        'The contents are to be replaced by those of an image (os-reimage).',
    ),
    ('reimaged', (V.DOWNLOADING,), None, 'The contents are those of the image.'),
    ('reimage_failed', (V.DOWNLOADING,), V.ERROR, 'The image could not be used; the contents are as before.'),
    (
        'upload',
        (V.AVAILABLE, V.IN_USE, V.DETACHING),
        V.UPLOADING,
        'An image is to be made of the volume (in use: only by force, where that is enabled).',
    ),
    ('uploaded', (V.UPLOADING,), None, 'The image is active.'),
    ('upload_failed', (V.UPLOADING,), None, 'There is no image; a message gives the reason.'),
    (
        'delete',
        (V.AVAILABLE, V.ERROR, V.ERROR_EXTENDING),
        V.DELETING,
        'The storage is to be deleted; there must be no live attachment (contract 3.4).',
    ),
    (
        'force_delete',
        tuple(status for status in V if status not in (V.DELETING, V.DELETED)),
        V.DELETING,
        'The same by an administrator, in any status; live attachments still prevent it.',
    ),
    ('deleted', (V.DELETING,), V.DELETED, 'The storage is deleted.'),
    ('delete_failed', (V.DELETING,), V.ERROR_DELETING, 'The backend could not delete.'),
    (
        'extend',
        (V.AVAILABLE, V.IN_USE, V.DETACHING),
        V.EXTENDING,
        'The storage is to be extended (from detaching: while other servers have the volume).',
    ),
    ('extended', (V.EXTENDING,), None, 'The storage is extended.'),
    ('extend_failed', (V.EXTENDING,), V.ERROR_EXTENDING, 'The backend could not extend.'),
    ('revert', (V.AVAILABLE,), V.REVERTING, 'The storage is to be reverted to the latest snapshot.'),
    ('reverted', (V.REVERTING,), None, 'The storage is what the snapshot is.'),
    ('revert_failed', (V.REVERTING,), V.ERROR, 'The backend could not revert; the volume may be neither state.'),
    ('retype', (V.AVAILABLE,), V.RETYPING, 'The volume is to be moved to a backend for its new type.'),
    ('migrate', (V.AVAILABLE,), V.MAINTENANCE, 'The volume is to be moved to another backend, and locked meanwhile.'),
    ('migrated', (V.AVAILABLE, V.RETYPING, V.MAINTENANCE), None, 'The volume is on its new backend.'),
    ('migrate_failed', (V.RETYPING, V.MAINTENANCE), None, 'The volume stays where it was; a message says why.'),
    ('managed', (V.MANAGING,), None, 'The storage has the name of the volume.'),
    ('manage_failed', (V.MANAGING,), V.ERROR_MANAGING, 'The storage could not be taken over; a message says why.'),
    (
        'unmanage',
        (V.AVAILABLE, V.ERROR, V.ERROR_EXTENDING, V.MANAGING, V.ERROR_MANAGING),
        V.UNMANAGING,
        'The volume is to go without its storage; there must be no live attachment.',
    ),
    ('unmanaged', (V.UNMANAGING,), V.DELETED, 'The volume is deleted, its storage is not.'),
    ('unmanage_failed', (V.UNMANAGING,), V.ERROR, 'The target of the volume could not be removed.'),
    ('offer', (V.AVAILABLE,), V.AWAITING_TRANSFER, 'The volume is offered to another project.'),
    ('accept', (V.AWAITING_TRANSFER,), None, 'A project that has the key accepted the volume: it is its own now.'),
    ('withdraw', (V.AWAITING_TRANSFER,), None, 'The offer was withdrawn.'),
)

# -- sets of statuses --------------------------------------------------------------------------------


def find_status_owner(status: str) -> Owner:
    """Return who takes the next step of a volume; of a status that is none a person does."""
    return VOLUME_STATES[Volume(status)].owner if status in set(Volume) else Owner.USER


_STATUSES = VOLUME_STATES.items()
DERIVED_STATUSES: frozenset[str] = frozenset(status for status, info in _STATUSES if info.derived)
# What a volume without attachments, and without a mark, cannot be.
TAKEN: frozenset[str] = DERIVED_STATUSES - {V.AVAILABLE}
RESETTABLE: frozenset[str] = frozenset(status for status, info in _STATUSES if info.resettable)
FAILED: frozenset[str] = frozenset(status for status, info in _STATUSES if info.failed)
WITHOUT_STORAGE: frozenset[str] = frozenset(status for status, info in _STATUSES if not info.has_storage)
# Nothing was made of one whose making failed.
WITH_STORAGE: frozenset[str] = frozenset(V) - WITHOUT_STORAGE - {V.ERROR}
WITH_SERVER: frozenset[str] = frozenset(status for status, info in _STATUSES if info.has_server)
# Nothing is going on: the volume may be cloned, retyped and extended.
SETTLED: tuple[str, ...] = tuple(status for status, info in _STATUSES if info.derived and info.owner is Owner.NOBODY)
WORKER_STATUSES: frozenset[str] = frozenset(status for status, info in _STATUSES if info.owner is Owner.VOLUME)
# The step is on the volume itself; that of a retype is on its migration.
WITH_STEP: frozenset[str] = WORKER_STATUSES - {V.RETYPING}
# Its storage is somebody's to change; a deletion that was given up is tried again at a person's word.
BUSY: frozenset[str] = WORKER_STATUSES | {V.ERROR_DELETING}
