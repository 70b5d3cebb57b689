# SPDX-License-Identifier: Apache-2.0
"""Whether the database is the newest one of a backend's targets, and a person who says that it is to be."""

from multiattach.db import database, epochs as db_epochs


class Epochs:
    def __init__(self, db: database.Database) -> None:
        self._db = db

    count = database.writing(db_epochs.count)
    list_doubts = database.reading(db_epochs.list_doubts)
    accept = database.writing(db_epochs.accept)
