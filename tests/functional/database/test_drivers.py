# SPDX-License-Identifier: Apache-2.0
"""What each driver says when a transaction fails, made to happen on each database server."""

import threading
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from oslo_db import exception as db_exc

from multiattach.db import connections, models
from multiattach.db.database import Database
from multiattach.domain import errors
from tests.functional.database.test_failures import kill

DRIVERS = {'mariadb': ('mysql+mysqldb', 'mysql+pymysql'), 'postgresql': ('postgresql+psycopg', 'postgresql+psycopg2')}


@pytest.fixture(
    params=[(server, one) for server, drivers in DRIVERS.items() for one in drivers], ids=lambda pair: pair[1]
)
def db(request: pytest.FixtureRequest) -> Iterator[Database]:
    server, driver = request.param
    url = sa.make_url(request.getfixturevalue(server).make_database(synced=True)).set(drivername=driver)
    opened = Database(url.render_as_string(hide_password=False))
    assert opened.engine.dialect.driver == driver.partition('+')[2]
    yield opened
    opened.close()


def test_a_full_disk_is_told(db: Database) -> None:
    """The servers' own errors, by their own numbers; a disk of a test is not filled."""
    full = {
        'mysql': "SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = {}, MESSAGE_TEXT = 'told by a test'",
        'postgresql': "DO $$ BEGIN RAISE EXCEPTION 'told by a test' USING ERRCODE = '{}'; END $$",
    }[db.engine.dialect.name]
    for code in {'mysql': (1021, 1114), 'postgresql': ('53100',)}[db.engine.dialect.name]:
        with pytest.raises(errors.Unavailable, match='disk were full'), db.writer() as session:
            session.execute(sa.text(full.format(code)))
    other = {'mysql': 1644, 'postgresql': '53200'}[db.engine.dialect.name]
    with pytest.raises((db_exc.DBError, sa.exc.DBAPIError)), db.writer() as session:
        session.execute(sa.text(full.format(other)))


@pytest.mark.parametrize(
    ('in_commit', 'error'), [(False, db_exc.DBConnectionError), (True, errors.OutcomeUnknown)], ids=['before', 'COMMIT']
)
def test_a_lost_connection_is_told(db: Database, in_commit: bool, error: type[Exception]) -> None:
    def lose() -> None:
        with db.writer() as session:
            session.add(models.VolumeType(id='a', name='name'))
            session.flush()
            kill(session.connection().connection.driver_connection, db)
            if not in_commit:
                session.execute(sa.select(models.VolumeType.id))

    with pytest.raises(error):
        lose()
    with db.reader() as session:
        assert session.scalars(sa.select(models.VolumeType.id)).all() == []


def test_a_deadlock_is_told(db: Database) -> None:
    with db.writer() as session:
        for ident in 'ab':
            session.add(models.VolumeType(id=ident, name=ident))
    barrier = threading.Barrier(2, timeout=20)
    victims = []

    def update(order: str) -> None:
        try:
            with db.writer() as session:
                for index, ident in enumerate(order):
                    change = sa.update(models.VolumeType).where(models.VolumeType.id == ident)
                    session.execute(change.values(description=order))
                    if index == 0:
                        barrier.wait()
        except db_exc.DBDeadlock:
            victims.append(order)

    thread = threading.Thread(target=update, args=('ba',))
    thread.start()
    update('ab')
    thread.join(60)
    assert len(victims) == 1


def test_a_name_that_is_taken_and_a_reference_to_nothing_are_told(db: Database) -> None:
    with db.writer() as session:
        session.add(models.VolumeType(id='a', name='name'))
    with pytest.raises(db_exc.DBDuplicateEntry), db.writer() as session:
        session.execute(sa.insert(models.VolumeType).values(id='a', name='other', created_at=models.now()))
    with pytest.raises(db_exc.DBReferenceError), db.writer() as session:
        session.execute(sa.insert(models.ExtraSpec).values(volume_type_id='none', key='k', value='v'))


def test_a_swap_counts_the_rows_that_match(db: Database) -> None:
    """An UPDATE that changes nothing has found its row all the same."""
    with db.writer() as session:
        session.add(models.VolumeType(id='a', name='name', description='same'))
    for ident, found in (('a', 1), ('b', 0)):
        with db.writer() as session:
            change = sa.update(models.VolumeType).where(models.VolumeType.id == ident).values(description='same')
            assert session.execute(change).rowcount == found


@pytest.mark.parametrize(
    ('url', 'mode', 'driver'),
    [
        ('mysql://u:p%40@h/d?charset=utf8mb4', 'threading', 'mysql+mysqldb'),
        ('mysql://u:p%40@h/d', 'eventlet', 'mysql+pymysql'),
        ('mysql+pymysql://u:p%40@h/d', 'threading', 'mysql+pymysql'),
        ('postgresql://u:p%40@h/d', 'threading', 'postgresql+psycopg2'),
        ('postgresql://u:p%40@h/d', 'eventlet', 'postgresql+psycopg2'),
        ('postgresql+psycopg://u:p%40@h/d', 'threading', 'postgresql+psycopg'),
        ('sqlite:////d', 'eventlet', 'sqlite'),
    ],
)
def test_the_driver_fits_the_threads(monkeypatch: pytest.MonkeyPatch, url: str, mode: str, driver: str) -> None:
    monkeypatch.setenv('MULTIATTACH_CONCURRENCY', mode)
    chosen = connections.choose_driver(url)
    assert chosen.partition(':')[0] == driver
    assert chosen.partition(':')[2] == url.partition(':')[2]


@pytest.mark.parametrize('url', ['mysql+mysqldb://h/d', 'postgresql+psycopg://h/d'])
def test_green_threads_refuse_a_driver_that_stops_them(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv('MULTIATTACH_CONCURRENCY', 'eventlet')
    with pytest.raises(errors.ConfigurationError, match='green thread'):
        Database(url)
