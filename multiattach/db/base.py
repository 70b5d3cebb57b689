# SPDX-License-Identifier: Apache-2.0
"""What all tables have in common."""

import datetime
import json
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.dialects import mysql

# MySQL's DATETIME and TEXT would cut fractions of a second and 64 KiB.
Instant = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), 'mysql', 'mariadb')
LongText = sa.Text().with_variant(mysql.MEDIUMTEXT(), 'mysql', 'mariadb')

NAMING = {
    'ix': 'ix_%(table_name)s_%(column_0_N_name)s',
    'uq': 'uq_%(table_name)s_%(column_0_N_name)s',
    'fk': 'fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s',
    'pk': 'pk_%(table_name)s',
}


def now() -> datetime.datetime:
    """Return the time as the database keeps it: UTC without zone."""
    return datetime.datetime.now(datetime.UTC).replace(tzinfo=None)


class Json(sa.TypeDecorator[Any]):
    """A JSON value in a text column (never searched by the database)."""

    impl = LongText
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> str | None:
        return None if value is None else json.dumps(value, separators=(',', ':'))

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> Any:
        return None if value is None else json.loads(value)


class Base(orm.DeclarativeBase):
    metadata = sa.MetaData(naming_convention=NAMING)
    type_annotation_map = {datetime.datetime: Instant}


def table_of(model: type[Base]) -> sa.Table:
    """Return the table of a mapped class, for statements without mapped rows."""
    table = model.__table__
    assert isinstance(table, sa.Table)
    return table


def is_one_of(column: Any, states: Iterable[str]) -> sa.ColumnElement[bool]:
    """Build a condition of names that are constants: parameters would be put in anew at each execution."""
    found: sa.ColumnElement[bool] = column.in_([sa.literal_column(f"'{state}'") for state in sorted(states)])
    return found


class Lifetime:
    """When a row came, changed and went."""

    created_at: orm.Mapped[datetime.datetime] = orm.mapped_column(default=now)
    updated_at: orm.Mapped[datetime.datetime | None] = orm.mapped_column(onupdate=now)
    deleted_at: orm.Mapped[datetime.datetime | None]
