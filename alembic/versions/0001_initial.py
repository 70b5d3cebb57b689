# SPDX-License-Identifier: Apache-2.0
"""Initial tables: volumes, types, attachments, services, servers, messages."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = '0001'
down_revision = None
branch_labels = None
depends_on = None

# No import of live models: this revision stays what it was.
INSTANT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), 'mysql', 'mariadb')
LONG_TEXT = sa.Text().with_variant(mysql.MEDIUMTEXT(), 'mysql', 'mariadb')
# Names and keys that differ in case only are two, as on SQLite and PostgreSQL.
MYSQL = {
    f'{dialect}_{key}': value
    for dialect in ('mysql', 'mariadb')
    for key, value in (('engine', 'InnoDB'), ('charset', 'utf8mb4'), ('collate', 'utf8mb4_bin'))
}


def _create_table(name: str, *items: sa.schema.SchemaItem) -> None:
    op.create_table(name, *items, **MYSQL)


def upgrade() -> None:
    _create_table(
        'messages',
        sa.Column('id', sa.String(36), nullable=False),
        sa.Column('project_id', sa.String(255), nullable=False),
        sa.Column('request_id', sa.String(64), nullable=True),
        sa.Column('resource_type', sa.String(64), nullable=False),
        sa.Column('resource_uuid', sa.String(36), nullable=True),
        sa.Column('event_id', sa.String(64), nullable=False),
        sa.Column('message_level', sa.String(16), nullable=False),
        sa.Column('user_message', sa.Text(), nullable=False),
        sa.Column('created_at', INSTANT, nullable=False),
        sa.Column('guaranteed_until', INSTANT, nullable=False),
        sa.PrimaryKeyConstraint('id', name='pk_messages'),
    )
    op.create_index('ix_messages_project_id_created_at_id', 'messages', ['project_id', 'created_at', 'id'])
    _create_table(
        'servers',
        sa.Column('id', sa.String(36), nullable=False),
        sa.Column('name', sa.String(255), nullable=False),
        sa.Column('project_id', sa.String(255), nullable=False),
        sa.Column('host', sa.String(255), nullable=False),
        sa.Column('power_state', sa.String(32), nullable=False),
        sa.Column('devices', LONG_TEXT, nullable=True),
        sa.Column('created_at', INSTANT, nullable=False),
        sa.Column('updated_at', INSTANT, nullable=True),
        sa.Column('deleted_at', INSTANT, nullable=True),
        sa.PrimaryKeyConstraint('id', name='pk_servers'),
    )
    op.create_index('ix_servers_host_deleted_at', 'servers', ['host', 'deleted_at'])
    _create_table(
        'services',
        sa.Column('id', sa.String(36), nullable=False),
        sa.Column('binary', sa.String(64), nullable=False),
        sa.Column('host', sa.String(255), nullable=False),
        sa.Column('availability_zone', sa.String(255), nullable=False),
        sa.Column('disabled', sa.Boolean(), nullable=False),
        sa.Column('disabled_reason', sa.String(255), nullable=True),
        sa.Column('created_at', INSTANT, nullable=False),
        sa.Column('updated_at', INSTANT, nullable=True),
        sa.Column('heartbeat_at', INSTANT, nullable=True),
        sa.Column('report', LONG_TEXT, nullable=True),
        sa.PrimaryKeyConstraint('id', name='pk_services'),
        sa.UniqueConstraint('binary', 'host', name='uq_services_binary_host'),
    )
    _create_table(
        'volume_types',
        sa.Column('id', sa.String(36), nullable=False),
        sa.Column('name', sa.String(255), nullable=False),
        sa.Column('live_name', sa.String(255), nullable=True),
        sa.Column('description', sa.String(255), nullable=True),
        sa.Column('is_public', sa.Boolean(), nullable=False),
        sa.Column('created_at', INSTANT, nullable=False),
        sa.Column('updated_at', INSTANT, nullable=True),
        sa.Column('deleted_at', INSTANT, nullable=True),
        sa.PrimaryKeyConstraint('id', name='pk_volume_types'),
        sa.UniqueConstraint('live_name', name='uq_volume_types_live_name'),
    )
    _create_table(
        'volume_type_extra_specs',
        sa.Column('volume_type_id', sa.String(36), nullable=False),
        sa.Column('key', sa.String(255), nullable=False),
        sa.Column('value', sa.String(255), nullable=True),
        sa.ForeignKeyConstraint(
            ['volume_type_id'], ['volume_types.id'], name='fk_volume_type_extra_specs_volume_type_id_volume_types'
        ),
        sa.PrimaryKeyConstraint('volume_type_id', 'key', name='pk_volume_type_extra_specs'),
    )
    _create_table(
        'volumes',
        sa.Column('id', sa.String(36), nullable=False),
        sa.Column('project_id', sa.String(255), nullable=False),
        sa.Column('user_id', sa.String(255), nullable=True),
        sa.Column('display_name', sa.String(255), nullable=True),
        sa.Column('display_description', sa.String(255), nullable=True),
        sa.Column('size', sa.Integer(), nullable=False),
        sa.Column('new_size', sa.Integer(), nullable=True),
        sa.Column('volume_type_id', sa.String(36), nullable=False),
        sa.Column('multiattach', sa.Boolean(), nullable=False),
        sa.Column('bootable', sa.Boolean(), nullable=False),
        sa.Column('readonly', sa.Boolean(), nullable=True),
        sa.Column('host', sa.String(255), nullable=True),
        sa.Column('availability_zone', sa.String(255), nullable=True),
        sa.Column('service_uuid', sa.String(36), nullable=True),
        sa.Column('status', sa.String(32), nullable=False),
        sa.Column('status_at', INSTANT, nullable=False),
        sa.Column('claim', sa.String(16), nullable=True),
        sa.Column('request_id', sa.String(64), nullable=True),
        sa.Column('created_at', INSTANT, nullable=False),
        sa.Column('updated_at', INSTANT, nullable=True),
        sa.Column('deleted_at', INSTANT, nullable=True),
        sa.ForeignKeyConstraint(['volume_type_id'], ['volume_types.id'], name='fk_volumes_volume_type_id_volume_types'),
        sa.PrimaryKeyConstraint('id', name='pk_volumes'),
    )
    op.create_index('ix_volumes_deleted_at_created_at_id', 'volumes', ['deleted_at', 'created_at', 'id'])
    op.create_index('ix_volumes_host_deleted_at_status', 'volumes', ['host', 'deleted_at', 'status'])
    op.create_index(
        'ix_volumes_project_id_deleted_at_created_at_id', 'volumes', ['project_id', 'deleted_at', 'created_at', 'id']
    )
    op.create_index('ix_volumes_volume_type_id_deleted_at', 'volumes', ['volume_type_id', 'deleted_at'])
    _create_table(
        'attachments',
        sa.Column('id', sa.String(36), nullable=False),
        sa.Column('volume_id', sa.String(36), nullable=False),
        sa.Column('instance_uuid', sa.String(36), nullable=True),
        sa.Column('state', sa.String(32), nullable=False),
        sa.Column('state_at', INSTANT, nullable=False),
        sa.Column('attach_mode', sa.String(8), nullable=True),
        sa.Column('attached_host', sa.String(255), nullable=True),
        sa.Column('initiator', sa.String(255), nullable=True),
        sa.Column('mountpoint', sa.String(255), nullable=True),
        sa.Column('connector', LONG_TEXT, nullable=True),
        sa.Column('connection_info', LONG_TEXT, nullable=True),
        sa.Column('attached_at', INSTANT, nullable=True),
        sa.Column('detached_at', INSTANT, nullable=True),
        sa.Column('error', sa.Text(), nullable=True),
        sa.Column('agent_host', sa.String(255), nullable=True),
        sa.Column('tag', sa.String(60), nullable=True),
        sa.Column('seen_size', sa.Integer(), nullable=True),
        sa.Column('delete_on_termination', sa.Boolean(), nullable=False),
        sa.Column('timeline', LONG_TEXT, nullable=False),
        sa.Column('created_at', INSTANT, nullable=False),
        sa.Column('updated_at', INSTANT, nullable=True),
        sa.Column('deleted_at', INSTANT, nullable=True),
        sa.ForeignKeyConstraint(['volume_id'], ['volumes.id'], name='fk_attachments_volume_id_volumes'),
        sa.PrimaryKeyConstraint('id', name='pk_attachments'),
    )
    op.create_index('ix_attachments_agent_host_deleted_at_state', 'attachments', ['agent_host', 'deleted_at', 'state'])
    op.create_index('ix_attachments_state', 'attachments', ['state'])
    op.create_index('ix_attachments_deleted_at_created_at_id', 'attachments', ['deleted_at', 'created_at', 'id'])
    op.create_index('ix_attachments_instance_uuid_deleted_at', 'attachments', ['instance_uuid', 'deleted_at'])
    op.create_index('ix_attachments_volume_id_deleted_at_state', 'attachments', ['volume_id', 'deleted_at', 'state'])
    _create_table(
        'volume_metadata',
        sa.Column('volume_id', sa.String(36), nullable=False),
        sa.Column('key', sa.String(255), nullable=False),
        sa.Column('value', sa.String(255), nullable=False),
        sa.ForeignKeyConstraint(['volume_id'], ['volumes.id'], name='fk_volume_metadata_volume_id_volumes'),
        sa.PrimaryKeyConstraint('volume_id', 'key', name='pk_volume_metadata'),
    )
    _create_table(
        'volume_image_metadata',
        sa.Column('volume_id', sa.String(36), nullable=False),
        sa.Column('key', sa.String(255), nullable=False),
        sa.Column('value', sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(['volume_id'], ['volumes.id'], name='fk_volume_image_metadata_volume_id_volumes'),
        sa.PrimaryKeyConstraint('volume_id', 'key', name='pk_volume_image_metadata'),
    )
    _create_table(
        'volume_type_projects',
        sa.Column('volume_type_id', sa.String(36), nullable=False),
        sa.Column('project_id', sa.String(255), nullable=False),
        sa.ForeignKeyConstraint(
            ['volume_type_id'], ['volume_types.id'], name='fk_volume_type_projects_volume_type_id_volume_types'
        ),
        sa.PrimaryKeyConstraint('volume_type_id', 'project_id', name='pk_volume_type_projects'),
    )
    _create_table(
        'volume_type_encryptions',
        sa.Column('volume_type_id', sa.String(36), nullable=False),
        sa.Column('encryption_id', sa.String(36), nullable=False),
        sa.Column('provider', sa.String(255), nullable=False),
        sa.Column('control_location', sa.String(16), nullable=False),
        sa.Column('cipher', sa.String(255), nullable=True),
        sa.Column('key_size', sa.Integer(), nullable=True),
        sa.Column('created_at', INSTANT, nullable=False),
        sa.Column('updated_at', INSTANT, nullable=True),
        sa.ForeignKeyConstraint(
            ['volume_type_id'], ['volume_types.id'], name='fk_volume_type_encryptions_volume_type_id_volume_types'
        ),
        sa.PrimaryKeyConstraint('volume_type_id', name='pk_volume_type_encryptions'),
    )
    _create_table(
        'default_volume_types',
        sa.Column('project_id', sa.String(255), nullable=False),
        sa.Column('volume_type_id', sa.String(36), nullable=False),
        sa.ForeignKeyConstraint(
            ['volume_type_id'], ['volume_types.id'], name='fk_default_volume_types_volume_type_id_volume_types'
        ),
        sa.PrimaryKeyConstraint('project_id', name='pk_default_volume_types'),
    )
    _create_table(
        'quota_limits',
        sa.Column('scope', sa.String(16), nullable=False),
        sa.Column('name', sa.String(255), nullable=False),
        sa.Column('resource', sa.String(300), nullable=False),
        sa.Column('hard_limit', sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint('scope', 'name', 'resource', name='pk_quota_limits'),
    )
    _create_table(
        'project_locks',
        sa.Column('project_id', sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint('project_id', name='pk_project_locks'),
    )
