# SPDX-License-Identifier: Apache-2.0
"""The volume worker's side of what is copied between volumes and images."""

from collections.abc import Mapping

from multiattach.db import (
    attachments as db_attachments,
    database,
    image_copies,
    messages,
    models,
    transitions,
    volumes as db_volumes,
)
from multiattach.domain import errors
from multiattach.domain.images import Purpose
from multiattach.domain.messages import STORAGE_FAILED

# What ends a copy: done, and not; and what it is called.
ENDINGS = {
    Purpose.CREATE: ('created', 'create_failed', 'create volume'),
    Purpose.REIMAGE: ('reimaged', 'reimage_failed', 'reimage volume'),
    Purpose.UPLOAD: ('uploaded', 'upload_failed', 'copy volume to image'),
}


class ImageCopies:
    """Plans and outcomes of copies on one backend."""

    def __init__(self, db: database.Database, host: str) -> None:
        self._db = db
        self._host = host

    @database.retry
    def load(self, volume_id: str, status: str) -> models.Volume | None:
        """Read a volume, or None if it is not (any more) in the status in which a copy is due."""
        with self._db.reader() as session:
            try:
                volume = db_volumes.load(session, volume_id)
            except errors.VolumeNotFound:
                return None
        return volume if volume.status == status and volume.host == self._host else None

    @database.retry
    def list_nova_servers(self, volume_id: str) -> list[str]:
        """List the servers that a volume is reserved for, or attached to, by Nova."""
        with self._db.reader() as session:
            rows = db_attachments.list_of_volume(session, volume_id)
            return sorted({row.instance_uuid for row in rows if row.instance_uuid and row.agent_host is None})

    find = database.reading(image_copies.find)
    note = database.writing(image_copies.note)
    forget = database.writing(image_copies.remove)

    @database.retry
    def finish(self, volume_id: str, purpose: Purpose, metadata: Mapping[str, str] | None = None) -> None:
        """Write that a copy is done.

        :param metadata: of the image that the volume was made of; None to leave the volume's as it is.
        """
        columns = {} if metadata is None else {'bootable': True}
        with self._db.writer() as session:
            db_volumes.lock(session, volume_id)
            transitions.move_volume(session, volume_id, ENDINGS[purpose][0], **columns)
            if metadata is not None:
                image_copies.replace_metadata(session, volume_id, metadata, keep_others=purpose == Purpose.CREATE)
            image_copies.remove(session, volume_id)

    @database.retry
    def fail(self, volume_id: str, purpose: Purpose, reason: str) -> None:
        """Write that a copy failed for good, and tell the user why."""
        _, event, verb = ENDINGS[purpose]
        with self._db.writer() as session:
            volume = db_volumes.lock(session, volume_id)
            transitions.move_volume(session, volume_id, event)
            image_copies.remove(session, volume_id)
            messages.add(
                session,
                volume.project_id,
                volume_id,
                STORAGE_FAILED[event],
                f'{verb}: {reason}',
                request_id=volume.request_id,
            )
