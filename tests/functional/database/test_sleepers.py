# SPDX-License-Identifier: Apache-2.0
"""A process that sleeps in the middle of a transaction keeps nobody else from its rows for long."""

import pathlib
import time

import pytest
import sqlalchemy as sa
from oslo_db import exception as db_exc

from multiattach.db import connections
from multiattach.db.database import Database
from tests.deployments import surroundings

LOCK = 'SELECT key_name FROM sleepers WHERE key_name = 1 FOR UPDATE'


@pytest.fixture
def databases(server, tmp_path: pathlib.Path, monkeypatch):
    monkeypatch.setattr(connections, 'IDLE_LIMIT', 1)
    url = server.make_database()
    made = [Database(url) for _ in range(2)]
    with made[0].writer() as session:
        session.execute(sa.text('CREATE TABLE sleepers (key_name INT PRIMARY KEY)'))
        session.execute(sa.text('INSERT INTO sleepers VALUES (1)'))
    yield made
    for one in made:
        one.close()


def test_its_locks_run_out(databases: list[Database], server: surroundings.Surroundings) -> None:
    writer = databases[0].writer()
    sleeper = writer.__enter__()
    sleeper.execute(sa.text(LOCK))
    started = time.monotonic()
    with databases[1].writer() as other:
        other.execute(sa.text(LOCK))
        assert 0.5 < time.monotonic() - started < 10
    with pytest.raises(db_exc.DBConnectionError):
        sleeper.execute(sa.text(LOCK))  # nothing of it is done
    sleeper.close()
    with databases[0].writer() as again:
        assert again.scalar(sa.text(LOCK)) == 1


def test_those_that_write_nothing_at_the_moment_are_left_alone(databases: list[Database]) -> None:
    for _ in range(2):
        with databases[0].writer() as session:
            before = session.scalar(sa.text(LOCK))
        time.sleep(1.5)
    assert before == 1
