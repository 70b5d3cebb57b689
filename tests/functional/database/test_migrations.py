# SPDX-License-Identifier: Apache-2.0
"""The migrations on each database: from nothing, and from each earlier revision with rows in all tables."""

import contextlib
import datetime
import re

import alembic.config
import alembic.script
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from multiattach.db import database, migration, models

SCRIPTS = alembic.script.ScriptDirectory.from_config(
    alembic.config.Config(str(migration.find_scripts() / 'alembic.ini'))
)
REVISIONS = [script.revision for script in SCRIPTS.walk_revisions()][::-1]
MOMENT = datetime.datetime(2026, 1, 2, 3, 4, 5, 678901)
VERSIONS = 'alembic_version'


@pytest.fixture
def empty(any_database, tmp_path):
    served = any_database.dialect != 'sqlite'
    opened = database.Database(any_database.make_database() if served else f'sqlite:///{tmp_path}/m.sqlite')
    yield opened
    opened.close()


def reflect(db):
    metadata = sa.MetaData()
    metadata.reflect(db.engine)
    return [table for table in metadata.sorted_tables if table.name != VERSIONS]


def value_of(column, number):
    """Make up a value: the longest text, letters beyond ASCII, all six digits of a second."""
    if column.foreign_keys:
        [key] = column.foreign_keys
        return value_of(key.column, number)
    if isinstance(column.type, sa.DateTime):
        return MOMENT + datetime.timedelta(seconds=number)
    if isinstance(column.type, sa.Boolean | sa.Integer):
        return number % 2
    length = getattr(column.type, 'length', None) or 70_000
    text = f'{number}é\N{SNOWMAN}\N{PILE OF POO}'
    if 'json' in str(column.type).lower() or column.name in JSON_COLUMNS:
        return '{}'
    return (text + 'x' * length)[: min(length, 60_000 // 4)]


JSON_COLUMNS = {
    column.name
    for table in models.Base.metadata.tables.values()
    for column in table.columns
    if isinstance(column.type, models.Json)
}


def fill(db):
    """Write a full row and one with nothing but what must be, into each table."""
    rows, tables = {}, reflect(db)
    with db.engine.begin() as connection:
        for table in tables:
            for number in (1, 2):
                row = {
                    column.name: value_of(column, number)
                    for column in table.columns
                    if number == 1 or not column.nullable
                }
                connection.execute(table.insert().values(row))
                rows.setdefault(table.name, []).append(row)
    return rows


def check_rows(db, rows):
    """Each row is there as it was, in the columns that are left."""
    tables = reflect(db)
    with db.engine.connect() as connection:
        for table in tables:
            found = [dict(row._mapping) for row in connection.execute(sa.select(table))]
            for row in rows.get(table.name, []):
                left = {key: value for key, value in row.items() if key in table.columns}
                assert [one for one in found if left.items() <= one.items()], (table.name, left)


def compare(db):
    with db.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={'compare_type': True})
        return compare_metadata(context, models.Base.metadata)


def test_from_nothing_the_tables_are_those_of_the_models(empty):
    migration.sync(empty)
    assert migration.current(empty) == REVISIONS[-1] == migration.head()
    assert compare(empty) == []
    migration.sync(empty)
    migration.check(empty)


@pytest.mark.parametrize('revision', REVISIONS)
def test_from_each_revision_rows_stay_as_they_are(empty, revision):
    migration.sync(empty, revision)
    rows = fill(empty)
    assert rows
    migration.sync(empty)
    check_rows(empty, rows)
    assert compare(empty) == []


def test_names_that_differ_in_case_or_accents_only_are_two(empty):
    migration.sync(empty)
    with empty.writer() as session:
        for number, name in enumerate(('name', 'Name', 'námé')):
            session.add(models.VolumeType(id=str(number), name=name, live_name=name))
    with empty.reader() as session:
        found = session.scalars(sa.select(models.VolumeType.id).where(models.VolumeType.live_name == 'name'))
        assert list(found) == ['0']


def test_a_moment_and_a_long_text_come_back_whole(empty):
    migration.sync(empty)
    text = '\N{PILE OF POO}' * 40_000
    with empty.writer() as session:
        session.add(
            models.Server(
                id='s', name='n', project_id='p', host='h', power_state='running', devices=[text], created_at=MOMENT
            )
        )
    with empty.reader() as session:
        row = session.get(models.Server, 's')
        assert (row.created_at, row.devices) == (MOMENT, [text])


# -- online ------------------------------------------------------------------------------------

_INDEX = re.compile(r'CREATE (?:UNIQUE )?INDEX (?!CONCURRENTLY)\S+ ON (\w+)', re.IGNORECASE)


@contextlib.contextmanager
def listen(db, statements):
    def note(_connection, _cursor, statement, *_rest):
        statements.append(statement)

    sa.event.listen(db.engine, 'before_cursor_execute', note)
    yield
    sa.event.remove(db.engine, 'before_cursor_execute', note)


def list_files(db):
    """Return the file of each table: another one after it was written anew."""
    with db.engine.connect() as connection:
        return dict(
            connection.execute(
                sa.text(
                    "SELECT relname, relfilenode FROM pg_class WHERE relkind = 'r' AND relnamespace = "
                    "'public'::regnamespace"
                )
            )
            .tuples()
            .all()
        )


def test_mariadb_changes_no_table_by_writing_it_anew(mariadb):
    """With this setting it refuses to copy or to rebuild; what it does allows writes meanwhile."""
    url = mariadb.make_database()
    db = database.Database(url)
    migration.sync(db, REVISIONS[0])
    fill(db)
    db.close()
    strict = database.Database(url)

    @sa.event.listens_for(strict.engine, 'connect')
    def _set(connection, _record):
        with contextlib.closing(connection.cursor()) as cursor:
            cursor.execute("SET SESSION alter_algorithm = 'NOCOPY'")

    strict.engine.dispose()
    with strict.engine.connect() as connection, pytest.raises(Exception, match='ALGORITHM=NOCOPY'):
        connection.execute(sa.text('ALTER TABLE volumes MODIFY size BIGINT'))  # it does refuse
    migration.sync(strict)
    assert migration.current(strict) == REVISIONS[-1]
    strict.close()


def test_postgresql_changes_no_table_by_writing_it_anew(postgresql):
    db = database.Database(postgresql.make_database())
    migration.sync(db, REVISIONS[0])
    fill(db)
    before = list_files(db)
    statements: list[str] = []
    with listen(db, statements):
        migration.sync(db)
    after = list_files(db)
    assert {name: after.get(name) for name in before} == before
    # CREATE INDEX keeps writers out of a table that has rows; CONCURRENTLY does not.
    indexed = {match[1] for statement in statements for match in _INDEX.finditer(statement)}
    assert indexed.isdisjoint(before)
    with db.engine.begin() as connection:
        connection.execute(sa.text('ALTER TABLE volumes ALTER size TYPE bigint'))
    assert list_files(db)['volumes'] != before['volumes']  # so the comparison tells
    db.close()
