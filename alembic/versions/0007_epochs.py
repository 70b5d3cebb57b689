# SPDX-License-Identifier: Apache-2.0
"""How far the database has come, by backend: a new table, so that it can run while it serves."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = '0007'
down_revision = '0006'
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
        'epochs',
        sa.Column('backend', sa.String(255), nullable=False),
        sa.Column('lineage', sa.String(36), nullable=False),
        sa.Column('counter', sa.BigInteger, nullable=False),
        sa.Column('counted_at', _INSTANT, nullable=False),
        sa.Column('doubted_at', _INSTANT, nullable=True),
        sa.Column('seen_lineage', sa.String(36), nullable=True),
        sa.Column('seen_counter', sa.BigInteger, nullable=True),
        sa.PrimaryKeyConstraint('backend', name='pk_epochs'),
        **_MYSQL,
    )
