# SPDX-License-Identifier: Apache-2.0
"""From a change of state to the name of an event, as consumers of Cinder's notifications know it."""

from collections.abc import Sequence

from multiattach.db import changes
from multiattach.domain import states

_VOLUME = {
    'create': 'volume.create.start',
    'created': 'volume.create.end',
    'create_failed': 'volume.create.error',
    'delete': 'volume.delete.start',
    'force_delete': 'volume.delete.start',
    'deleted': 'volume.delete.end',
    'delete_failed': 'volume.delete.error',
    'extend': 'volume.resize.start',
    'extended': 'volume.resize.end',
    'extend_failed': 'volume.resize.error',
    'revert': 'volume.revert.start',
    'reverted': 'volume.revert.end',
    'revert_failed': 'volume.revert.error',
    'retyped': 'volume.retype',
    'migrate': 'volume.migrate.start',
    'migrated': 'volume.migrate.end',
    'migrate_failed': 'volume.migrate.error',
    'upload': 'volume.upload.start',
    'uploaded': 'volume.upload.end',
    'upload_failed': 'volume.upload.error',
    'reimage': 'volume.reimage.start',
    'reimaged': 'volume.reimage.end',
    'reimage_failed': 'volume.reimage.error',
    'update': 'volume.update.end',
    'clear_reservations': 'volume.reservations.clear.end',
    'clear_reservations_failed': 'volume.reservations.clear.error',
    'managed': 'volume.manage_existing.end',
    'manage_failed': 'volume.manage_existing.error',
    'unmanage': 'volume.unmanage.start',
    'unmanaged': 'volume.unmanage.end',
    'unmanage_failed': 'volume.unmanage.error',
    'offer': 'volume.transfer.create.end',
    'accept': 'volume.transfer.accept.end',
    'withdraw': 'volume.transfer.delete.end',
}
_SNAPSHOT = {
    'create': 'snapshot.create.start',
    'created': 'snapshot.create.end',
    'create_failed': 'snapshot.create.error',
    'delete': 'snapshot.delete.start',
    'force_delete': 'snapshot.delete.start',
    'deleted': 'snapshot.delete.end',
    'delete_failed': 'snapshot.delete.error',
    'unmanage': 'snapshot.delete.end',  # as Cinder tells of it
    'revert': 'snapshot.revert.start',
    'reverted': 'snapshot.revert.end',
    'revert_failed': 'snapshot.revert.error',
    'reset': 'snapshot.reset_status.end',
    'update': 'snapshot.update.end',
}
_ATTACHMENT = {
    'export': 'volume.attach.start',
    'complete': 'volume.attach.end',
    'export_failed': 'volume.attach.error',
    'attach_failed': 'volume.attach.error',
    'detach': 'volume.detach.start',
    'unexport': 'volume.detach.start',
    'remove': 'volume.detach.end',
    'abandon': 'volume.detach.end',
    'fence': 'volume.detach.start',
    'fenced': 'volume.detach.end',
    'detach_failed': 'volume.detach.error',
    'detach_refused': 'volume.detach.error',
}


def name_event(change: changes.Change, history: Sequence[str]) -> str | None:
    """Name the event that a change is to others.

    A step that is repeated, or that undoes another one, is none.

    :param history: states of the attachment before it, oldest first; empty for a volume or a snapshot.
    """
    if change.noun == changes.VOLUME:
        return _VOLUME.get(change.event)
    if change.noun == changes.SNAPSHOT:
        return _SNAPSHOT.get(change.event)
    before = history[-1] if history else None
    # A step again, the second half of a detach, or the undoing of an attach.
    again = before == change.state or (
        change.event == 'unexport' and (before == states.Attachment.DETACHING or change.error is not None)
    )
    # Only a place was held: nobody was told of a detach that began.
    unused = change.event == 'remove' and before not in states.LEAVING
    return None if again or unused else _ATTACHMENT.get(change.event)
