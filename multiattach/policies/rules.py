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
    policy.RuleDefault('context_is_admin', 'role:admin', 'Who is an admin, in whatever project.'),
    policy.RuleDefault(
        'admin_api', 'is_admin:True or rule:context_is_admin', 'Who may make the calls of the admin API.'
    ),
    policy.RuleDefault(
        'admin_or_member',
        'rule:admin_api or (role:member and project_id:%(project_id)s)',
        'Who may change what the project has.',
    ),
    policy.RuleDefault(
        'admin_or_reader',
        'rule:admin_api or (role:reader and project_id:%(project_id)s)',
        'Who may see what the project has.',
    ),
    policy.RuleDefault(
        'admin_or_system_reader',
        'rule:admin_api or (role:reader and system_scope:all)',
        'Who may see hosts and targets.',
    ),
    policy.RuleDefault(
        'admin_or_service_token',
        'rule:admin_api or service_roles:service',
        'Who may cut off what others use: admins, and calls with a service token.',
    ),
]

# Name, who passes by default, and what it guards.
RULES: tuple[tuple[str, str, str], ...] = (
    # Volumes and their actions (contract 7.1).
    ('volume:create', MEMBER, 'Create a volume.'),
    ('volume:multiattach', MEMBER, 'Create a volume that several servers may share, or retype to one.'),
    ('volume:get', READER, 'Show a volume.'),
    ('volume:get_all', READER, 'List volumes.'),
    ('volume:update', MEMBER, 'Update a volume.'),
    ('volume:delete', MEMBER, 'Delete a volume.'),
    ('volume:force_delete', ADMIN, 'Delete a volume in any status.'),
    ('volume:retype', MEMBER, 'Change the type of a volume.'),
    ('volume:extend', MEMBER, 'Extend a volume.'),
    ('volume:extend_attached_volume', MEMBER, 'Extend a volume in use.'),
    ('volume:get_volume_metadata', READER, 'Read metadata.'),
    ('volume:create_volume_metadata', MEMBER, 'Add metadata.'),
    ('volume:update_volume_metadata', MEMBER, 'Change metadata.'),
    ('volume:delete_volume_metadata', MEMBER, 'Delete metadata.'),
    ('volume_extension:volume_tenant_attribute', READER, "Show the volume's project."),
    ('volume_extension:volume_host_attribute', ADMIN, "Show the volume's backend."),
    ('volume_extension:volume_mig_status_attribute', ADMIN, "Show the volume's migration."),
    ('volume:update_readonly_flag', MEMBER, 'Let nobody write to a volume.'),
    ('volume_extension:volume_image_metadata:show', READER, 'Show image metadata.'),
    ('volume_extension:volume_image_metadata:set', MEMBER, 'Set image metadata.'),
    ('volume_extension:volume_image_metadata:remove', MEMBER, 'Take image metadata away.'),
    ('volume_extension:volume_admin_actions:reset_status', ADMIN, "Put a volume's status right."),
    ('volume_extension:volume_admin_actions:force_delete', ADMIN, 'Delete a volume in any status.'),
    ('volume_extension:volume_admin_actions:force_detach', ADMIN, 'Detach a volume.'),
    ('volume_extension:volume_actions:attach', MEMBER, 'Mark a volume as attached.'),
    ('volume_extension:volume_actions:detach', MEMBER, 'Detach a volume.'),
    ('volume_extension:volume_actions:initialize_connection', MEMBER, 'Have an initiator admitted.'),
    ('volume_extension:volume_actions:terminate_connection', MEMBER, 'Have an initiator turned away.'),
    ('volume_extension:volume_actions:reserve', MEMBER, 'Mark a volume as being attached.'),
    ('volume_extension:volume_actions:unreserve', MEMBER, 'Take that mark back.'),
    ('volume_extension:volume_actions:begin_detaching', MEMBER, 'Mark a volume as being detached.'),
    ('volume_extension:volume_actions:roll_detaching', MEMBER, 'Take that mark back.'),
    # Attachments; those for reading have no counterpart in Cinder (contract 7.4).
    ('volume:attachment_get', READER, 'Show an attachment.'),
    ('volume:attachment_get_all', READER, 'List attachments.'),
    ('volume:attachment_create', MEMBER, 'Reserve a volume for a server.'),
    ('volume:attachment_update', MEMBER, 'Give an attachment its connector.'),
    ('volume:attachment_complete', MEMBER, 'Mark an attachment as attached.'),
    ('volume:attachment_delete', MEMBER, 'Delete an attachment.'),
    ('volume:multiattach_bootable_volume', MEMBER, 'Share a bootable volume that is in use.'),
    # Volume types, their extra specs, access and encryption, and default types.
    ('volume_extension:type_create', ADMIN, 'Create a type.'),
    ('volume_extension:type_update', ADMIN, 'Update a type.'),
    ('volume_extension:type_delete', ADMIN, 'Delete a type.'),
    ('volume_extension:type_get', READER, 'Show a type.'),
    ('volume_extension:type_get_all', READER, 'List types.'),
    ('volume_extension:volume_type_access:get_all_for_type', ADMIN, 'List the projects that may use a type.'),
    ('volume_extension:volume_type_access:addProjectAccess', ADMIN, 'Let a project use a type.'),
    ('volume_extension:volume_type_access:removeProjectAccess', ADMIN, "Take a project's use of a type back."),
    ('volume_extension:volume_type_encryption:get', ADMIN, 'Show an encryption record.'),
    ('volume_extension:volume_type_encryption:create', ADMIN, 'Create an encryption record.'),
    ('volume_extension:volume_type_encryption:update', ADMIN, 'Change an encryption record.'),
    ('volume_extension:volume_type_encryption:delete', ADMIN, 'Delete an encryption record.'),
    ('volume_extension:default_set_or_update', ADMIN, "Set a project's default type."),
    ('volume_extension:default_get', ADMIN, "Show a project's default type."),
    ('volume_extension:default_get_all', ADMIN, 'List default types.'),
    ('volume_extension:default_unset', ADMIN, "Forget a project's default type."),
    ('volume_extension:access_types_extra_specs', READER, 'See extra specs in types.'),
    ('volume_extension:access_types_qos_specs_id', ADMIN, 'See qos_specs_id in types.'),
    ('volume_extension:types_extra_specs:index', READER, 'List extra specs.'),
    ('volume_extension:types_extra_specs:show', READER, 'Show an extra spec.'),
    ('volume_extension:types_extra_specs:read_sensitive', ADMIN, 'See extra specs that are not for users.'),
    ('volume_extension:types_extra_specs:create', ADMIN, 'Set extra specs.'),
    ('volume_extension:types_extra_specs:update', ADMIN, 'Change an extra spec.'),
    ('volume_extension:types_extra_specs:delete', ADMIN, 'Delete an extra spec.'),
    # QoS specs.
    ('volume_extension:qos_specs_manage:get_all', ADMIN, 'List QoS specs, or the types that have them.'),
    ('volume_extension:qos_specs_manage:get', ADMIN, 'Show QoS specs.'),
    ('volume_extension:qos_specs_manage:create', ADMIN, 'Create QoS specs.'),
    ('volume_extension:qos_specs_manage:update', ADMIN, 'Change QoS specs, give them to types and take them back.'),
    ('volume_extension:qos_specs_manage:delete', ADMIN, 'Delete QoS specs or keys of them.'),
    # Quotas.
    ('volume_extension:quotas:show', READER, "Show a project's quotas."),
    ('volume_extension:quotas:update', ADMIN, "Set a project's quotas."),
    ('volume_extension:quotas:delete', ADMIN, "Forget a project's quotas."),
    ('volume_extension:quota_classes:get', ADMIN, 'Show a quota class.'),
    ('volume_extension:quota_classes:update', ADMIN, 'Set a quota class.'),
    # Services, pools, zones and limits.
    ('volume_extension:services:index', ADMIN, 'List services.'),
    ('volume_extension:services:update', ADMIN, 'Enable or disable a service.'),
    ('scheduler_extension:scheduler_stats:get_pools', ADMIN, 'List the pools of backends.'),
    ('volume_extension:capabilities', ADMIN, 'Show what a backend can do.'),
    ('volume:freeze_host', ADMIN, 'Freeze a backend.'),
    ('volume:thaw_host', ADMIN, 'Thaw a backend.'),
    ('volume:failover_host', ADMIN, 'Fail a backend over.'),
    ('volume:availability_zone_list', READER, 'List availability zones.'),
    ('limits_extension:used_limits', READER, 'Show what of the limits is used.'),
    # Hosts of volumes.
    ('volume_extension:hosts', ADMIN, 'List, show, enable and disable hosts.'),
    # User messages.
    ('message:get_all', READER, 'List messages.'),
    ('message:get', READER, 'Show a message.'),
    ('message:delete', MEMBER, 'Delete a message.'),
    # What Block Storage does not have: explanations, hosts, targets …
    ('multiattach:attachment_explain', READER, "Read an attachment's timeline and what comes next."),
    ('multiattach:volume_explain', READER, 'Read why a volume has its status and what comes next.'),
    ('multiattach:explain_internals', SYSTEM_READER, 'See hosts, initiators and whole errors in explanations.'),
    ('multiattach:hosts', SYSTEM_READER, 'List and show compute hosts.'),
    ('multiattach:targets', SYSTEM_READER, 'List and show what targets really have.'),
    # … drift …
    ('multiattach:doctor', ADMIN_OR_SERVICE, 'Look for drift everywhere, and put it right.'),
    ('multiattach:host_explain', SYSTEM_READER, 'See what is recorded of a host and what is true on it.'),
    # … and fences: for admins, and for services such as the one that evacuates servers.
    ('multiattach:attachment_fence', ADMIN_OR_SERVICE, "Cut an attachment's initiator off its volume."),
    ('multiattach:host_fence', ADMIN_OR_SERVICE, 'Cut off all that a host has.'),
    ('multiattach:host_unfence', ADMIN_OR_SERVICE, 'Let a fenced host have volumes again.'),
    # The compute endpoint, with Compute's names.
    ('os_compute_api:servers:index', READER, 'List servers.'),
    ('os_compute_api:servers:index:get_all_tenants', ADMIN, "List all projects' servers."),
    ('os_compute_api:servers:show', READER, 'Show a server.'),
    ('os_compute_api:servers:show:host_status', ADMIN, "Show the status of servers' hosts."),
    ('os_compute_api:os-extended-server-attributes', ADMIN, 'Show where servers run.'),
    ('os_compute_api:os-volumes-attachments:index', READER, "List a server's volumes."),
    ('os_compute_api:os-volumes-attachments:show', READER, "Show a server's volume."),
    ('os_compute_api:os-volumes-attachments:create', MEMBER, 'Attach a volume.'),
    (
        'os_compute_api:os-volumes-attachments:update',
        MEMBER,
        'Change what happens to a volume when its server is deleted.',
    ),
    ('os_compute_api:os-volumes-attachments:delete', MEMBER, 'Detach a volume.'),
)
