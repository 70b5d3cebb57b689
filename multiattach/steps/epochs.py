# SPDX-License-Identifier: Apache-2.0
"""Whether the database is the newest one of a backend's targets, and a person who says that it is to be."""

from multiattach.db import database
from multiattach.db import epochs as db_epochs
from multiattach.domain.epoch import Doubt, Mark


class Epochs:
    def __init__(self, db: database.Database) -> None:
        self._db = db

    @database.retry
    def count(self, backend: str, seen: Mark | None) -> tuple[Mark, Doubt | None]:
        """Count one further, unless what was seen elsewhere is ahead.

        :param seen: the mark beside the targets, None if it is not known.
        :returns: where the database stood before, which was committed a while ago; and what is doubted.
        """
        with self._db.writer() as session:
            return db_epochs.count(session, backend, seen)

    @database.retry
    def list_doubts(self, backend: str | None = None) -> list[Doubt]:
        with self._db.reader() as session:
            return db_epochs.list_doubts(session, backend)

    @database.retry
    def accept(self, backend: str) -> Doubt:
        """Take this database as the one of a backend's targets from now on; return what was doubted.

        :raises NotFound: nothing is in doubt there.
        """
        with self._db.writer() as session:
            return db_epochs.accept(session, backend)
