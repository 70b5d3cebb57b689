# SPDX-License-Identifier: Apache-2.0
"""The rules, with Block Storage's and Compute's names and defaults (contract 7.1), noun by noun.

Which calls ask a rule is declared by the routes, see :func:`multiattach.api.routing.route`.
"""

from oslo_policy import policy

ADMIN = 'rule:admin_api'
MEMBER = 'rule:admin_or_member'
READER = 'rule:admin_or_reader'
SYSTEM_READER = 'rule:admin_or_system_reader'
ADMIN_OR_SERVICE = 'rule:admin_or_service_token'

PERSONAS = [
    policy.RuleDefault('context_is_admin', 'role:admin', 'Administrators, in any project.'),
    policy.RuleDefault('admin_api', 'is_admin:True or rule:context_is_admin', 'Default for administrative APIs.'),
    policy.RuleDefault(
        'admin_or_member',
        'rule:admin_api or (role:member and project_id:%(project_id)s)',
        'Default for APIs that change the resources of a project.',
    ),
    policy.RuleDefault(
        'admin_or_reader',
        'rule:admin_api or (role:reader and project_id:%(project_id)s)',
        'Default for APIs that read the resources of a project.',
    ),
    policy.RuleDefault(
        'admin_or_system_reader',
        'rule:admin_api or (role:reader and system_scope:all)',
        'Default for APIs that read hosts and targets.',
    ),
    policy.RuleDefault(
        'admin_or_service_token',
        'rule:admin_api or service_roles:service',
        'Default for fencing and repairs: administrators, and requests with a service token.',
    ),
]

# Name, who passes by default, and what it guards.
RULES: tuple[tuple[str, str, str], ...] = (
    # Volumes and their actions (contract 7.1).
    ('volume:create', MEMBER, 'Create a volume.'),
    ('volume:create_from_image', MEMBER, 'Create a volume from an image.'),
    ('volume:multiattach', MEMBER, 'Create a multiattach volume, or retype a volume to multiattach.'),
    ('volume:get', READER, 'Show a volume.'),
    ('volume:get_all', READER, 'List volumes.'),
    ('volume:update', MEMBER, 'Update a volume.'),
    ('volume:delete', MEMBER, 'Delete a volume.'),
    ('volume:force_delete', ADMIN, 'Delete a volume in any status.'),
    ('volume:retype', MEMBER, 'Change the type of a volume.'),
    ('volume:extend', MEMBER, 'Extend a volume.'),
    ('volume:extend_attached_volume', MEMBER, 'Extend a volume that is in use.'),
    ('volume:get_volume_metadata', READER, "Show a volume's metadata."),
    ('volume:create_volume_metadata', MEMBER, 'Create volume metadata.'),
    ('volume:update_volume_metadata', MEMBER, 'Update volume metadata.'),
    ('volume:delete_volume_metadata', MEMBER, 'Delete volume metadata.'),
    ('volume_extension:volume_tenant_attribute', READER, 'Show the project of a volume.'),
    ('volume_extension:volume_host_attribute', ADMIN, 'Show the backend of a volume.'),
    ('volume_extension:volume_mig_status_attribute', ADMIN, 'Show the migration status of a volume.'),
    ('volume:revert_to_snapshot', MEMBER, 'Revert a volume to a snapshot.'),
    ('volume:update_readonly_flag', MEMBER, 'Set or clear the read-only flag of a volume.'),
    ('volume_extension:volume_image_metadata:show', READER, 'Show image metadata.'),
    ('volume_extension:volume_image_metadata:set', MEMBER, 'Set image metadata.'),
    ('volume_extension:volume_image_metadata:remove', MEMBER, 'Remove image metadata.'),
    ('volume_extension:volume_admin_actions:reset_status', ADMIN, 'Reset the status of a volume.'),
    ('volume_extension:volume_admin_actions:force_delete', ADMIN, 'Delete a volume in any status.'),
    ('volume_extension:volume_admin_actions:force_detach', ADMIN, 'Force-detach a volume.'),
    ('volume_extension:volume_admin_actions:migrate_volume', ADMIN, 'Migrate a volume to another backend.'),
    ('volume_extension:volume_admin_actions:migrate_volume_completion', ADMIN, 'Complete a migration.'),
    ('volume_extension:volume_actions:attach', MEMBER, 'Mark a volume as attached.'),
    ('volume_extension:volume_actions:detach', MEMBER, 'Detach a volume.'),
    ('volume_extension:volume_actions:initialize_connection', MEMBER, 'Export a volume to an initiator.'),
    (
        'volume_extension:volume_actions:terminate_connection',
        MEMBER,
        'Terminate the export of a volume to an initiator.',
    ),
    ('volume_extension:volume_actions:reserve', MEMBER, 'Mark a volume as being attached.'),
    ('volume_extension:volume_actions:unreserve', MEMBER, 'Unmark a volume as being attached.'),
    ('volume_extension:volume_actions:begin_detaching', MEMBER, 'Mark a volume as being detached.'),
    ('volume_extension:volume_actions:roll_detaching', MEMBER, 'Unmark a volume as being detached.'),
    ('volume_extension:volume_actions:upload_image', MEMBER, 'Upload a volume as an image.'),
    ('volume_extension:volume_actions:upload_public', ADMIN, 'Upload a volume as a public image.'),
    ('volume:reimage', MEMBER, 'Replace the contents of a volume by those of an image.'),
    ('volume:reimage_reserved', MEMBER, 'Replace the contents of a reserved volume by those of an image.'),
    # Snapshots.
    ('volume:create_snapshot', MEMBER, 'Create a snapshot.'),
    ('volume:get_snapshot', READER, 'Show a snapshot.'),
    ('volume:get_all_snapshots', READER, 'List snapshots.'),
    ('volume:update_snapshot', MEMBER, 'Update a snapshot.'),
    ('volume:delete_snapshot', MEMBER, 'Delete a snapshot.'),
    ('volume:get_snapshot_metadata', READER, "Show a snapshot's metadata."),
    ('volume:update_snapshot_metadata', MEMBER, 'Create or update snapshot metadata.'),
    ('volume:delete_snapshot_metadata', MEMBER, 'Delete snapshot metadata.'),
    ('volume_extension:extended_snapshot_attributes', READER, 'Show the project and the progress of a snapshot.'),
    ('volume_extension:snapshot_admin_actions:reset_status', ADMIN, 'Reset the status of a snapshot.'),
    ('volume_extension:snapshot_admin_actions:force_delete', ADMIN, 'Delete a snapshot in any status.'),
    ('snapshot_extension:snapshot_actions:update_snapshot_status', MEMBER, 'Update the status of a snapshot.'),
    # Storage that becomes a volume or a snapshot, or remains of one.
    ('volume_extension:list_manageable', ADMIN, 'List storage that may be managed.'),
    ('volume_extension:volume_manage', ADMIN, 'Manage storage as a volume.'),
    ('volume_extension:volume_unmanage', ADMIN, 'Unmanage a volume.'),
    ('snapshot_extension:list_manageable', ADMIN, 'List snapshots of the storage that may be managed.'),
    ('snapshot_extension:snapshot_manage', ADMIN, 'Manage a snapshot that the storage has.'),
    ('snapshot_extension:snapshot_unmanage', ADMIN, 'Unmanage a snapshot.'),
    # Transfers.
    ('volume:get_all_transfers', READER, 'List transfers of volumes.'),
    ('volume:create_transfer', MEMBER, 'Offer a volume to another project.'),
    ('volume:get_transfer', READER, 'Show a transfer.'),
    ('volume:accept_transfer', MEMBER, 'Accept a transfer.'),
    ('volume:delete_transfer', MEMBER, 'Withdraw a transfer.'),
    # Attachments; those for reading have no counterpart in Cinder (contract 7.4).
    ('volume:attachment_get', READER, 'Show an attachment.'),
    ('volume:attachment_get_all', READER, 'List attachments.'),
    ('volume:attachment_create', MEMBER, 'Create an attachment, which reserves the volume for a server.'),
    ('volume:attachment_update', MEMBER, 'Update an attachment with a connector.'),
    ('volume:attachment_complete', MEMBER, 'Mark an attachment as attached.'),
    ('volume:attachment_delete', MEMBER, 'Delete an attachment.'),
    ('volume:multiattach_bootable_volume', MEMBER, 'Attach a bootable multiattach volume to a second server.'),
    # Volume types, their extra specs, access and encryption, and default types.
    ('volume_extension:type_create', ADMIN, 'Create a type.'),
    ('volume_extension:type_update', ADMIN, 'Update a type.'),
    ('volume_extension:type_delete', ADMIN, 'Delete a type.'),
    ('volume_extension:type_get', READER, 'Show a type.'),
    ('volume_extension:type_get_all', READER, 'List types.'),
    (
        'volume_extension:volume_type_access:get_all_for_type',
        ADMIN,
        'List the projects that have access to a private type.',
    ),
    ('volume_extension:volume_type_access:addProjectAccess', ADMIN, 'Grant a project access to a private type.'),
    (
        'volume_extension:volume_type_access:removeProjectAccess',
        ADMIN,
        'Revoke the access of a project to a private type.',
    ),
    ('volume_extension:volume_type_encryption:get', ADMIN, 'Show the encryption of a type.'),
    ('volume_extension:volume_type_encryption:create', ADMIN, 'Create the encryption of a type.'),
    ('volume_extension:volume_type_encryption:update', ADMIN, 'Update the encryption of a type.'),
    ('volume_extension:volume_type_encryption:delete', ADMIN, 'Delete the encryption of a type.'),
    ('volume_extension:default_set_or_update', ADMIN, "Set a project's default type."),
    ('volume_extension:default_get', ADMIN, "Show a project's default type."),
    ('volume_extension:default_get_all', ADMIN, 'List default types.'),
    ('volume_extension:default_unset', ADMIN, "Unset a project's default type."),
    ('volume_extension:access_types_extra_specs', READER, 'Show the extra specs of types.'),
    ('volume_extension:access_types_qos_specs_id', ADMIN, 'Show the qos_specs_id of types.'),
    ('volume_extension:types_extra_specs:index', READER, 'List extra specs.'),
    ('volume_extension:types_extra_specs:show', READER, 'Show an extra spec.'),
    ('volume_extension:types_extra_specs:read_sensitive', ADMIN, 'Show sensitive extra specs.'),
    ('volume_extension:types_extra_specs:create', ADMIN, 'Create extra specs.'),
    ('volume_extension:types_extra_specs:update', ADMIN, 'Update an extra spec.'),
    ('volume_extension:types_extra_specs:delete', ADMIN, 'Delete an extra spec.'),
    # QoS specs.
    ('volume_extension:qos_specs_manage:get_all', ADMIN, 'List QoS specs, or their associations with types.'),
    ('volume_extension:qos_specs_manage:get', ADMIN, 'Show QoS specs.'),
    ('volume_extension:qos_specs_manage:create', ADMIN, 'Create QoS specs.'),
    (
        'volume_extension:qos_specs_manage:update',
        ADMIN,
        'Update QoS specs; associate them with types and disassociate them.',
    ),
    ('volume_extension:qos_specs_manage:delete', ADMIN, 'Delete QoS specs, or some of their keys.'),
    # Quotas.
    ('volume_extension:quotas:show', READER, "Show a project's quotas."),
    ('volume_extension:quotas:update', ADMIN, "Update a project's quotas."),
    ('volume_extension:quotas:delete', ADMIN, "Delete a project's quotas, which restores the defaults."),
    ('volume_extension:quota_classes:get', ADMIN, 'Show a quota class.'),
    ('volume_extension:quota_classes:update', ADMIN, 'Update a quota class.'),
    # Services, pools, zones and limits.
    ('volume_extension:services:index', ADMIN, 'List services.'),
    ('volume_extension:services:update', ADMIN, 'Enable or disable a service.'),
    ('scheduler_extension:scheduler_stats:get_pools', ADMIN, 'List the pools of backends.'),
    ('volume_extension:capabilities', ADMIN, 'Show the capabilities of a backend.'),
    ('volume:freeze_host', ADMIN, 'Freeze a backend.'),
    ('volume:thaw_host', ADMIN, 'Thaw a backend.'),
    ('volume:failover_host', ADMIN, 'Fail a backend over.'),
    ('volume:availability_zone_list', READER, 'List availability zones.'),
    ('limits_extension:used_limits', READER, 'Show the usage of limits.'),
    # Hosts of volumes.
    ('volume_extension:hosts', ADMIN, 'List, show, enable and disable hosts.'),
    # User messages.
    ('message:get_all', READER, 'List messages.'),
    ('message:get', READER, 'Show a message.'),
    ('message:delete', MEMBER, 'Delete a message.'),
    # What Block Storage does not have: explanations, hosts, targets …
    ('multiattach:attachment_explain', READER, 'Explain an attachment: its timeline and its next step.'),
    ('multiattach:volume_explain', READER, 'Explain the status of a volume and its next step.'),
    ('multiattach:explain_internals', SYSTEM_READER, 'Show hosts, initiators and full errors in explanations.'),
    ('multiattach:hosts', SYSTEM_READER, 'List and show compute hosts.'),
    ('multiattach:targets', SYSTEM_READER, 'List and show the actual state of targets.'),
    ('multiattach:volume_reservations', READER, 'Show who is registered at a volume with SCSI-3 reservations.'),
    ('multiattach:volume_reservations_clear', ADMIN, 'End registrations at a volume.'),
    # … drift …
    ('multiattach:doctor', ADMIN_OR_SERVICE, 'Detect drift on all backends and hosts, and repair it.'),
    ('multiattach:host_explain', SYSTEM_READER, 'Explain a host: its records and its actual state.'),
    # … and fences: for admins, and for services such as the one that evacuates servers.
    ('multiattach:attachment_fence', ADMIN_OR_SERVICE, 'Fence an attachment.'),
    ('multiattach:host_fence', ADMIN_OR_SERVICE, 'Fence a host.'),
    ('multiattach:host_unfence', ADMIN_OR_SERVICE, 'Unfence a host.'),
    # The compute endpoint, with Compute's names.
    ('os_compute_api:servers:index', READER, 'List servers.'),
    ('os_compute_api:servers:index:get_all_tenants', ADMIN, 'List the servers of all projects.'),
    ('os_compute_api:servers:show', READER, 'Show a server.'),
    ('os_compute_api:servers:show:host_status', ADMIN, 'Show the status of the host of a server.'),
    ('os_compute_api:os-extended-server-attributes', ADMIN, 'Show the host of a server.'),
    ('os_compute_api:os-volumes-attachments:index', READER, 'List the volume attachments of a server.'),
    ('os_compute_api:os-volumes-attachments:show', READER, 'Show a volume attachment of a server.'),
    ('os_compute_api:os-volumes-attachments:create', MEMBER, 'Attach a volume to a server.'),
    (
        'os_compute_api:os-volumes-attachments:update',
        MEMBER,
        'Update the delete_on_termination flag of a volume attachment.',
    ),
    ('os_compute_api:os-volumes-attachments:delete', MEMBER, 'Detach a volume from a server.'),
)
