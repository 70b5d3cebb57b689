# SPDX-License-Identifier: Apache-2.0
"""Gateways and what is exported at each: new tables, so that it can run while the service serves."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = '0010'
down_revision = '0009'
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
    # On MySQL each statement commits: an interrupted run finds what was made.
    known = set(sa.inspect(op.get_bind()).get_table_names())
    if 'gateways' not in known:
        op.create_table(
            'gateways',
            sa.Column('name', sa.String(255), nullable=False),
            sa.Column('backend', sa.String(255), nullable=False),
            sa.Column('portal', sa.String(255), nullable=False),
            sa.Column('cephx_user', sa.String(255), nullable=False),
            sa.Column('state', sa.String(16), nullable=False),
            sa.Column('state_at', _INSTANT, nullable=False),
            sa.Column('entries', _LONG, nullable=True),
            sa.PrimaryKeyConstraint('name', name='pk_gateways'),
            sa.Index('ix_gateways_backend', 'backend'),
            **_MYSQL,
        )
    if 'gateway_exports' not in known:
        op.create_table(
            'gateway_exports',
            sa.Column('volume_id', sa.String(36), nullable=False),
            sa.Column('gateway', sa.String(255), nullable=False),
            sa.Column('state', sa.String(16), nullable=False),
            sa.Column('state_at', _INSTANT, nullable=False),
            sa.Column('error', sa.Text, nullable=True),
            sa.PrimaryKeyConstraint('volume_id', 'gateway', name='pk_gateway_exports'),
            sa.Index('ix_gateway_exports_gateway_state', 'gateway', 'state'),
            **_MYSQL,
        )
