# SPDX-License-Identifier: Apache-2.0
"""Sessions and transactions on SQLite, MariaDB or PostgreSQL by URL."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, TypeVar

import sqlalchemy as sa
from oslo_db import api as oslo_db_api
from oslo_db.sqlalchemy import engines
from sqlalchemy import event, orm

P = ParamSpec('P')
R = TypeVar('R')

_READ_ONLY = 'multiattach_read_only'
_BUSY_TIMEOUT_MS = 30_000


class Database:
    """The one door to the database.

    :param url: SQLAlchemy URL.
    :param max_pool_size: connections kept per process (not SQLite).
    :param max_overflow: connections above that at peaks (not SQLite).
    :param options: further arguments of ``oslo_db.sqlalchemy.engines.create_engine``.
    """

    def __init__(self, url: str, max_pool_size: int = 10, max_overflow: int = 50,
                 **options: Any) -> None:
        self.engine: sa.Engine = engines.create_engine(
            url, sqlite_fk=True, thread_checkin=False, max_pool_size=max_pool_size,
            max_overflow=max_overflow, **options)
        # What is written holds CHAP secrets, and texts of exceptions end in logs.
        self.engine.hide_parameters = True
        if self.engine.dialect.name == 'sqlite':
            _prepare_sqlite(self.engine)
        elif self.engine.dialect.name in ('mysql', 'mariadb'):
            _prepare_mysql(self.engine)
        self._writers = orm.sessionmaker(self.engine, expire_on_commit=False, autoflush=False)
        self._readers = orm.sessionmaker(
            self.engine.execution_options(**{_READ_ONLY: True}), expire_on_commit=False,
            autoflush=False)

    @contextlib.contextmanager
    def writer(self) -> Iterator[orm.Session]:
        """Run a transaction that writes: committed at the end, rolled back on an exception.

        :returns: a session; on SQLite it holds the write lock from its first statement.
        """
        with self._writers.begin() as session:
            yield session

    @contextlib.contextmanager
    def reader(self) -> Iterator[orm.Session]:
        """Run a transaction that only reads.

        :returns: a session.
        """
        with self._readers() as session:
            yield session

    def close(self) -> None:
        """Close all pooled connections."""
        self.engine.dispose()


def _prepare_sqlite(engine: sa.Engine) -> None:
    """Let many threads and processes share one file without a 'database is locked'.

    A deferred BEGIN that turns into a write fails at once when another one writes; BEGIN
    IMMEDIATE waits its turn (busy_timeout). WAL lets readers go on meanwhile.
    """

    @event.listens_for(engine, 'connect')
    def _set_pragmas(connection: Any, _record: Any) -> None:
        connection.execute(f'PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}')
        connection.execute('PRAGMA journal_mode = WAL')

    # oslo.db emits the BEGIN itself, from a listener of its own.
    @event.listens_for(engine, 'before_cursor_execute', retval=True)
    def _begin_immediately(connection: sa.Connection, _cursor: Any, statement: str,
                           parameters: Any, _context: Any, _many: bool) -> tuple[str, Any]:
        if statement == 'BEGIN' and not connection.get_execution_options().get(_READ_ONLY):
            return 'BEGIN IMMEDIATE', parameters
        return statement, parameters


def _prepare_mysql(engine: sa.Engine) -> None:
    """Let sharers of one volume decide and move in parallel, as they do on PostgreSQL.

    InnoDB's own default, REPEATABLE READ, shows a transaction that waited for a row's lock what
    was true before it waited, and locks the gaps beside the rows that an UPDATE's sub-selects read.
    """

    @event.listens_for(engine, 'connect')
    def _set_isolation(connection: Any, _record: Any) -> None:
        with contextlib.closing(connection.cursor()) as cursor:
            cursor.execute('SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED')

    engine.dispose()  # oslo.db has made a first connection to try the URL


def retry(call: Callable[P, R]) -> Callable[P, R]:
    """Run a whole transaction again after a deadlock, a serialisation failure or a lost commit race.

    Goes outside the transaction, and only on calls that may be repeated.

    :param call: function that opens its own transaction.
    :returns: the function with up to 20 retries and growing pauses.
    """
    wrapped: Callable[P, R] = oslo_db_api.wrap_db_retry(
        max_retries=20, retry_interval=0.05, inc_retry_interval=True, max_retry_interval=1,
        retry_on_deadlock=True, jitter=True)(call)
    functools.update_wrapper(wrapped, call)
    return wrapped
