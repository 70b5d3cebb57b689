# SPDX-License-Identifier: Apache-2.0
"""Schema versions: the scripts in ``alembic/`` at the top of the tree."""

import functools
import pathlib
import re
import sys

import sqlalchemy as sa

from multiattach.db.database import Database
from multiattach.domain import errors


def find_scripts() -> pathlib.Path:
    """Find the folder of ``alembic.ini``: beside the package in a checkout, else below ``share/`` of the prefix.

    :raises ConfigurationError: the scripts are not installed.
    """
    top = pathlib.Path(__file__).resolve().parents[2]
    for folder in (top / 'alembic', pathlib.Path(sys.prefix, 'share', 'multiattach', 'alembic')):
        if (folder / 'alembic.ini').is_file():
            return folder
    raise errors.ConfigurationError('The migration scripts (alembic.ini) are missing: install the package again.')


@functools.cache
def head() -> str:
    """Return the newest revision that this code knows; alembic itself, which is large, is not asked."""
    made, followed = set[str](), set[str]()
    for script in (find_scripts() / 'versions').glob('*.py'):
        text = script.read_text()
        made |= set(re.findall(r"^revision = '(\w+)'", text, re.MULTILINE))
        followed |= set(re.findall(r"^down_revision = '(\w+)'", text, re.MULTILINE))
    (newest,) = made - followed
    return newest


def current(db: Database) -> str | None:
    """Return the revision of a database, None for an empty one."""
    with db.engine.connect() as connection:
        if not sa.inspect(connection).has_table('alembic_version'):
            return None
        revision: str | None = connection.scalar(sa.text('SELECT version_num FROM alembic_version'))
        return revision


def sync(db: Database, revision: str = 'head') -> None:
    """Bring a database to a revision; it may be there already."""
    # Late: alembic is large, and only this needs it.
    import alembic.command
    import alembic.config

    config = alembic.config.Config(str(find_scripts() / 'alembic.ini'))
    # A connection without a transaction: alembic begins it, and may leave it for what only works outside.
    with db.engine.connect() as connection:
        config.attributes['connection'] = connection
        alembic.command.upgrade(config, revision)


def check(db: Database) -> None:
    """Refuse to start on a database of another revision.

    :raises ConfigurationError: the message names the remedy.
    """
    found, wanted = current(db), head()
    if found != wanted:
        raise errors.ConfigurationError(
            f'The database of option connection in [database] is at revision {found}, this '
            f'release needs {wanted}: run "multiattach-manage db sync".'
        )
