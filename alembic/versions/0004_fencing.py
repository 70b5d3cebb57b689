# SPDX-License-Identifier: Apache-2.0
"""Fenced attachments and hosts: new columns and a new table, so that it can run while the service serves."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = '0004'
down_revision = '0003'
branch_labels = None
depends_on = None

_INSTANT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), 'mysql', 'mariadb')
_LONG = sa.Text().with_variant(mysql.MEDIUMTEXT(), 'mysql', 'mariadb')
_MYSQL = {
    f'{dialect}_{key}': value
    for dialect in ('mysql', 'mariadb')
    for key, value in (('engine', 'InnoDB'), ('charset', 'utf8mb4'), ('collate', 'utf8mb4_bin'))
}


def upgrade() -> None:
    op.add_column('attachments', sa.Column('fenced_at', _INSTANT, nullable=True))
    op.add_column('attachments', sa.Column('swept_at', _INSTANT, nullable=True))
    op.add_column('attachments', sa.Column('fence_proof', _LONG, nullable=True))
    op.create_table(
        'fenced_hosts',
        sa.Column('host', sa.String(255), nullable=False),
        sa.Column('fenced_at', _INSTANT, nullable=False),
        sa.Column('out_of_service', sa.Boolean, nullable=False),
        sa.Column('reason', sa.String(255), nullable=True),
        sa.Column('request_id', sa.String(64), nullable=True),
        sa.PrimaryKeyConstraint('host', name='pk_fenced_hosts'),
        **_MYSQL,
    )
