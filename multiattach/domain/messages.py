# SPDX-License-Identifier: Apache-2.0
"""Kinds of user messages, as programs know them: ``VOLUME_`` resource, action, detail."""

NO_BACKEND = 'VOLUME_VOLUME_001_003'
NO_RETYPE = 'VOLUME_VOLUME_003_001'
MIGRATE_FAILED = 'VOLUME_VOLUME_023_001'
ATTACH_FAILED = 'VOLUME_VOLUME_005_001'
DETACH_FAILED = 'VOLUME_VOLUME_006_001'
# By the event that ends a step on a volume's storage.
STORAGE_FAILED = {
    'create_failed': 'VOLUME_VOLUME_001_002',
    'delete_failed': 'VOLUME_VOLUME_002_001',
    'extend_failed': 'VOLUME_VOLUME_004_001',
    'revert_failed': 'VOLUME_VOLUME_001_001',
    'manage_failed': 'VOLUME_VOLUME_021_001',
    'unmanage_failed': 'VOLUME_VOLUME_022_001',
    'upload_failed': 'VOLUME_VOLUME_003_004',
    'reimage_failed': 'VOLUME_VOLUME_016_001',
}
# By the event that ends a step on a snapshot; a revert's is one on the volume.
SNAPSHOT_FAILED = {'create_failed': 'VOLUME_VOLUME_SNAPSHOT_009_001', 'delete_failed': 'VOLUME_VOLUME_SNAPSHOT_010_001'}
