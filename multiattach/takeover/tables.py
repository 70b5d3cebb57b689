# SPDX-License-Identifier: Apache-2.0
"""The tables of Cinder that are read, and no column more: those of releases 27 to 29, which have them in common."""

from typing import Any

import sqlalchemy as sa

CINDER = sa.MetaData()


def _table(name: str, *columns: sa.Column[Any], marked: type[sa.Boolean] | type[sa.Integer] = sa.Boolean) -> sa.Table:
    """Describe a table; *marked* is the type of the column that tells deleted rows."""
    return sa.Table(name, CINDER, *columns, sa.Column('deleted', marked))


def _texts(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.String) for name in names]


def _times(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.DateTime) for name in names]


def _flags(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.Boolean) for name in names]


def _numbers(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.Integer) for name in names]


VOLUMES = _table(
    'volumes',
    *_texts(
        'id',
        '_name_id',
        'user_id',
        'project_id',
        'host',
        'availability_zone',
        'status',
        'migration_status',
        'display_name',
        'display_description',
        'provider_location',
        'volume_type_id',
        'source_volid',
        'snapshot_id',
        'encryption_key_id',
        'consistencygroup_id',
        'group_id',
        'replication_status',
    ),
    *_numbers('size'),
    *_flags('bootable', 'multiattach', 'use_quota'),
    *_times('created_at', 'updated_at'),
)
METADATA = _table('volume_metadata', *_texts('volume_id', 'key', 'value'))
ADMIN_METADATA = _table('volume_admin_metadata', *_texts('volume_id', 'key', 'value'))
IMAGE_METADATA = _table('volume_glance_metadata', *_texts('volume_id', 'snapshot_id', 'key', 'value'))
ATTACHMENTS = _table(
    'volume_attachment',
    *_texts(
        'id',
        'volume_id',
        'instance_uuid',
        'attached_host',
        'mountpoint',
        'attach_status',
        'attach_mode',
        'connection_info',
        'connector',
    ),
    *_times('attach_time', 'created_at', 'updated_at'),
)
TYPES = _table(
    'volume_types',
    *_texts('id', 'name', 'description', 'qos_specs_id'),
    *_flags('is_public'),
    *_times('created_at', 'updated_at'),
)
EXTRA_SPECS = _table('volume_type_extra_specs', *_texts('volume_type_id', 'key', 'value'))
TYPE_ACCESS = _table('volume_type_projects', *_texts('volume_type_id', 'project_id'), marked=sa.Integer)
ENCRYPTIONS = _table(
    'encryption',
    *_texts('encryption_id', 'volume_type_id', 'provider', 'control_location', 'cipher'),
    *_numbers('key_size'),
    *_times('created_at', 'updated_at'),
)
QOS_SPECS = _table(
    'quality_of_service_specs', *_texts('id', 'specs_id', 'key', 'value'), *_times('created_at', 'updated_at')
)
DEFAULT_TYPES = _table('default_volume_types', *_texts('project_id', 'volume_type_id'))
QUOTAS = _table('quotas', *_texts('project_id', 'resource'), *_numbers('hard_limit'))
QUOTA_CLASSES = _table('quota_classes', *_texts('class_name', 'resource'), *_numbers('hard_limit'))
SNAPSHOTS = _table(
    'snapshots',
    *_texts(
        'id',
        'volume_id',
        'user_id',
        'project_id',
        'status',
        'display_name',
        'display_description',
        'encryption_key_id',
        'cgsnapshot_id',
        'group_snapshot_id',
        'volume_type_id',
    ),
    *_numbers('volume_size'),
    *_flags('use_quota'),
    *_times('created_at', 'updated_at'),
)
SNAPSHOT_METADATA = _table('snapshot_metadata', *_texts('snapshot_id', 'key', 'value'))
BACKUPS = _table('backups', *_texts('id', 'volume_id', 'project_id', 'display_name', 'status'))
GROUPS = _table('groups', *_texts('id', 'project_id', 'name', 'status'))
TRANSFERS = _table('transfers', *_texts('id', 'volume_id', 'display_name'))
SERVICES = _table('services', *_texts('binary', 'host'), *_flags('disabled'), *_times('updated_at'))
