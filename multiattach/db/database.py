# SPDX-License-Identifier: Apache-2.0
"""Sessions and transactions on SQLite, MariaDB or PostgreSQL by URL."""

import contextlib
import functools
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import sqlalchemy as sa
from oslo_db import api as oslo_db_api, exception as db_exc
from oslo_log import log
from sqlalchemy import event, orm

from multiattach import signals
from multiattach.db import changes, commits, connections, room
from multiattach.domain import errors
from multiattach.trouble import Trouble

LOG = log.getLogger(__name__)

P = ParamSpec('P')
R = TypeVar('R')

_PATIENCE = 8.0  # s without a connection after which a call is refused
_VERDICTS = {True: 'it was carried out', False: 'it was not', None: 'nothing'}


class Database:
    """The one door to the database.

    :param max_pool_size: connections kept per process (not SQLite).
    :param max_overflow: connections above that at peaks (not SQLite).
    """

    def __init__(self, url: str, max_pool_size: int = 10, max_overflow: int = 50, **options: Any) -> None:
        options |= {'max_pool_size': max_pool_size, 'max_overflow': max_overflow}
        url = connections.choose_driver(url)
        outage = Trouble(LOG, 'The database')
        self.engine = connections.open_engine(url, outage, **options)
        self.read_engine = connections.open_read_engine(self.engine, url, outage, **options)
        self._observers: tuple[changes.Observer, ...] = ()
        self._writers = orm.sessionmaker(self.engine, expire_on_commit=False, autoflush=False)
        event.listen(self._writers, 'after_flush', commits.note_rows)
        self._readers = orm.sessionmaker(self.read_engine, expire_on_commit=False, autoflush=False)

    @property
    def is_mariadb(self) -> bool:
        """One statement can read and write the same tables, and more than one."""
        return commits.is_mariadb(self.engine.dialect)

    def observe(self, observer: changes.Observer) -> None:
        """Tell somebody of every change of a state, after it is committed.

        :param observer: called in the thread that changed it; it must be quick.
        """
        self._observers = (*self._observers, observer)

    @contextlib.contextmanager
    def writer(self) -> Iterator[orm.Session]:
        """Run a transaction that writes: committed at the end, rolled back on an exception.

        A lost connection (DBConnectionError) means that nothing was committed.

        :returns: a session; on SQLite it holds the write lock from its first statement.
        :raises OutcomeUnknown: the connection was lost during the COMMIT, and nobody can tell.
        :raises Unavailable: the database has no room.
        """
        told: list[changes.Change] = []
        with room.told(), self._writers() as session:
            session.begin()
            with self._watched(session, told):
                yield session  # an exception closes the session, which rolls back
                session.flush()
        self._tell(told)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """Do as :meth:`writer`, without mapped rows: for what requests wait for, at a third of its cost."""
        told: list[changes.Change] = []
        with room.told(), self.engine.connect() as connection, self._watched(connection, told):
            yield connection
        self._tell(told)

    @contextlib.contextmanager
    def statement(self) -> Iterator[sa.Connection]:
        """Write by one statement that commits itself: no BEGIN, no COMMIT; else as :meth:`transaction`.

        What is lost is lost during the COMMIT. On SQLite, where no round trip is saved, it is a transaction.
        """
        if self.engine.dialect.name == 'sqlite':
            with self.transaction() as connection:
                yield connection
            return
        with room.told(), self.read_engine.connect() as connection:
            evidence, info = self._watch(connection), connection.info
            try:
                yield connection
            except db_exc.DBConnectionError as exc:
                self._judge(evidence, exc)
            told = changes.take(info)
        self._tell(told)

    def _watch(self, work: commits.Work) -> commits.Evidence:
        if self._observers:
            changes.begin(work)
        return commits.watch(work)

    @contextlib.contextmanager
    def _watched(self, work: commits.Work, told: list[changes.Change]) -> Iterator[None]:
        """Commit what is written in the block.

        :param told: gets what observers are to be told.
        """
        self._watch(work)
        info = work.info
        yield
        evidence = commits.collect(work)
        try:
            work.commit()
        except db_exc.DBConnectionError as exc:
            self._judge(evidence, exc)
        told += changes.take(info)

    def _judge(self, evidence: commits.Evidence, lost: db_exc.DBConnectionError) -> None:
        """Find out what became of a transaction whose end got no answer; return if it was carried out."""
        committed = commits.find_out(self._writers, evidence)
        LOG.warning('The connection to the database was lost during a COMMIT; the rows tell: %s', _VERDICTS[committed])
        if committed is None:
            raise errors.OutcomeUnknown(
                'The database did not answer; the change was made or not. It is safe to look, '
                'and to repeat the request.'
            ) from lost
        if not committed:
            raise lost

    def _tell(self, noted: list[changes.Change]) -> None:
        for change in noted:
            for observer in self._observers:
                try:
                    observer(change)
                except Exception:  # what is committed is done, whoever fails to hear of it
                    LOG.exception('%s %s: nobody was told of "%s"', change.noun, change.ident, change.event)

    @contextlib.contextmanager
    def reader(self) -> Iterator[orm.Session]:
        """Read; on servers each statement sees what was committed before it, on SQLite all see the same."""
        with room.told(), self._readers() as session:
            yield session

    @contextlib.contextmanager
    def rows(self) -> Iterator[sa.Connection]:
        """Read as :meth:`reader` does, without mapped rows."""
        with room.told(), self.read_engine.connect() as connection:
            yield connection

    def close(self) -> None:
        self.engine.dispose()
        self.read_engine.dispose()


_retrying = threading.local()


def _give_up(exc: Exception) -> errors.Unavailable:
    kind = errors.DatabaseAway if isinstance(exc, db_exc.DBConnectionError) else errors.Unavailable
    return kind(f'The database cannot be used ({type(exc).__name__}); try again later.')


def retry(call: Callable[P, R]) -> Callable[P, R]:
    """Run a whole transaction again after a deadlock, a serialisation failure or a lost connection.

    Goes outside the transaction, and only on calls that may be repeated: one that reads, or one with one
    transaction (:meth:`Database.writer` tells a lost connection from a lost answer). Of nested calls the
    outermost is repeated.

    :returns: the function with up to 20 retries and growing pauses; it raises Unavailable at the end. Without
        a connection that is after some 8 s: whoever waits is a person, or has a time-out.
    """

    def attempt(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return call(*args, **kwargs)
        except (db_exc.DBDeadlock, db_exc.DBConnectionError, db_exc.RetryRequest) as exc:
            signals.sink.retried()
            if isinstance(exc, db_exc.DBConnectionError):
                _retrying.lost = _retrying.lost or time.monotonic()
                if time.monotonic() - _retrying.lost > _PATIENCE:
                    raise _give_up(exc) from exc
            raise

    repeated: Callable[P, R] = oslo_db_api.wrap_db_retry(
        max_retries=20,
        retry_interval=0.05,
        inc_retry_interval=True,
        max_retry_interval=1,
        retry_on_deadlock=True,
        retry_on_disconnect=True,
        jitter=True,
    )(attempt)

    @functools.wraps(call)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        if getattr(_retrying, 'active', False):
            return call(*args, **kwargs)
        _retrying.active, _retrying.lost = True, 0.0
        try:
            return repeated(*args, **kwargs)
        except (db_exc.DBConnectionError, db_exc.DBDeadlock) as exc:
            raise _give_up(exc) from exc
        finally:
            _retrying.active = False

    return wrapped


class _Owner(Protocol):
    _db: Database


_Door = Callable[[Database], contextlib.AbstractContextManager[orm.Session]]


def _make_method(query: Callable[Concatenate[orm.Session, P], R], door: _Door) -> Callable[Concatenate[_Owner, P], R]:
    @retry
    @functools.wraps(query)
    def method(owner: _Owner, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with door(owner._db) as session:
            return query(session, *args, **kwargs)

    return method


def reading(query: Callable[Concatenate[orm.Session, P], R]) -> Callable[Concatenate[_Owner, P], R]:
    """Make a method of a query: in a transaction of its own that reads, with :func:`retry`."""
    return _make_method(query, Database.reader)


def writing(query: Callable[Concatenate[orm.Session, P], R]) -> Callable[Concatenate[_Owner, P], R]:
    """Make a method of a query: in a transaction of its own that writes, with :func:`retry`."""
    return _make_method(query, Database.writer)
