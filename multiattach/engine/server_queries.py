# SPDX-License-Identifier: Apache-2.0
"""Filters of server lists as the compute API hands them on, without SQL on its side."""

from collections.abc import Mapping

from multiattach.db import server_filters
from multiattach.db.filters import Condition
from multiattach.engine.context import RequestContext

# What lists can be sorted by, with the column of each; None says that all servers are alike.
SORT_KEYS: Mapping[str, str | None] = {
    'created_at': 'created_at',
    'updated_at': 'updated_at',
    'display_name': 'name',
    'hostname': 'name',
    'uuid': 'id',
    'id': 'id',
    'project_id': 'project_id',
    'power_state': 'power_state',
    'vm_state': 'power_state',
    'host': 'host',
    'node': 'host',
    **dict.fromkeys(
        (
            'access_ip_v4',
            'access_ip_v6',
            'auto_disk_config',
            'availability_zone',
            'config_drive',
            'display_description',
            'image_ref',
            'instance_type_id',
            'kernel_id',
            'key_name',
            'launch_index',
            'launched_at',
            'locked_by',
            'progress',
            'ramdisk_id',
            'root_device_name',
            'task_state',
            'terminated_at',
            'user_id',
            'locked',
            'deleted',
            'reservation_id',
        )
    ),
}
# Every filter that there is, with the second number of the microversion from which it is one.
FILTERS: Mapping[str, int] = {
    **dict.fromkeys((*server_filters.ADMINS, 'project_id', 'tenant_id'), 0),
    **{key: since if since <= 75 else 0 for key, (since, _) in server_filters.EVERYBODY.items()},
}
ADMIN_SORT_KEYS = frozenset({'host', 'node'})


def server_conditions(
    ctx: RequestContext, wanted: Mapping[str, str], minor: int, *, all_projects: bool
) -> list[Condition]:
    """Build the conditions of a server list.

    A filter that the caller may not use, or that nobody knows, says nothing, as in Nova; the
    schema refuses unknown ones from 2.75.

    :raises InvalidInput: a value that cannot be read.
    """
    conditions = []
    for key, value in wanted.items():
        if key in ('project_id', 'tenant_id'):
            if all_projects:
                conditions.append(server_filters.project(value))
            continue
        since, known = server_filters.EVERYBODY.get(key, (0, server_filters.ADMINS.get(key)))
        everybody = key in server_filters.EVERYBODY and minor >= since
        if known is not None and (everybody or ctx.is_admin):
            conditions.append(known(value))
    return conditions
