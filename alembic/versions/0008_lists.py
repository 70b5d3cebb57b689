# SPDX-License-Identifier: Apache-2.0
"""Indexes for long lists and for what a host has or had: it can run while the service serves."""

import sqlalchemy as sa
from alembic import op

revision = '0008'
down_revision = '0007'
branch_labels = None
depends_on = None

_INDEXES = (
    ('volumes', ('deleted_at', 'display_name', 'id')),
    ('volumes', ('deleted_at', 'size', 'id')),
    ('volumes', ('deleted_at', 'status', 'id')),
    ('volumes', ('deleted_at', 'updated_at', 'id')),
    ('volumes', ('availability_zone', 'deleted_at', 'created_at', 'id')),
    ('volume_metadata', ('key', 'value')),
    ('attachments', ('volume_id', 'deleted_at', 'created_at', 'id')),
    ('attachments', ('attached_host', 'deleted_at', 'state')),
    ('attachments', ('agent_host', 'fenced_at')),
)


def upgrade() -> None:
    # Each index commits what was done: an interrupted run finds those before.
    inspector = sa.inspect(op.get_bind())
    known = {index['name'] for table in {table for table, _ in _INDEXES} for index in inspector.get_indexes(table)}
    concurrently = op.get_context().dialect.name == 'postgresql'
    for table, columns in _INDEXES:
        name = f'ix_{table}_{"_".join(columns)}'
        if concurrently:
            with op.get_context().autocommit_block():  # or writers would wait for the index
                # One that was interrupted is there, and is of no use.
                op.drop_index(name, table, if_exists=True, postgresql_concurrently=True)
                op.create_index(name, table, columns, postgresql_concurrently=True)
        elif name not in known:
            op.create_index(name, table, columns)
