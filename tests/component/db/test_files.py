# SPDX-License-Identifier: Apache-2.0
import concurrent.futures

import pytest
import sqlalchemy as sa

from multiattach.db import migration
from multiattach.db.database import Database


@pytest.mark.parametrize('before', [None, 0o644, 0o660])
def test_a_database_in_a_file_is_nothing_for_other_users(tmp_path, before):
    """It holds CHAP secrets."""
    path = tmp_path / 'x.sqlite'
    if before is not None:
        path.touch()
        path.chmod(before)
    db = Database(f'sqlite:///{path}')
    migration.sync(db)
    with db.reader() as session:
        session.connection()
        modes = {found.name: found.stat().st_mode & 0o777 for found in tmp_path.iterdir()}
    db.close()
    assert 'x.sqlite-wal' in modes
    assert set(modes.values()) == {0o660 if before == 0o660 else 0o640 if before else 0o600}


def test_a_file_stays_open_between_transactions(tmp_path):
    """Closing it costs more than a transaction: the last connection removes the write-ahead log."""
    db = Database(f'sqlite:///{tmp_path}/x.sqlite')
    migration.sync(db)
    opened = []
    sa.event.listen(db.engine, 'connect', lambda *_: opened.append(1))
    for _ in range(5):
        with db.transaction() as work:
            work.execute(sa.text("UPDATE volumes SET size = 1 WHERE id = 'x'"))
        with db.rows() as rows:
            rows.execute(sa.text('SELECT 1'))
    assert not opened
    assert (tmp_path / 'x.sqlite-wal').exists()
    db.close()
    assert not (tmp_path / 'x.sqlite-wal').exists()


def test_as_many_may_have_a_file_open_as_there_are_threads(tmp_path):
    db = Database(f'sqlite:///{tmp_path}/x.sqlite', max_pool_size=1, max_overflow=0)
    migration.sync(db)

    def write(number):
        with db.transaction() as work:
            work.execute(
                sa.text('INSERT INTO fenced_hosts VALUES (:host, :at, 0, NULL, NULL)'),
                {'host': f'h{number}', 'at': '2026-01-01 00:00:00'},
            )

    with concurrent.futures.ThreadPoolExecutor(30) as pool:
        list(pool.map(write, range(300)))
    with db.rows() as rows:
        assert rows.execute(sa.text('SELECT count(*) FROM fenced_hosts')).scalar_one() == 300
    db.close()
