# SPDX-License-Identifier: Apache-2.0
"""A database that has no room left, told from one that is wrong."""

import contextlib
import sqlite3
from collections.abc import Iterator

import sqlalchemy as sa
from oslo_db import exception as db_exc

from multiattach.domain import errors

# SQLite reports a full disk as each of them: the file, its journal, or their folder cannot grow.
_SQLITE = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN})
_MYSQL = frozenset({1021, 1114})  # ER_DISK_FULL, ER_RECORD_FILE_FULL
_POSTGRESQL = '53100'  # disk_full


def _is_full(error: BaseException | None) -> bool:
    while error is not None:
        if getattr(error, 'sqlite_errorcode', 0) & 0xFF in _SQLITE:
            return True
        # psycopg2, psycopg
        if _POSTGRESQL in (getattr(error, 'pgcode', None), getattr(error, 'sqlstate', None)):
            return True
        if type(error).__module__.startswith(('pymysql', 'MySQLdb')) and error.args[:1] and error.args[0] in _MYSQL:
            return True
        error = getattr(error, 'orig', None) or getattr(error, 'inner_exception', None) or error.__cause__
    return False


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Tell of a full database in words, in the block.

    :raises Unavailable: it has no room, and nothing was changed.
    """
    try:
        yield
    except (sa.exc.DBAPIError, db_exc.DBError) as exc:
        if not _is_full(exc):
            raise
        raise errors.Unavailable(
            'The database cannot write, as if its disk were full; nothing was changed. Try again later.'
        ) from exc
