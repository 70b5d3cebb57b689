# SPDX-License-Identifier: Apache-2.0
"""QoS specs and the types that have them: new tables only, so that it can run while the service serves."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = '0002'
down_revision = '0001'
branch_labels = None
depends_on = None

INSTANT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), 'mysql', 'mariadb')
MYSQL = {
    f'{dialect}_{key}': value
    for dialect in ('mysql', 'mariadb')
    for key, value in (('engine', 'InnoDB'), ('charset', 'utf8mb4'), ('collate', 'utf8mb4_bin'))
}


def upgrade() -> None:
    op.create_table(
        'qos_specs',
        sa.Column('id', sa.String(36), nullable=False),
        sa.Column('name', sa.String(255), nullable=False),
        sa.Column('consumer', sa.String(16), nullable=False),
        sa.Column('created_at', INSTANT, nullable=False),
        sa.Column('updated_at', INSTANT, nullable=True),
        sa.PrimaryKeyConstraint('id', name='pk_qos_specs'),
        sa.UniqueConstraint('name', name='uq_qos_specs_name'),
        **MYSQL,
    )
    op.create_table(
        'qos_specs_items',
        sa.Column('qos_specs_id', sa.String(36), nullable=False),
        sa.Column('key', sa.String(255), nullable=False),
        sa.Column('value', sa.String(255), nullable=True),
        sa.ForeignKeyConstraint(['qos_specs_id'], ['qos_specs.id'], name='fk_qos_specs_items_qos_specs_id_qos_specs'),
        sa.PrimaryKeyConstraint('qos_specs_id', 'key', name='pk_qos_specs_items'),
        **MYSQL,
    )
    op.create_table(
        'volume_type_qos_specs',
        sa.Column('volume_type_id', sa.String(36), nullable=False),
        sa.Column('qos_specs_id', sa.String(36), nullable=False),
        sa.ForeignKeyConstraint(
            ['volume_type_id'], ['volume_types.id'], name='fk_volume_type_qos_specs_volume_type_id_volume_types'
        ),
        sa.ForeignKeyConstraint(
            ['qos_specs_id'], ['qos_specs.id'], name='fk_volume_type_qos_specs_qos_specs_id_qos_specs'
        ),
        sa.PrimaryKeyConstraint('volume_type_id', name='pk_volume_type_qos_specs'),
        **MYSQL,
    )
    op.create_index('ix_volume_type_qos_specs_qos_specs_id', 'volume_type_qos_specs', ['qos_specs_id'])
