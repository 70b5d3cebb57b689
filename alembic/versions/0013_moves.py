# SPDX-License-Identifier: Apache-2.0
"""Transfers, migrations and managed storage: new tables, and columns that may be NULL, while the service serves."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = '0013'
down_revision = '0012'
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
    known, columns = set(inspector.get_table_names()), {one['name'] for one in inspector.get_columns('volumes')}
    for name, length in (('migration_status', 32), ('managed_from', 255)):
        if name not in columns:
            op.add_column('volumes', sa.Column(name, sa.String(length), nullable=True))
    if 'managed_from' not in {one['name'] for one in inspector.get_columns('snapshots')}:
        op.add_column('snapshots', sa.Column('managed_from', sa.String(255), nullable=True))
    if 'volume_transfers' not in known:
        _create_transfers()
    if 'volume_migrations' not in known:
        _create_migrations()


def _create_transfers() -> None:
    op.create_table(
        'volume_transfers',
        sa.Column('id', sa.String(36), nullable=False),
        sa.Column('volume_id', sa.String(36), nullable=False),
        sa.Column('display_name', sa.String(255), nullable=True),
        sa.Column('salt', sa.String(64), nullable=False),
        sa.Column('key_hash', sa.String(128), nullable=False),
        sa.Column('no_snapshots', sa.Boolean, nullable=False),
        sa.Column('source_project_id', sa.String(255), nullable=False),
        sa.Column('destination_project_id', sa.String(255), nullable=True),
        sa.Column('accepted', sa.Boolean, nullable=False),
        sa.Column('created_at', _INSTANT, nullable=False),
        sa.Column('updated_at', _INSTANT, nullable=True),
        sa.Column('deleted_at', _INSTANT, nullable=True),
        sa.PrimaryKeyConstraint('id', name='pk_volume_transfers'),
        sa.ForeignKeyConstraint(['volume_id'], ['volumes.id'], name='fk_volume_transfers_volume_id_volumes'),
        sa.Index('ix_volume_transfers_volume_id_deleted_at', 'volume_id', 'deleted_at'),
        sa.Index(
            'ix_volume_transfers_source_project_id_deleted_at_created_at_id',
            'source_project_id',
            'deleted_at',
            'created_at',
            'id',
        ),
        sa.Index('ix_volume_transfers_deleted_at_created_at_id', 'deleted_at', 'created_at', 'id'),
        **_MYSQL,
    )


def _create_migrations() -> None:
    op.create_table(
        'volume_migrations',
        sa.Column('id', sa.String(36), nullable=False),
        sa.Column('volume_id', sa.String(36), nullable=False),
        sa.Column('source', sa.String(255), nullable=False),
        sa.Column('destination', sa.String(255), nullable=False),
        sa.Column('zone', sa.String(255), nullable=True),
        sa.Column('service_uuid', sa.String(36), nullable=True),
        sa.Column('new_type_id', sa.String(36), nullable=True),
        sa.Column('held_status', sa.String(32), nullable=False),
        sa.Column('marker', _INSTANT, nullable=False),
        sa.Column('state', sa.String(16), nullable=False),
        sa.Column('state_at', _INSTANT, nullable=False),
        sa.Column('token', sa.String(36), nullable=True),
        sa.Column('progress', sa.Integer, nullable=False),
        sa.Column('digest', sa.String(64), nullable=True),
        sa.Column('error', sa.Text, nullable=True),
        sa.Column('request_id', sa.String(64), nullable=True),
        sa.Column('created_at', _INSTANT, nullable=False),
        sa.Column('updated_at', _INSTANT, nullable=True),
        sa.Column('deleted_at', _INSTANT, nullable=True),
        sa.PrimaryKeyConstraint('id', name='pk_volume_migrations'),
        sa.Index('ix_volume_migrations_volume_id_deleted_at', 'volume_id', 'deleted_at'),
        sa.Index('ix_volume_migrations_destination_deleted_at_state', 'destination', 'deleted_at', 'state'),
        sa.Index('ix_volume_migrations_source_deleted_at_state', 'source', 'deleted_at', 'state'),
        **_MYSQL,
    )
