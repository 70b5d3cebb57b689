# SPDX-License-Identifier: Apache-2.0
"""Which reply each route and each action gives."""

from collections.abc import Mapping
from typing import Any

from multiattach.api.schemas.replies import attachments, extension, qos_specs, services, types, volume_hosts, volumes
from multiattach.api.schemas.replies.elements import NULL, TEXT, TEXTS, Reply, many, one, strict


def _nothing(key: str) -> Reply:
    return one(key, {'type': 'array', 'maxItems': 0})


_METADATA = one('metadata', TEXTS)
_METADATA_ITEM = one('meta', {**TEXTS, 'minProperties': 1, 'maxProperties': 1})
_VERSIONS = one(
    'versions',
    many(
        strict(
            {
                'id': TEXT,
                'status': TEXT,
                'version': TEXT,
                'min_version': TEXT,
                'updated': TEXT,
                'links': many(strict({'rel': TEXT, 'href': TEXT}, {'type': TEXT})),
                'media-types': many(strict({'base': TEXT, 'type': TEXT})),
            }
        )
    ),
)
# Lists of what this service does not have.
_ABSENT = {
    '/snapshots': 'snapshots',
    '/backups': 'backups',
    '/os-volume-transfer': 'transfers',
    '/volume-transfers': 'transfers',
    '/groups': 'groups',
    '/group_snapshots': 'group_snapshots',
    '/group_types': 'group_types',
    '/consistencygroups': 'consistencygroups',
    '/cgsnapshots': 'cgsnapshots',
    '/clusters': 'clusters',
}
_BRIEF = ('/group_types',)

# By method and path as the routes' marks have them.
ROUTES: Mapping[str, Reply] = {
    'GET /': _VERSIONS,
    'GET /volumes': volumes.index,
    'POST /volumes': volumes.changed,
    'GET /volumes/detail': volumes.detail,
    'GET /volumes/summary': volumes.summary,
    'GET /volumes/{volume_id}': volumes.show,
    'PUT /volumes/{volume_id}': volumes.changed,
    'DELETE /volumes/{volume_id}': None,
    'GET /volumes/{volume_id}/encryption': one('encryption_key_id', NULL),
    'GET /volumes/{volume_id}/encryption/{key}': one('encryption_key_id', NULL),
    'GET /volumes/{volume_id}/metadata': _METADATA,
    'POST /volumes/{volume_id}/metadata': _METADATA,
    'PUT /volumes/{volume_id}/metadata': _METADATA,
    'GET /volumes/{volume_id}/metadata/{key}': _METADATA_ITEM,
    'PUT /volumes/{volume_id}/metadata/{key}': _METADATA_ITEM,
    'DELETE /volumes/{volume_id}/metadata/{key}': None,
    'GET /attachments': attachments.INDEX,
    'GET /attachments/detail': attachments.DETAIL,
    'POST /attachments': attachments.SHOW,
    'GET /attachments/{attachment_id}': attachments.SHOW,
    'PUT /attachments/{attachment_id}': attachments.SHOW,
    'DELETE /attachments/{attachment_id}': attachments.REMAINING,
    'GET /types': types.INDEX,
    'POST /types': types.SHOW,
    'GET /types/default': types.SHOW,
    'GET /types/{type_id}': types.SHOW,
    'PUT /types/{type_id}': types.SHOW,
    'DELETE /types/{type_id}': None,
    'GET /types/{type_id}/extra_specs': types.SPECS,
    'POST /types/{type_id}/extra_specs': types.SPECS,
    'GET /types/{type_id}/extra_specs/{key}': types.SPEC,
    'PUT /types/{type_id}/extra_specs/{key}': types.SPEC,
    'DELETE /types/{type_id}/extra_specs/{key}': None,
    'GET /types/{type_id}/os-volume-type-access': types.ACCESS,
    'GET /types/{type_id}/encryption': types.ENCRYPTION,
    'POST /types/{type_id}/encryption': types.ENCRYPTION_CREATED,
    'GET /types/{type_id}/encryption/{key}': types.ENCRYPTION_ITEM,
    'PUT /types/{type_id}/encryption/{encryption_id}': types.ENCRYPTION_CHANGED,
    'DELETE /types/{type_id}/encryption/{encryption_id}': None,
    'GET /default-types': types.DEFAULTS,
    'GET /default-types/{project_id}': types.DEFAULT,
    'PUT /default-types/{project_id}': types.DEFAULT,
    'DELETE /default-types/{project_id}': None,
    'GET /qos-specs': qos_specs.INDEX,
    'POST /qos-specs': qos_specs.SHOW,
    'GET /qos-specs/{qos_id}': qos_specs.SHOW,
    'PUT /qos-specs/{qos_id}': qos_specs.CHANGED,
    'DELETE /qos-specs/{qos_id}': None,
    'PUT /qos-specs/{qos_id}/delete_keys': None,
    'GET /qos-specs/{qos_id}/associations': qos_specs.TYPES,
    'GET /qos-specs/{qos_id}/associate': None,
    'GET /qos-specs/{qos_id}/disassociate': None,
    'GET /qos-specs/{qos_id}/disassociate_all': None,
    'GET /os-hosts': volume_hosts.INDEX,
    'GET /os-hosts/{host}': volume_hosts.SHOW,
    'PUT /os-hosts/{host}': volume_hosts.CHANGED,
    'GET /os-quota-sets/{project_id}': services.QUOTA,
    'GET /os-quota-sets/{project_id}/defaults': services.QUOTA_DEFAULTS,
    'PUT /os-quota-sets/{project_id}': services.QUOTA_CHANGED,
    'DELETE /os-quota-sets/{project_id}': None,
    'GET /os-quota-class-sets/{name}': services.QUOTA_CLASS,
    'PUT /os-quota-class-sets/{name}': services.QUOTA_CLASS_CHANGED,
    'GET /os-services': services.services,
    'PUT /os-services/enable': services.CHANGED,
    'PUT /os-services/disable': services.CHANGED,
    'PUT /os-services/disable-log-reason': services.CHANGED_WITH_REASON,
    'GET /scheduler-stats/get_pools': services.POOLS,
    'GET /os-availability-zone': services.ZONES,
    'GET /messages': services.MESSAGES,
    'GET /messages/{message_id}': services.MESSAGE,
    'DELETE /messages/{message_id}': None,
    'GET /limits': services.LIMITS,
    'GET /extensions': services.EXTENSIONS,
    'GET /extensions/{alias}': services.EXTENSION,
    'GET /resource_filters': services.FILTERS,
    'GET /capabilities/{host}': services.CAPABILITIES,
    'GET /multiattach/attachments/{attachment_id}/explain': extension.ATTACHMENT,
    'GET /multiattach/volumes/{volume_id}/explain': extension.VOLUME,
    'GET /multiattach/hosts/{host}/explain': extension.EXPLAINED_HOST,
    'GET /multiattach/hosts': extension.HOSTS,
    'GET /multiattach/hosts/{host}': extension.HOST,
    'POST /multiattach/servers/{server_id}/attachments': extension.SERVER_ATTACHMENT,
    'POST /multiattach/attachments/{attachment_id}/fence': extension.FENCED_ATTACHMENT,
    'POST /multiattach/hosts/{host}/fence': extension.FENCED_HOST,
    'POST /multiattach/hosts/{host}/unfence': extension.UNFENCED_HOST,
    'POST /multiattach/doctor': extension.DIAGNOSIS,
    'GET /multiattach/targets': extension.TARGETS,
    'GET /multiattach/targets/{volume_id}': extension.TARGET,
    **{f'GET {path}': _nothing(key) for path, key in _ABSENT.items()},
    **{f'GET {path}/detail': _nothing(key) for path, key in _ABSENT.items() if path not in _BRIEF},
}

# By name; actions that are not here reply with nothing.
ACTIONS: Mapping[str, Reply] = {
    'os-initialize_connection': attachments.CONNECTION,
    'os-set_image_metadata': _METADATA,
    'os-show_image_metadata': _METADATA,
}

# In WebOb's own shape: no route matched, body too large (contract 1.3).
_WEBOB = strict({'code': TEXT, 'message': TEXT, 'title': TEXT})


def error(status: int, key: str) -> Mapping[str, Any]:
    """Describe an error (contract 1.3).

    :param key: the one key of the body.
    """
    fault = {'code': {'const': status}, 'message': {'type': 'string', 'minLength': 1}}
    if status == 413:
        fault['retryAfter'] = TEXT
    schema = strict({key: strict(fault)})
    return {'anyOf': [schema, _WEBOB]} if status in (404, 413) else schema
