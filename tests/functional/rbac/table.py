# SPDX-License-Identifier: Apache-2.0
"""Who may make which call: each persona and a foreign project against each call of the API.

The columns of a row are PERSONAS. Who may not see a thing gets 404, who may not do something to a
thing that he sees gets 403; decided after the load, on the thing's own project (contract 7.1). A 400 or
409 stands for "allowed, but this volume is in no state for it": the rules were asked before.
"""

from typing import Any, NamedTuple

#: name → project and roles; ``service`` brings a service token
PERSONAS = {
    'reader': ('mine', ('reader',)),
    'member': ('mine', ('member', 'reader')),
    'admin': ('mine', ('admin', 'member', 'reader')),
    'service': ('services', ('service',)),
    'foreign-member': ('foreign', ('member', 'reader')),
    'foreign-reader': ('foreign', ('reader',)),
}


class Call(NamedTuple):
    """A row of the table; ``{name}`` in path and body stands for something made for the call."""

    method: str
    path: str
    statuses: tuple[int, ...]
    body: Any = None

    @property
    def name(self) -> str:
        """What :func:`test_every_call_has_a_row` looks for: an action is a call of its own."""
        action = f' {next(iter(self.body))}' if self.path.endswith('/action') else ''
        return f'{self.method} {self.path}{action}'


def open_to_all(status: int) -> tuple[int, ...]:
    """Whoever has a token."""
    return (status,) * 6


def readers(status: int) -> tuple[int, ...]:
    """Whoever may read anything, on what his own project has."""
    return (status, status, status, 403, status, status)


def members(status: int) -> tuple[int, ...]:
    """Whoever may change anything, for his own project."""
    return (403, status, status, 403, status, 403)


def admins(status: int) -> tuple[int, ...]:
    """Admins, on what belongs to no project."""
    return (403, 403, status, 403, 403, 403)


def project_readers(status: int) -> tuple[int, ...]:
    """Readers of the project that a thing belongs to."""
    return (status, status, status, 404, 404, 404)


def project_members(status: int, admin: int | None = None) -> tuple[int, ...]:
    """Members of the project that a thing belongs to."""
    return (403, status, admin or status, 404, 404, 404)


def project_admins(status: int) -> tuple[int, ...]:
    """Admins, on a thing that a project owns."""
    return (403, 403, status, 404, 404, 404)


def act(action: str, value: Any, statuses: tuple[int, ...]) -> Call:
    """An action on a volume."""
    return Call('POST', '/volumes/{volume_id}/action', statuses, {action: value})


CONNECTOR = {'host': 'one', 'initiator': 'iqn.1994-05.com.example:one', 'ip': '192.0.2.1'}
_PROJECT = {'project': '{project_id}'}
_SERVICE = {'binary': 'cinder-volume', 'host': 'nobody@nothing'}
_ENCRYPTION = {'encryption': {'provider': 'luks', 'control_location': 'front-end'}}

VOLUMES = (
    Call('GET', '/', open_to_all(200)),
    Call('GET', '/volumes', readers(200)),
    Call('GET', '/volumes/detail', readers(200)),
    Call('GET', '/volumes/summary', readers(200)),
    Call('POST', '/volumes', members(202), {'volume': {'size': 1}}),
    # Who may not create is told so before anything is said of the source.
    Call('POST', '/volumes', (403, 202, 202, 403, 404, 403), {'volume': {'source_volid': '{volume_id}'}}),
    # No Image service is configured: who may not create of images is told so before.
    Call('POST', '/volumes', members(400), {'volume': {'size': 1, 'imageRef': 'x'}}),
    Call('GET', '/volumes/{volume_id}', project_readers(200)),
    Call('PUT', '/volumes/{volume_id}', project_members(200), {'volume': {'name': 'new'}}),
    Call('DELETE', '/volumes/{volume_id}', project_members(202)),
    Call('GET', '/volumes/{volume_id}/encryption', project_readers(200)),
    Call('GET', '/volumes/{volume_id}/encryption/{key}', project_readers(404)),
    Call('GET', '/volumes/{volume_id}/metadata', project_readers(200)),
    Call('POST', '/volumes/{volume_id}/metadata', project_members(200), {'metadata': {'a': 'b'}}),
    Call('PUT', '/volumes/{volume_id}/metadata', project_members(200), {'metadata': {'a': 'b'}}),
    Call('GET', '/volumes/{volume_id}/metadata/{key}', project_readers(200)),
    Call('PUT', '/volumes/{volume_id}/metadata/{key}', project_members(200), {'meta': {'color': 'red'}}),
    Call('DELETE', '/volumes/{volume_id}/metadata/{key}', project_members(200)),
    act('os-reserve', None, project_members(202)),
    act('os-unreserve', None, project_members(202)),
    act('os-begin_detaching', None, project_members(400)),
    act('os-roll_detaching', None, project_members(202)),
    act('os-attach', {'mountpoint': '/dev/vdb', 'host_name': 'one'}, project_members(202)),
    act('os-detach', {}, project_members(202)),
    act('os-initialize_connection', {'connector': CONNECTOR}, project_members(200)),
    act('os-terminate_connection', {'connector': CONNECTOR}, project_members(202)),
    act('os-force_detach', {}, project_admins(202)),
    act('os-reset_status', {'status': 'error'}, project_admins(202)),
    act('os-extend', {'new_size': 2}, project_members(202)),
    act('os-retype', {'new_type': '{type_id}', 'migration_policy': 'never'}, project_members(202)),
    act('os-update_readonly_flag', {'readonly': True}, project_members(202)),
    act('os-set_bootable', {'bootable': True}, project_members(200)),
    act('os-set_image_metadata', {'metadata': {'a': 'b'}}, project_members(200)),
    act('os-show_image_metadata', None, project_readers(200)),
    act('os-unset_image_metadata', {'key': 'a'}, project_members(404)),
    act('os-force_delete', None, project_admins(202)),
    act('os-volume_upload_image', {'image_name': 'x'}, project_members(400)),
    act('os-migrate_volume', {'host': 'nobody@nothing'}, project_admins(400)),
    act('os-migrate_volume_completion', {'new_volume': '{volume_id}'}, project_admins(400)),
    act('os-unmanage', None, project_admins(202)),
    act('revert', {'snapshot_id': 'x'}, project_members(400)),
    act('os-reimage', {'image_id': '11111111-1111-4111-8111-111111111111'}, project_members(400)),
    act('os-extend_volume_completion', {'error': False}, project_readers(400)),
)

_OF_VOLUME = {'snapshot': {'volume_id': '{volume_id}'}}
SNAPSHOTS = (
    Call('GET', '/snapshots', readers(200)),
    Call('GET', '/snapshots/detail', readers(200)),
    Call('POST', '/snapshots', project_members(202), _OF_VOLUME),
    Call('GET', '/snapshots/{seen_snapshot_id}', project_readers(200)),
    Call('PUT', '/snapshots/{seen_snapshot_id}', project_members(200), {'snapshot': {'name': 'new'}}),
    Call('DELETE', '/snapshots/{snapshot_id}', project_members(202)),
    Call('GET', '/snapshots/{seen_snapshot_id}/metadata', project_readers(200)),
    Call('POST', '/snapshots/{seen_snapshot_id}/metadata', project_members(200), {'metadata': {'a': 'b'}}),
    Call('PUT', '/snapshots/{seen_snapshot_id}/metadata', project_members(200), {'metadata': {'color': 'red'}}),
    Call('GET', '/snapshots/{seen_snapshot_id}/metadata/{key}', project_readers(200)),
    Call('PUT', '/snapshots/{seen_snapshot_id}/metadata/{key}', project_members(200), {'meta': {'color': 'red'}}),
    Call('DELETE', '/snapshots/{snapshot_id}/metadata/{key}', project_members(200)),
    Call('POST', '/snapshots/{snapshot_id}/action', project_admins(202), {'os-reset_status': {'status': 'error'}}),
    Call('POST', '/snapshots/{snapshot_id}/action', project_admins(202), {'os-force_delete': None}),
    Call('POST', '/snapshots/{snapshot_id}/action', project_admins(202), {'os-unmanage': None}),
    # It is not being taken any more.
    Call(
        'POST',
        '/snapshots/{snapshot_id}/action',
        project_members(400),
        {'os-update_snapshot_status': {'status': 'available'}},
    ),
    Call('POST', '/volumes', (403, 202, 202, 403, 404, 403), {'volume': {'snapshot_id': '{snapshot_id}'}}),
)

ATTACHMENTS = (
    Call('GET', '/attachments', readers(200)),
    Call('GET', '/attachments/detail', readers(200)),
    Call('POST', '/attachments', project_members(200), {'attachment': {'volume_uuid': '{volume_id}'}}),
    Call('GET', '/attachments/{attachment_id}', project_readers(200)),
    Call('PUT', '/attachments/{attachment_id}', project_members(200), {'attachment': {'connector': CONNECTOR}}),
    Call('DELETE', '/attachments/{attachment_id}', project_members(200)),
    Call('POST', '/attachments/{attachment_id}/action', project_members(204), {'os-complete': None}),
)

_WRONG_KEY = {'accept': {'auth_key': 'wrong'}}
TRANSFERS = tuple(
    row
    for path in ('/os-volume-transfer', '/volume-transfers')
    for row in (
        Call('GET', path, readers(200)),
        Call('GET', f'{path}/detail', readers(200)),
        Call('POST', path, project_members(202), {'transfer': {'volume_id': '{volume_id}'}}),
        Call('GET', f'{path}/{{transfer_id}}', project_readers(200)),
        Call('DELETE', f'{path}/{{transfer_id}}', project_members(202)),
        # Whoever has the key, in any project.
        Call('POST', f'{path}/{{transfer_id}}/accept', members(400), _WRONG_KEY),
    )
)

_MANAGE = {'volume': {'host': 'testhost@file', 'ref': {'source-name': '{file_name}'}}}
_MANAGE_SNAPSHOT = {'snapshot': {'volume_id': '{volume_id}', 'ref': {'source-name': '{snapshot_file_name}'}}}
_WRONG = {'source-id': 'x'}
MANAGEABLE = tuple(
    row
    for path, made, wrong, body in (
        ('/os-volume-manage', admins(202), admins(400), _MANAGE),
        ('/manageable_volumes', admins(202), admins(400), _MANAGE),
        ('/os-snapshot-manage', project_admins(202), project_admins(400), _MANAGE_SNAPSHOT),
        ('/manageable_snapshots', project_admins(202), project_admins(400), _MANAGE_SNAPSHOT),
    )
    for row in (
        Call('GET', path, admins(400)),  # names no backend
        Call('GET', f'{path}/detail', admins(400)),
        Call('POST', path, made, body),
        # The rules are asked before the reference is looked at.
        Call('POST', path, wrong, {noun: {**wish, 'ref': _WRONG} for noun, wish in body.items()}),
    )
)

TYPES = (
    Call('GET', '/types', readers(200)),
    Call('POST', '/types', admins(200), {'volume_type': {'name': '{name}'}}),
    Call('GET', '/types/default', readers(200)),
    Call('GET', '/types/{type_id}', readers(200)),
    Call('PUT', '/types/{type_id}', admins(200), {'volume_type': {'description': 'new'}}),
    Call('DELETE', '/types/{type_id}', admins(202)),
    Call('GET', '/types/{type_id}/extra_specs', readers(200)),
    Call('POST', '/types/{type_id}/extra_specs', admins(200), {'extra_specs': {'a': 'b'}}),
    Call('GET', '/types/{type_id}/extra_specs/{key}', (404, 404, 200, 403, 404, 404)),  # not for users
    Call('PUT', '/types/{type_id}/extra_specs/{key}', admins(200), {'color': 'red'}),
    Call('DELETE', '/types/{type_id}/extra_specs/{key}', admins(202)),
    Call('GET', '/types/{type_id}/os-volume-type-access', admins(404)),  # the type is public
    Call('POST', '/types/{type_id}/action', admins(409), {'addProjectAccess': _PROJECT}),
    Call('POST', '/types/{type_id}/action', admins(409), {'removeProjectAccess': _PROJECT}),
    Call('GET', '/types/{type_id}/encryption', admins(200)),
    Call('POST', '/types/{plain_type_id}/encryption', admins(200), _ENCRYPTION),
    Call('GET', '/types/{type_id}/encryption/{key}', admins(404)),
    Call('PUT', '/types/{plain_type_id}/encryption/{encryption_id}', admins(404), _ENCRYPTION),
    Call('DELETE', '/types/{type_id}/encryption/{encryption_id}', admins(404)),
    Call('GET', '/default-types', admins(200)),
    Call('GET', '/default-types/{project_id}', admins(404)),
    Call('PUT', '/default-types/{project_id}', admins(200), {'default_type': {'volume_type': '{type_id}'}}),
    Call('DELETE', '/default-types/{project_id}', admins(204)),
)

QOS_SPECS = (
    Call('GET', '/qos-specs', admins(200)),
    Call('POST', '/qos-specs', admins(200), {'qos_specs': {'name': '{name}'}}),
    Call('GET', '/qos-specs/{qos_id}', admins(200)),
    Call('PUT', '/qos-specs/{qos_id}', admins(200), {'qos_specs': {'color': 'red'}}),
    Call('DELETE', '/qos-specs/{qos_id}', admins(202)),
    Call('PUT', '/qos-specs/{qos_id}/delete_keys', admins(202), {'keys': ['color']}),
    Call('GET', '/qos-specs/{qos_id}/associations', admins(200)),
    Call('GET', '/qos-specs/{qos_id}/associate', admins(400)),  # names no type
    Call('GET', '/qos-specs/{qos_id}/disassociate', admins(400)),
    Call('GET', '/qos-specs/{qos_id}/disassociate_all', admins(202)),
)

OTHERS = (
    Call('GET', '/os-quota-sets/{project_id}', (200, 200, 200, 403, 403, 403)),
    Call('GET', '/os-quota-sets/{project_id}/defaults', (200, 200, 200, 403, 403, 403)),
    Call('PUT', '/os-quota-sets/{project_id}', admins(200), {'quota_set': {'volumes': -1}}),
    Call('DELETE', '/os-quota-sets/{project_id}', admins(200)),
    Call('GET', '/os-quota-class-sets/{name}', admins(200)),
    Call('PUT', '/os-quota-class-sets/{name}', admins(200), {'quota_class_set': {'volumes': -1}}),
    Call('GET', '/limits', open_to_all(200)),
    Call('GET', '/messages', readers(200)),
    Call('GET', '/messages/{message_id}', project_readers(200)),
    Call('DELETE', '/messages/{message_id}', project_members(204)),
    Call('GET', '/os-services', admins(200)),
    Call('PUT', '/os-services/enable', admins(404), _SERVICE),
    Call('PUT', '/os-services/disable', admins(404), _SERVICE),
    Call('PUT', '/os-services/disable-log-reason', admins(404), {**_SERVICE, 'disabled_reason': 'x'}),
    Call('PUT', '/os-services/freeze', admins(400), _SERVICE),
    Call('PUT', '/os-services/thaw', admins(400), _SERVICE),
    Call('PUT', '/os-services/failover_host', admins(400), _SERVICE),
    Call('GET', '/os-hosts', admins(200)),
    Call('GET', '/os-hosts/{name}', admins(404)),
    Call('PUT', '/os-hosts/{name}', admins(404), {'status': 'disable'}),
    Call('GET', '/scheduler-stats/get_pools', admins(200)),
    Call('GET', '/resource_filters', open_to_all(200)),
    Call('GET', '/capabilities/{name}', admins(404)),
    Call('GET', '/extensions', open_to_all(200)),
    Call('GET', '/extensions/{alias}', open_to_all(200)),
    Call('GET', '/os-availability-zone', readers(200)),
)

EXTENSION = (
    Call('GET', '/multiattach/attachments/{attachment_id}/explain', project_readers(200)),
    Call('GET', '/multiattach/volumes/{volume_id}/explain', project_readers(200)),
    Call('GET', '/multiattach/hosts', admins(200)),
    Call('GET', '/multiattach/hosts/{name}', admins(404)),
    Call('GET', '/multiattach/hosts/{name}/explain', admins(404)),
    Call(
        'POST',
        '/multiattach/servers/{server_id}/attachments',
        project_members(202),
        {'attachment': {'volume_id': '{volume_id}', 'mode': 'ro'}},
    ),
    Call('POST', '/multiattach/attachments/{attachment_id}/fence', (403, 403, 200, 200, 404, 404), {'fence': {}}),
    Call('POST', '/multiattach/hosts/{name}/fence', (403, 403, 200, 200, 403, 403), {'fence': {}}),
    Call('POST', '/multiattach/hosts/{name}/unfence', (403, 403, 200, 200, 403, 403), {'unfence': {}}),
    Call('POST', '/multiattach/doctor', (403, 403, 200, 200, 403, 403), {'doctor': {'fix': False}}),
    Call('GET', '/multiattach/targets', admins(200)),
    Call('GET', '/multiattach/targets/{volume_id}', admins(200)),
    # 409: the rules said yes, and the target of this volume keeps none.
    Call('GET', '/multiattach/volumes/{volume_id}/reservations', project_readers(409)),
    Call(
        'POST',
        '/multiattach/volumes/{volume_id}/reservations/clear',
        (403, 403, 409, 404, 404, 404),
        {'reservations': {}},
    ),
)

# What this service does not have: the lists are empty for everybody, nobody can make any.
_LISTS = ('/backups', '/groups', '/group_snapshots', '/group_types', '/consistencygroups', '/cgsnapshots', '/clusters')
_OF_VOLUMES = {'/backups': 'backup'}
_WITHOUT_DETAIL = ('/group_types',)
ABSENT = (
    *(Call('GET', path, open_to_all(200)) for path in _LISTS),
    *(Call('GET', f'{path}/detail', open_to_all(200)) for path in _LISTS if path not in _WITHOUT_DETAIL),
    *(Call('POST', path, open_to_all(400), {}) for path in _LISTS if path not in ('/clusters', *_OF_VOLUMES)),
    *(
        Call('POST', path, project_readers(400), {noun: {'volume_id': '{volume_id}'}})
        for path, noun in _OF_VOLUMES.items()
    ),
    *(Call(method, f'{path}/{{name}}', open_to_all(404)) for path in _LISTS for method in ('GET', 'PUT', 'DELETE')),
)

BLOCK_STORAGE = (
    *VOLUMES,
    *SNAPSHOTS,
    *ATTACHMENTS,
    *TRANSFERS,
    *MANAGEABLE,
    *TYPES,
    *QOS_SPECS,
    *OTHERS,
    *EXTENSION,
    *ABSENT,
)

_NEW = {'volumeAttachment': {'volumeId': '{volume_id}'}}
COMPUTE = (
    Call('GET', '/servers', readers(200)),
    Call('GET', '/servers/detail', readers(200)),
    Call('GET', '/servers/{server_id}', project_readers(200)),
    Call('GET', '/servers/{server_id}/os-volume_attachments', project_readers(200)),
    Call('POST', '/servers/{server_id}/os-volume_attachments', project_members(200), _NEW),
    Call('GET', '/servers/{server_id}/os-volume_attachments/{volume_of_server}', project_readers(200)),
    Call(
        'PUT',
        '/servers/{server_id}/os-volume_attachments/{volume_of_server}',
        project_members(202),
        {'volumeAttachment': {'volumeId': '{volume_of_server}', 'delete_on_termination': True}},
    ),
    Call('DELETE', '/servers/{server_id}/os-volume_attachments/{volume_of_server}', project_members(202)),
    Call('GET', '/flavors', open_to_all(200)),
    Call('GET', '/flavors/detail', open_to_all(200)),
    Call('GET', '/flavors/{name}', open_to_all(404)),
    Call('GET', '/extensions', open_to_all(200)),
    Call('GET', '/limits', open_to_all(200)),
)
