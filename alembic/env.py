# SPDX-License-Identifier: Apache-2.0
"""Runs migrations on the connection that multiattach.db.migration opened."""

from alembic import context

from multiattach.db import models

connection = context.config.attributes.get('connection')
if connection is None:
    raise SystemExit('Run migrations with "multiattach-manage db sync", which knows the database.')

context.configure(
    connection=connection,
    target_metadata=models.Base.metadata,
    # SQLite cannot alter a table in place; alembic copies it instead.
    render_as_batch=connection.dialect.name == 'sqlite',
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
