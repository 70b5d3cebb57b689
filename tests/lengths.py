# SPDX-License-Identifier: Apache-2.0
"""Makes SQLite refuse what MySQL and PostgreSQL refuse: texts longer than their column, and NUL."""

import sqlalchemy as sa

from multiattach.db import models


def enforce(engine: sa.Engine) -> None:
    """Add triggers to all tables; other databases need none."""
    if engine.dialect.name != 'sqlite':
        return
    with engine.begin() as connection:
        for table in models.Base.metadata.sorted_tables:
            for column in table.columns:
                length = getattr(column.type, 'length', None)
                if not isinstance(column.type, sa.String) or length is None:
                    continue
                new = f'NEW."{column.name}"'
                text = f'Data too long for column {table.name}.{column.name}'
                for event in ('INSERT', 'UPDATE'):
                    connection.exec_driver_sql(
                        f'CREATE TRIGGER "{table.name}_{column.name}_{event}" BEFORE {event} '
                        f'ON "{table.name}" '
                        f'WHEN length({new}) > {length} OR instr({new}, char(0)) > 0 '
                        f"BEGIN SELECT RAISE(ABORT, '{text}'); END"
                    )
