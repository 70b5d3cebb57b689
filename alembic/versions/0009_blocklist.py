# SPDX-License-Identifier: Apache-2.0
"""Entries that this service made in the blocklists of Ceph: a new table, so that it can run while it serves."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = '0009'
down_revision = '0008'
branch_labels = None
depends_on = None

_INSTANT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), 'mysql', 'mariadb')
_MYSQL = {
    f'{dialect}_{key}': value
    for dialect in ('mysql', 'mariadb')
    for key, value in (('engine', 'InnoDB'), ('charset', 'utf8mb4'), ('collate', 'utf8mb4_bin'))
}


def upgrade() -> None:
    op.create_table(
        'blocklist_entries',
        sa.Column('fsid', sa.String(36), nullable=False),
        sa.Column('address', sa.String(80), nullable=False),
        sa.Column('backend', sa.String(255), nullable=False),
        sa.Column('cause', sa.String(16), nullable=False),
        sa.Column('owner', sa.String(255), nullable=False),
        sa.Column('volume_id', sa.String(36), nullable=True),
        sa.Column('state', sa.String(16), nullable=False),
        sa.Column('state_at', _INSTANT, nullable=False),
        sa.Column('until', _INSTANT, nullable=True),
        sa.PrimaryKeyConstraint('fsid', 'address', name='pk_blocklist_entries'),
        **_MYSQL,
    )
    op.create_index('ix_blocklist_entries_backend_until', 'blocklist_entries', ['backend', 'until'])
    op.create_index('ix_blocklist_entries_volume_id', 'blocklist_entries', ['volume_id'])
