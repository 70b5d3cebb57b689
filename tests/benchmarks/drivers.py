# SPDX-License-Identifier: Apache-2.0
"""What a statement costs the process that makes it, by driver: ``python -m tests.benchmarks.drivers``.

CPU milliseconds of this process, the least of several rounds, on private servers. It needs root.
"""

import logging
import pathlib
import signal
import sys
import tempfile
import time
from collections.abc import Callable

import sqlalchemy as sa
from sqlalchemy import orm

from multiattach.db import migration, models
from multiattach.db.database import Database
from tests.testbed.postgresql import PostgreSQL
from tests.testbed.servers import MariaDB

DRIVERS = {MariaDB: ('mysql+pymysql', 'mysql+mysqldb'), PostgreSQL: ('postgresql+psycopg2', 'postgresql+psycopg')}
logging.disable()  # oslo.db's opinion of SQL modes
_ROUNDS, _TIMES = 15, 200
VOLUME = {'id': 'a', 'project_id': 'p', 'user_id': 'u', 'size': 1, 'volume_type_id': 't', 'status': 'available'}
_COLUMNS = (models.Volume.id, models.Volume.status, models.Volume.host, models.Volume.size, models.Volume.multiattach)


def _list_steps(db: Database) -> dict[str, Callable[[], object]]:
    narrow, wide, whole = sa.select(*_COLUMNS), sa.select(models.Volume.__table__), sa.select(models.Volume)
    narrow, wide, whole = (one.where(models.Volume.id == 'a') for one in (narrow, wide, whole))
    change = sa.update(models.Volume.__table__).where(models.Volume.id == sa.bindparam('ident'))
    change = change.values(status=sa.bindparam('wanted'))
    reading = db.read_engine.connect()
    raw = db.read_engine.raw_connection()
    cursor = raw.cursor()
    text = 'SELECT id, status, host, size, multiattach FROM volumes WHERE id = %s'

    def read_plainly() -> None:
        cursor.execute(text, ('a',))
        cursor.fetchall()

    def read_object() -> None:
        with orm.Session(db.read_engine) as session:
            session.scalars(whole).one()

    def write() -> None:
        with db.engine.begin() as connection:
            connection.execute(change, {'ident': 'a', 'wanted': 'in-use'})

    return {
        'cursor, 5 columns': read_plainly,
        'Core, 5 columns': lambda: reading.execute(narrow).all(),
        'Core, all columns': lambda: reading.execute(wide).all(),
        'ORM, session of its own': read_object,
        'begin, update, commit': write,
    }


def _measure(steps: list[Callable[[], object]]) -> list[float]:
    """Measure steps in turn, round by round.

    :returns: least ms of CPU of each.
    """
    least = [float('inf')] * len(steps)
    for _ in range(_ROUNDS):
        for number, step in enumerate(steps):
            began = time.process_time()
            for _ in range(_TIMES):
                step()
            least[number] = min(least[number], (time.process_time() - began) / _TIMES * 1000)
    return least


def _open(server: MariaDB | PostgreSQL, driver: str) -> Database:
    url = sa.make_url(server.create_database(driver.partition('+')[2])).set(drivername=driver)
    db = Database(url.render_as_string(hide_password=False))
    migration.sync(db)
    with db.writer() as session:
        session.add(models.VolumeType(id='t', name='t'))
        session.flush()
        session.add(models.Volume(**VOLUME))
    return db


def main() -> int:
    """Measure all drivers."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix='ma-drivers-') as folder:
        pathlib.Path(folder).chmod(0o711)
        for kind, drivers in DRIVERS.items():
            with kind(pathlib.Path(folder) / kind.__name__, durable=False) as server:
                opened = [_open(server, driver) for driver in drivers]
                print(f'{"ms of CPU":<26} {"".join(f"{driver:>24}" for driver in drivers)}')
                steps = [_list_steps(db) for db in opened]
                for name in steps[0]:
                    found = _measure([its[name] for its in steps])
                    print(f'{name:<26} {"".join(f"{one:24.3f}" for one in found)}', flush=True)
                for db in opened:
                    db.close()
    return 0


if __name__ == '__main__':
    sys.exit(main())
