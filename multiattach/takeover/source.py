# SPDX-License-Identifier: Apache-2.0
"""Cinder's database, read and never written: all of it as it was at one moment."""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from multiattach.db import connections
from multiattach.domain import errors
from multiattach.takeover import tables

_TIMEOUT = 10  # s until a server that does not answer is given up
# MariaDB and PostgreSQL show a transaction of this kind the same rows to its end; SQLite always does.
_SNAPSHOT = {'mysql': 'REPEATABLE READ', 'mariadb': 'REPEATABLE READ', 'postgresql': 'REPEATABLE READ'}
Rows = Sequence[sa.Row[Any]]


@dataclasses.dataclass(frozen=True)
class Contents:
    """The live rows of each table, named as in :mod:`multiattach.takeover.tables`.

    :param revision: version of its schema, as Cinder's own migrations write it.
    """

    revision: str | None
    volumes: Rows = ()
    metadata: Rows = ()
    admin_metadata: Rows = ()
    image_metadata: Rows = ()
    attachments: Rows = ()
    types: Rows = ()
    extra_specs: Rows = ()
    type_access: Rows = ()
    encryptions: Rows = ()
    qos_specs: Rows = ()
    default_types: Rows = ()
    quotas: Rows = ()
    quota_classes: Rows = ()
    snapshots: Rows = ()
    snapshot_metadata: Rows = ()
    backups: Rows = ()
    groups: Rows = ()
    transfers: Rows = ()
    services: Rows = ()


_TABLES: dict[str, sa.Table] = {
    field.name: getattr(tables, field.name.upper())
    for field in dataclasses.fields(Contents)
    if field.name != 'revision'
}


def read(url: str) -> Contents:
    """Read a database of Cinder.

    :param url: as in ``connection`` of Cinder's ``[database]``; it may hold a password, and no error tells it.
    :raises ConfigurationError: it cannot be opened.
    :raises InvalidInput: it is no database of Cinder, or of a release that is not known here.
    """
    with _open(url) as connection:
        _check(connection)
        return Contents(
            _read_revision(connection), **{name: _read_live(connection, table) for name, table in _TABLES.items()}
        )


@contextlib.contextmanager
def _open(url: str) -> Iterator[sa.Connection]:
    engine = None
    try:
        parts = _choose_driver(sa.make_url(url))
        name = parts.get_backend_name()
        options: dict[str, Any] = {'isolation_level': _SNAPSHOT[name]} if name in _SNAPSHOT else {}
        connect_args = {} if name == 'sqlite' else {'connect_timeout': _TIMEOUT}
        engine = sa.create_engine(parts, hide_parameters=True, connect_args=connect_args, **options)
        connection = engine.connect()
    except (sa.exc.SQLAlchemyError, ImportError, OSError, ValueError) as exc:
        if engine is not None:
            engine.dispose()
        raise errors.ConfigurationError(
            f"Cinder's database cannot be opened ({type(exc).__name__}). Check the URL, the account and that the "
            'server runs: it is option connection in [database] of cinder.conf.'
        ) from None
    try:
        with connection:
            yield connection
    finally:
        engine.dispose()


def _choose_driver(url: sa.URL) -> sa.URL:
    """Have the database use the driver that is installed here, whatever Cinder's own is."""
    name = url.get_backend_name()
    if name == 'sqlite':
        if not url.database or not _is_file(url.database):
            raise FileNotFoundError
        return url
    plain = url.set(drivername={'mariadb': 'mysql'}.get(name, name))
    return sa.make_url(connections.choose_driver(plain.render_as_string(hide_password=False)))


def _is_file(path: str) -> bool:
    try:
        with open(path, 'rb') as file:  # SQLite would make one
            return file.read(1) != b''
    except OSError:
        return False


def _check(connection: sa.Connection) -> None:
    """See that each column is there that is to be read."""
    found = sa.inspect(connection)
    names = set(found.get_table_names())
    lacking = sorted({table.name for table in _TABLES.values()} - names)
    if {'volumes', 'volume_attachment'} & set(lacking):
        raise errors.InvalidInput(
            f'This is no database of Cinder: it has no table {lacking[0]}. Give the URL that option connection in '
            '[database] of cinder.conf has.'
        )
    lacking += [
        f'{table.name}.{column.name}'
        for table in _TABLES.values()
        if table.name in names
        for column in table.columns
        if column.name not in {each['name'] for each in found.get_columns(table.name)}
    ]
    if lacking:
        raise errors.InvalidInput(
            f'The database is of a release of Cinder that is not known here: it has no {", ".join(lacking[:5])}. '
            'Releases 27 (2025.2) to 29 can be read: upgrade Cinder to one of them, with "cinder-manage db sync".'
        )


def _read_revision(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table('alembic_version'):
        return None
    return connection.scalar(sa.select(sa.column('version_num')).select_from(sa.table('alembic_version')))


def _read_live(connection: sa.Connection, table: sa.Table) -> Rows:
    mark = table.c.deleted
    gone = mark == (sa.false() if isinstance(mark.type, sa.Boolean) else 0)
    order = [table.c[name] for name in ('created_at', 'id', 'key', 'resource') if name in table.c]
    return connection.execute(sa.select(table).where(sa.or_(mark.is_(None), gone)).order_by(*order)).all()
