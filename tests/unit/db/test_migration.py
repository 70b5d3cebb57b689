# SPDX-License-Identifier: Apache-2.0
import pytest
from alembic import autogenerate
from alembic.runtime.migration import MigrationContext

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
