# SPDX-License-Identifier: Apache-2.0
import pytest

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
