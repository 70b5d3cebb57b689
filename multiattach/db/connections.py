# SPDX-License-Identifier: Apache-2.0
"""How connections to SQLite, MariaDB and PostgreSQL are opened and kept."""

import contextlib
import functools
import os
import stat
import time
from typing import Any

import sqlalchemy as sa
from oslo_db import exception as db_exc
from oslo_db.sqlalchemy import engines
from sqlalchemy import event, exc

from multiattach import concurrency
from multiattach.domain import errors
from multiattach.trouble import Trouble

# psycopg2 would wait for ever for a server that hangs.
_CONNECT_TIMEOUT = 5
# Those that wait in C keep every green thread waiting for an answer to one of them.
_BLOCKING_DRIVERS = ('mysqldb', 'psycopg')
_TIMED_DRIVERS = ('pymysql', 'mysqldb', 'psycopg2', 'psycopg')
_READ_ONLY = 'multiattach_read_only'
_BUSY_TIMEOUT_MS = 30_000
_FILES_KEPT = 5  # connections to an SQLite file that stay open
_FRESH = 5.0  # s that a connection may have been idle without a look whether it still lives
_USED_AT = 'multiattach_used_at'
_ENDED = 'multiattach_ended'
# Seconds after which the database ends an idle transaction and releases its locks; no transaction waits for others.
# Those of a process that sleeps (stopped, paused, cut off) would keep everybody else from its rows for as long.
IDLE_LIMIT = 20
_SETTINGS = {
    'postgresql': ("SET idle_in_transaction_session_timeout = '{limit}s'",),
    'mysql': (
        # Sharers of one volume decide and move in parallel, as they do on PostgreSQL. InnoDB's own default, REPEATABLE
        # READ, shows a transaction that waited for a row's lock what was true before it waited, and locks the gaps
        # beside the rows that an UPDATE's sub-selects read.
        'SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED',
        # MySQL has no such limit: for it this is a comment.
        'SET SESSION /*M!100300 idle_transaction_timeout = {limit}, */ sql_notes = @@sql_notes',
    ),
}
_SETTINGS['mariadb'] = _SETTINGS['mysql']


def choose_driver(url: str) -> str:
    """Have a URL that names a database but no driver use the one that costs least among those that fit.

    :raises ConfigurationError: the driver that it names would hold up green threads.
    """
    parts, is_green = sa.make_url(url), concurrency.is_green()
    usual = {'mysql': 'pymysql' if is_green else 'mysqldb', 'postgresql': 'psycopg2'}
    backend, _, driver = parts.drivername.partition('+')
    if is_green and driver in _BLOCKING_DRIVERS:
        raise errors.ConfigurationError(
            f'Option connection in [database]: {driver} lets no other green thread run while it waits; use '
            f'{backend}://, or threads instead of eventlet.'
        )
    if driver or backend not in usual:
        return url
    return parts.set(drivername=f'{backend}+{usual[backend]}').render_as_string(hide_password=False)


def open_engine(url: str, outage: Trouble, **options: Any) -> sa.Engine:
    """Open an engine for transactions that write.

    :param outage: where it is told that no connection can be made.
    """
    _close_file(url)
    engine: sa.Engine = engines.create_engine(url, sqlite_fk=True, thread_checkin=False, **options)
    # What is written holds CHAP secrets, and texts of exceptions end in logs.
    engine.hide_parameters = True
    if engine.dialect.name == 'sqlite':
        _prepare_sqlite(engine)
    else:
        _look_seldom(engine)
        if engine.dialect.name in ('mysql', 'mariadb'):
            _roll_back_seldom(engine)
    event.listen(engine, 'do_connect', functools.partial(_connect, outage))
    engine.dispose()  # oslo.db has made a first connection to try the URL
    return engine


def _close_file(url: str) -> None:
    """Keep others from a database that is a file: it holds CHAP secrets. A group may be meant to have it."""
    parts = sa.make_url(url)
    if parts.get_backend_name() != 'sqlite' or not parts.database or parts.database == ':memory:':
        return
    for name in (parts.database, f'{parts.database}-wal', f'{parts.database}-shm'):
        with contextlib.suppress(OSError):  # whoever opens it says what is wrong
            if name == parts.database:
                os.close(os.open(name, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
            mode = stat.S_IMODE(os.stat(name).st_mode)
            if mode & stat.S_IRWXO:
                os.chmod(name, mode & ~stat.S_IRWXO)


def open_read_engine(writer: sa.Engine, url: str, outage: Trouble, **options: Any) -> sa.Engine:
    """Open an engine for what only reads.

    On a server each statement is a transaction: what READ COMMITTED shows is the same, and the ROLLBACK at
    the end, a round trip of its own, is saved.
    """
    if writer.dialect.name == 'sqlite':
        return writer.execution_options(**{_READ_ONLY: True})
    engine = open_engine(url, outage, **options)
    dialect = engine.dialect
    dialect.skip_autocommit_rollback = True

    @event.listens_for(engine, 'connect')
    def _commit_by_itself(connection: Any, _record: Any) -> None:
        dialect.set_isolation_level(connection, 'AUTOCOMMIT')

    return engine


def _look_seldom(engine: sa.Engine) -> None:
    """Ask whether a connection still lives only after it was idle for a while.

    oslo.db asks each time, which costs as much as a query. A connection that died meanwhile is noticed by
    the first statement, and :func:`multiattach.db.database.retry` repeats that.
    """
    engine.pool._pre_ping = False

    @event.listens_for(engine, 'checkin')
    def _note(_connection: Any, record: Any) -> None:
        record.info[_USED_AT] = time.monotonic()

    @event.listens_for(engine, 'checkout')
    def _look(connection: Any, record: Any, _proxy: Any) -> None:
        if time.monotonic() - record.info.get(_USED_AT, 0.0) < _FRESH:
            return
        dialect: Any = engine.dialect
        try:
            alive = dialect.do_ping(connection)
        except dialect.loaded_dbapi.Error:
            alive = False
        if not alive:
            raise exc.DisconnectionError('the connection was lost while nobody used it')


def _roll_back_seldom(engine: sa.Engine) -> None:
    """Send no ROLLBACK after a COMMIT.

    The pool sends one for each connection that comes back, a round trip of each transaction; PostgreSQL's
    drivers know themselves when there is nothing to roll back. A COMMIT that fails ends its transaction, too.
    """
    engine.pool._reset_on_return = sa.pool.base.reset_none

    @event.listens_for(engine, 'begin')
    def _begun(connection: sa.Connection) -> None:
        connection.info.pop(_ENDED, None)

    @event.listens_for(engine, 'commit')
    def _ended(connection: sa.Connection) -> None:
        connection.info[_ENDED] = True

    @event.listens_for(engine, 'reset')
    def _reset(connection: Any, record: Any, state: Any) -> None:
        if not (state.terminate_only or state.transaction_was_reset or record.info.get(_ENDED)):
            engine.dialect.do_rollback(connection)


def _connect(outage: Trouble, dialect: sa.Dialect, _record: Any, args: list[Any], parameters: dict[str, Any]) -> Any:
    """Call a connection that cannot be made, or is lost at once, a lost one.

    oslo.db does so for MariaDB; the words of PostgreSQL that it knows are those of libpq before 14.
    """
    if dialect.driver in _TIMED_DRIVERS:
        parameters.setdefault('connect_timeout', _CONNECT_TIMEOUT)
    try:
        made = dialect.connect(*args, **parameters)
        if dialect.name in _SETTINGS:
            _set_up(dialect, made)
    except dialect.loaded_dbapi.OperationalError as exc:
        outage.note('takes no connection; what needs it waits, or is refused', type(exc).__name__)
        raise db_exc.DBConnectionError(exc) from exc
    outage.end()
    return made


def _set_up(dialect: sa.Dialect, made: Any) -> None:
    in_transactions = dialect.name == 'postgresql'  # a rollback would take back what was set in one
    if in_transactions:
        made.autocommit = True
    with contextlib.closing(made.cursor()) as cursor:
        for setting in _SETTINGS[dialect.name]:
            cursor.execute(setting.format(limit=IDLE_LIMIT))
    if in_transactions:
        made.autocommit = False


def _keep_files_open(engine: sa.Engine) -> None:
    """Keep connections.

    oslo.db closes each after its transaction, and the last one that closes removes the write-ahead log, which costs
    more than the transaction. Any number may be open: who waits, waits for SQLite's lock.
    """
    before: Any = engine.pool
    engine.pool = sa.pool.QueuePool(
        before._creator,
        pool_size=_FILES_KEPT,
        max_overflow=-1,
        logging_name=before._orig_logging_name,
        reset_on_return=before._reset_on_return,
        _dispatch=before.dispatch,
        dialect=before._dialect,
    )


def _prepare_sqlite(engine: sa.Engine) -> None:
    """Let many threads and processes share one file without a 'database is locked'.

    A deferred BEGIN that turns into a write fails at once when another one writes; BEGIN
    IMMEDIATE waits its turn (busy_timeout). WAL lets readers go on meanwhile.
    """

    if isinstance(engine.pool, sa.pool.NullPool):
        _keep_files_open(engine)

    @event.listens_for(engine, 'connect')
    def _set_pragmas(connection: Any, _record: Any) -> None:
        connection.execute(f'PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}')
        connection.execute('PRAGMA journal_mode = WAL')

    # oslo.db emits the BEGIN itself, from a listener of its own.
    @event.listens_for(engine, 'before_cursor_execute', retval=True)
    def _begin_immediately(
        connection: sa.Connection, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool
    ) -> tuple[str, Any]:
        if statement == 'BEGIN' and not connection.get_execution_options().get(_READ_ONLY):
            return 'BEGIN IMMEDIATE', parameters
        return statement, parameters
