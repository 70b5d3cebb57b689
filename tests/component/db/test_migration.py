# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys

import pytest
import sqlalchemy as sa
from alembic import autogenerate
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from multiattach.db import database, migration, models
from multiattach.domain import errors


@pytest.fixture
def db(tmp_path):
    opened = database.Database(f'sqlite:///{tmp_path}/m.sqlite')
    yield opened
    opened.close()


def test_models_and_migrations_agree(db):
    migration.sync(db)
    with db.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={'compare_type': True})
        assert autogenerate.compare_metadata(context, models.Base.metadata) == []


def test_sync_twice_is_success_and_check_passes(db):
    migration.sync(db)
    migration.sync(db)
    migration.check(db)
    assert migration.current(db) == migration.head()


def test_0002_leaves_what_is_there_alone(db):
    migration.sync(db, '0001')
    with db.engine.begin() as connection:
        connection.execute(
            sa.text(
                'INSERT INTO volume_types (id, name, live_name, is_public, created_at) '
                "VALUES ('one', 'multi', 'multi', 1, '2026-01-01 00:00:00.000000')"
            )
        )
    migration.sync(db, '0002')
    with db.reader() as session:
        found = session.execute(sa.text('SELECT id, name FROM volume_types')).all()
        assert found == [('one', 'multi')]
        for table in ('qos_specs', 'qos_specs_items', 'volume_type_qos_specs'):
            assert session.execute(sa.text(f'SELECT count(*) FROM {table}')).scalar_one() == 0


def test_0003_makes_clones_of_nothing_of_what_is_there(db):
    migration.sync(db, '0002')
    with db.engine.begin() as connection:
        connection.execute(
            sa.text(
                'INSERT INTO volume_types (id, name, live_name, is_public, created_at) '
                "VALUES ('one', 'multi', 'multi', 1, '2026-01-01 00:00:00.000000')"
            )
        )
        connection.execute(
            sa.text(
                'INSERT INTO volumes (id, project_id, size, volume_type_id, multiattach, bootable, status, '
                "status_at, created_at) VALUES ('v', 'p', 1, 'one', 1, 0, 'available', "
                "'2026-01-01 00:00:00.000000', '2026-01-01 00:00:00.000000')"
            )
        )
    migration.sync(db, '0003')
    with db.reader() as session:
        assert session.execute(sa.text('SELECT id, source_volid FROM volumes')).all() == [('v', None)]


def test_a_database_without_tables_is_refused_with_the_remedy(db):
    with pytest.raises(errors.ConfigurationError, match='multiattach-manage db sync'):
        migration.check(db)


def test_migrations_import_no_live_models():
    for script in (migration.find_scripts() / 'versions').glob('*.py'):
        assert 'import multiattach' not in script.read_text()
        assert 'from multiattach' not in script.read_text()


def test_names_fit_every_database():
    """MySQL allows 64 characters, PostgreSQL 63."""
    for table in models.Base.metadata.tables.values():
        names = [i.name for i in table.indexes] + [c.name for c in table.constraints]
        assert all(name and len(name) <= 63 for name in names)


def test_the_newest_revision_is_that_of_alembic(db):
    scripts = ScriptDirectory.from_config(Config(str(migration.find_scripts() / 'alembic.ini')))
    assert migration.head() == scripts.get_current_head()


def test_programs_do_not_load_alembic():
    done = subprocess.run(
        [sys.executable, '-c', 'import sys, multiattach.cmd.volume; print("alembic" in sys.modules)'],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == 'False\n'
