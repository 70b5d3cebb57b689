# SPDX-License-Identifier: Apache-2.0
"""Since when a volume is marked, and initiators to look for: it can run while the service serves."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = '0006'
down_revision = '0005'
branch_labels = None
depends_on = None

_INSTANT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), 'mysql', 'mariadb')


def upgrade() -> None:
    # The index below commits what was done: an interrupted run finds the column.
    known = {column['name'] for column in sa.inspect(op.get_bind()).get_columns('volumes')}
    if 'claimed_at' not in known:
        op.add_column('volumes', sa.Column('claimed_at', _INSTANT, nullable=True))
    name, columns = 'ix_attachments_initiator_deleted_at', ['initiator', 'deleted_at']
    if op.get_context().dialect.name != 'postgresql':
        op.create_index(name, 'attachments', columns)
        return
    with op.get_context().autocommit_block():  # or writers would wait for the index
        # One that was interrupted is there, and is of no use.
        op.drop_index(name, 'attachments', if_exists=True, postgresql_concurrently=True)
        op.create_index(name, 'attachments', columns, postgresql_concurrently=True)
