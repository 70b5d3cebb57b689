# SPDX-License-Identifier: Apache-2.0
"""Entries in the blocklists of Ceph, written down before they are made and before they are removed."""

from collections.abc import Mapping

from multiattach.db import blocklist, database
from multiattach.domain.blocklist import Entry, Reason


class BlocklistRows:
    """The rows of one backend's workers.

    :param backend: name of the backend, as its volumes carry it.
    """

    def __init__(self, db: database.Database, backend: str) -> None:
        self._db = db
        self._backend = backend

    _put = database.writing(blocklist.put)
    _list = database.reading(blocklist.list_entries)
    confirm = database.writing(blocklist.confirm)
    begin_removal = database.writing(blocklist.begin_removal)
    list_known = database.reading(blocklist.list_known)
    forget = database.writing(blocklist.forget)

    def intend(self, fsid: str, reasons: Mapping[str, Reason]) -> None:
        """Write the intent to add entries.

        :param reasons: by address.
        """
        self._put(self._backend, fsid, reasons)

    def list_entries(self) -> list[Entry]:
        """List all that the backend's workers made, what ends first first."""
        return self._list(self._backend)
