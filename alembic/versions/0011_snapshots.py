# SPDX-License-Identifier: Apache-2.0
"""Snapshots and their metadata, and which one a volume was made from: it can run while the service serves."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = '0011'
down_revision = '0010'
branch_labels = None
depends_on = None

_INSTANT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), 'mysql', 'mariadb')
_MYSQL = {
    f'{dialect}_{key}': value
    for dialect in ('mysql', 'mariadb')
    for key, value in (('engine', 'InnoDB'), ('charset', 'utf8mb4'), ('collate', 'utf8mb4_bin'))
}


def upgrade() -> None:
    # On MySQL each statement commits: an interrupted run finds what was made.
    inspector = sa.inspect(op.get_bind())
    known = set(inspector.get_table_names())
    if 'snapshots' not in known:
        op.create_table(
            'snapshots',
            sa.Column('id', sa.String(36), nullable=False),
            sa.Column('volume_id', sa.String(36), nullable=False),
            sa.Column('project_id', sa.String(255), nullable=False),
            sa.Column('user_id', sa.String(255), nullable=True),
            sa.Column('display_name', sa.String(255), nullable=True),
            sa.Column('display_description', sa.String(255), nullable=True),
            sa.Column('size', sa.Integer, nullable=False),
            sa.Column('status', sa.String(32), nullable=False),
            sa.Column('status_at', _INSTANT, nullable=False),
            sa.Column('progress', sa.String(8), nullable=False),
            sa.Column('request_id', sa.String(64), nullable=True),
            sa.Column('created_at', _INSTANT, nullable=False),
            sa.Column('updated_at', _INSTANT, nullable=True),
            sa.Column('deleted_at', _INSTANT, nullable=True),
            sa.PrimaryKeyConstraint('id', name='pk_snapshots'),
            sa.ForeignKeyConstraint(['volume_id'], ['volumes.id'], name='fk_snapshots_volume_id_volumes'),
            sa.Index('ix_snapshots_volume_id_deleted_at_created_at_id', 'volume_id', 'deleted_at', 'created_at', 'id'),
            sa.Index(
                'ix_snapshots_project_id_deleted_at_created_at_id', 'project_id', 'deleted_at', 'created_at', 'id'
            ),
            sa.Index('ix_snapshots_deleted_at_created_at_id', 'deleted_at', 'created_at', 'id'),
            sa.Index('ix_snapshots_status_deleted_at', 'status', 'deleted_at'),
            **_MYSQL,
        )
    if 'snapshot_metadata' not in known:
        op.create_table(
            'snapshot_metadata',
            sa.Column('snapshot_id', sa.String(36), nullable=False),
            sa.Column('key', sa.String(255), nullable=False),
            sa.Column('value', sa.String(255), nullable=False),
            sa.PrimaryKeyConstraint('snapshot_id', 'key', name='pk_snapshot_metadata'),
            sa.ForeignKeyConstraint(
                ['snapshot_id'], ['snapshots.id'], name='fk_snapshot_metadata_snapshot_id_snapshots'
            ),
            sa.Index('ix_snapshot_metadata_key_value', 'key', 'value'),
            **_MYSQL,
        )
    if 'snapshot_id' not in {column['name'] for column in inspector.get_columns('volumes')}:
        op.add_column('volumes', sa.Column('snapshot_id', sa.String(36), nullable=True))
