# SPDX-License-Identifier: Apache-2.0
"""Rules on the compute endpoint, with Compute's names."""

from multiattach.policies.base import ADMIN, MEMBER, READER, rule

_ATTACHMENTS = '/servers/{server_id}/os-volume_attachments'

RULES = [
    rule('os_compute_api:servers:index', READER, 'List servers.', ('GET', '/servers')),
    rule('os_compute_api:servers:index:get_all_tenants', ADMIN, "List all projects' servers.", ('GET', '/servers')),
    rule('os_compute_api:servers:show', READER, 'Show a server.', ('GET', '/servers/{server_id}')),
    rule(
        'os_compute_api:servers:show:host_status',
        ADMIN,
        "Show the status of servers' hosts.",
        ('GET', '/servers/{server_id}'),
        ('GET', '/servers/detail'),
    ),
    rule(
        'os_compute_api:os-extended-server-attributes',
        ADMIN,
        'Show where servers run.',
        ('GET', '/servers/{server_id}'),
        ('GET', '/servers/detail'),
    ),
    rule('os_compute_api:os-volumes-attachments:index', READER, "List a server's volumes.", ('GET', _ATTACHMENTS)),
    rule(
        'os_compute_api:os-volumes-attachments:show',
        READER,
        "Show a server's volume.",
        ('GET', _ATTACHMENTS + '/{volume_id}'),
    ),
    rule(
        'os_compute_api:os-volumes-attachments:create',
        MEMBER,
        'Attach a volume.',
        ('POST', _ATTACHMENTS),
        ('POST', '/multiattach/servers/{server_id}/attachments'),
    ),
    rule(
        'os_compute_api:os-volumes-attachments:update',
        MEMBER,
        'Change what happens to a volume when its server is deleted.',
        ('PUT', _ATTACHMENTS + '/{volume_id}'),
    ),
    rule(
        'os_compute_api:os-volumes-attachments:delete',
        MEMBER,
        'Detach a volume.',
        ('DELETE', _ATTACHMENTS + '/{volume_id}'),
    ),
]
