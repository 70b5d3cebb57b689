# SPDX-License-Identifier: Apache-2.0
"""The life of a snapshot as two tables: what each status means, and which event leads from which to which."""

import dataclasses
import enum
import re

from multiattach.domain import errors
from multiattach.domain.volume_states import Owner, Transition, rows


class Snapshot(enum.StrEnum):
    """Status of a snapshot as the API shows it."""

    CREATING = 'creating'
    AVAILABLE = 'available'
    RESTORING = 'restoring'
    UNMANAGING = 'unmanaging'
    DELETING = 'deleting'
    DELETED = 'deleted'
    ERROR = 'error'
    ERROR_DELETING = 'error_deleting'


@dataclasses.dataclass(frozen=True)
class SnapshotInfo:
    """What a status of a snapshot means.

    :param owner: who takes the next step.
    :param has_storage: the backend must have it.
    """

    owner: Owner
    doc: str
    has_storage: bool = False


S = Snapshot

SNAPSHOT_STATES: dict[Snapshot, SnapshotInfo] = {
    S.CREATING: SnapshotInfo(Owner.VOLUME, 'The volume worker takes the snapshot.'),
    S.AVAILABLE: SnapshotInfo(Owner.NOBODY, 'The snapshot exists; volumes can be made from it.', has_storage=True),
    S.RESTORING: SnapshotInfo(Owner.VOLUME, 'The volume worker reverts the volume to the snapshot.', has_storage=True),
    S.UNMANAGING: SnapshotInfo(Owner.USER, 'The snapshot is being removed from management.'),
    S.DELETING: SnapshotInfo(Owner.VOLUME, 'The volume worker deletes the snapshot.'),
    S.DELETED: SnapshotInfo(Owner.NOBODY, 'Deleted.'),
    S.ERROR: SnapshotInfo(Owner.USER, 'The snapshot could not be taken, or an administrator set this status.'),
    S.ERROR_DELETING: SnapshotInfo(Owner.USER, 'The snapshot could not be deleted.'),
}

SNAPSHOT_EVENTS: dict[str, Transition] = rows(
    ('created', (S.CREATING,), S.AVAILABLE, 'The backend has the snapshot.'),
    ('create_failed', (S.CREATING,), S.ERROR, 'The backend could not take it; a message gives the reason.'),
    ('delete', (S.AVAILABLE, S.ERROR), S.DELETING, 'The snapshot is to be deleted.'),
    (
        'force_delete',
        tuple(status for status in S if status not in (S.RESTORING, S.DELETED)),
        S.DELETING,
        'The same by an administrator, in any status but that of a revert.',
    ),
    ('deleted', (S.DELETING,), S.DELETED, 'The backend has removed it.'),
    ('delete_failed', (S.DELETING,), S.ERROR_DELETING, 'The backend could not delete it; a message gives the reason.'),
    ('unmanage', (S.AVAILABLE, S.ERROR), S.DELETED, 'The snapshot is deleted, its storage is not.'),
    ('revert', (S.AVAILABLE,), S.RESTORING, 'The volume is to be reverted to the snapshot.'),
    ('reverted', (S.RESTORING,), S.AVAILABLE, 'The volume is what the snapshot is.'),
    ('revert_failed', (S.RESTORING,), S.AVAILABLE, 'The revert failed; the snapshot is intact.'),
)

# The worker's next step is due; a revert is a step on the volume.
WORKER_SNAPSHOTS: frozenset[str] = frozenset((S.CREATING, S.DELETING))
# The same, or a deletion was given up, which is tried again at a person's word.
BUSY: frozenset[str] = WORKER_SNAPSHOTS | {S.ERROR_DELETING}
WITH_STORAGE: frozenset[str] = frozenset(s for s, info in SNAPSHOT_STATES.items() if info.has_storage)
# A volume may be deleted together with snapshots in these.
CASCADED: frozenset[str] = SNAPSHOT_EVENTS['delete'].sources | {S.DELETING}
# What os-reset_status may set, as in Block Storage: the worker then really takes or deletes it.
RESETTABLE: frozenset[str] = frozenset((S.CREATING, S.AVAILABLE, S.DELETING, S.ERROR, S.ERROR_DELETING))
# What os-update_snapshot_status may set, by the status before.
UPDATES: dict[str, tuple[str, ...]] = {
    S.CREATING: (S.CREATING, S.AVAILABLE, S.ERROR),
    S.DELETING: (S.DELETING, S.ERROR_DELETING),
}
NO_PROGRESS, DONE = '0%', '100%'
_PROGRESS = re.compile(r'(100|[0-9]{1,2})%')


def check_progress(text: str) -> str:
    """Check a progress as people read it.

    :raises InvalidInput: it is no whole percentage.
    """
    if not _PROGRESS.fullmatch(text):
        raise errors.InvalidInput('Invalid input: progress must be a percentage from 0% to 100%.')
    return text
