# SPDX-License-Identifier: Apache-2.0
"""Leases of steps that take long or are tried again: a new table, so that it can run while it serves."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = '0005'
down_revision = '0004'
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
        'step_leases',
        sa.Column('ident', sa.String(36), nullable=False),
        sa.Column('since', _INSTANT, nullable=False),
        sa.Column('owner', sa.String(255), nullable=False),
        sa.Column('lease_until', _INSTANT, nullable=False),
        sa.Column('attempts', sa.Integer, nullable=False),
        sa.Column('retry_at', _INSTANT, nullable=True),
        sa.Column('error', sa.Text, nullable=True),
        sa.PrimaryKeyConstraint('ident', name='pk_step_leases'),
        **_MYSQL,
    )
