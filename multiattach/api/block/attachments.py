# SPDX-License-Identifier: Apache-2.0
"""Attachments (contract 2)."""

from typing import Any

import pecan

from multiattach.api import paging
from multiattach.api.actions import ANY_BODY, ActionController, action
from multiattach.api.elements import format_time
from multiattach.api.request import Request
from multiattach.api.routing import Controller, route
from multiattach.api.schemas import requests
from multiattach.api.schemas.replies import (
    COUNT,
    FLAG,
    NULL,
    TEXT,
    TEXT_OR_NULL,
    TIME_OR_EMPTY,
    UUID,
    Schema,
    many,
    one,
    page,
    strict,
)
from multiattach.api.validation import Versioned
from multiattach.db import models
from multiattach.domain import connection, states
from multiattach.engine import queries
from multiattach.engine.attachments import Shown, Summary

_SINCE = 27
_COMPLETE = 44
# Attachments without a mode show this text, with date fields empty (contract 11.5).
_NO_MODE = 'null'

_QUERY = requests.query({'all_tenants': requests.BOOLEAN_QUERY})
_NEW = {'volume_uuid': requests.UUID, 'instance_uuid': requests.UUID, 'connector': {'type': ['object', 'null']}}
# The openstack client sends null for "no mode".
_MODE = {'mode': {'enum': ['rw', 'ro', None]}}
_CREATE = Versioned(
    {
        0: requests.wrap('attachment', requests.fields(_NEW, 'volume_uuid')),
        54: requests.wrap('attachment', requests.fields(_NEW | _MODE, 'volume_uuid')),
    }
)
_UPDATE = requests.wrap(
    'attachment', requests.fields({'connector': {'type': 'object', 'minProperties': 1}}, 'connector')
)

_SUMMARY = {'id': UUID, 'status': TEXT, 'instance': TEXT_OR_NULL, 'volume_id': UUID}
# Rates per GiB are multiplied out to numbers.
_QOS = {'anyOf': [NULL, {'type': 'object', 'additionalProperties': {'type': ['string', 'integer', 'null']}}]}
# The flat form (contract 8.2), and what is in it for callers who may open the target.
_TARGET: Schema = {
    'volume_id': UUID,
    'target_discovered': FLAG,
    'target_iqn': TEXT,
    'target_portal': TEXT,
    'target_lun': COUNT,
    'auth_method': TEXT,
    'access_mode': {'enum': ['rw', 'ro']},
    'encrypted': FLAG,
    'cacheable': FLAG,
    'qos_specs': _QOS,
}
# Only of volumes whose type asks for them; and of those that are named after another id than their own.
_MORE: Schema = {'reservations': {'const': True}, 'name_id': UUID}
_OPENING: Schema = {
    'auth_username': TEXT,
    'auth_password': TEXT,
    'target_iqns': many(TEXT),
    'target_portals': many(TEXT),
    'target_luns': many(COUNT),
}
_TOP: Schema = {'driver_volume_type': TEXT, 'enforce_multipath': FLAG}
_DETAIL = strict(
    {
        **_SUMMARY,
        'attached_at': TIME_OR_EMPTY,
        'detached_at': TIME_OR_EMPTY,
        'attach_mode': {'enum': ['rw', 'ro', 'null']},
        'connection_info': {
            'anyOf': [strict({}), strict({**_TARGET, **_TOP, 'attachment_id': UUID}, {**_OPENING, **_MORE})]
        },
    }
)
_ONE = one('attachment', _DETAIL)
# Of os-initialize_connection, which nests what attachments have flat (contract 8.2).
CONNECTION = one('connection_info', strict({**_TOP, 'data': strict(_TARGET, {**_OPENING, **_MORE})}))


def summary(attachment: Shown | Summary) -> dict[str, Any]:
    return {
        'id': attachment.id,
        'status': states.public_status(attachment.state),
        'instance': attachment.instance_uuid,
        'volume_id': attachment.volume_id,
    }


def detail(attachment: Shown, *, sees_secrets: bool) -> dict[str, Any]:
    """Show an attachment, with what opens the target if the caller may see it."""
    info = attachment.connection_info or {}
    if 'driver_volume_type' not in info:  # it is on its way
        info = {}
    return {
        **summary(attachment),
        'attached_at': format_time(attachment.attached_at) or '',
        'detached_at': format_time(attachment.detached_at) or '',
        'attach_mode': attachment.attach_mode or _NO_MODE,
        'connection_info': info if sees_secrets else connection.hide_secrets(info),
    }


class AttachmentsController(Controller):
    """``/attachments``."""

    @route(
        'GET',
        '/attachments',
        since=_SINCE,
        query=_QUERY,
        reply=page('attachments', strict(_SUMMARY)),
        rules=('volume:attachment_get_all',),
    )
    def index(self, req: Request) -> dict[str, Any]:
        """List attachments."""
        return self._list(req, detailed=False)

    @route(
        'GET',
        '/attachments/detail',
        since=_SINCE,
        query=_QUERY,
        reply=page('attachments', _DETAIL),
        rules=('volume:attachment_get_all',),
    )
    def detail(self, req: Request) -> dict[str, Any]:
        """List attachments with all that belongs to them."""
        return self._list(req, detailed=True)

    def _list(self, req: Request, *, detailed: bool) -> dict[str, Any]:
        query = req.query
        wanted = paging.parse_page(query, self.settings, queries.ATTACHMENT_SORT_KEYS)
        found = self.engine.attachments.list_page(
            req.ctx,
            queries.attachment_conditions(req.ctx, paging.filters(query), req.minor),
            wanted,
            detail=detailed,
            all_projects='all_tenants' in query and queries.parse_boolean(query['all_tenants']),
        )

        def show(row: models.Attachment) -> dict[str, Any]:
            return detail(row, sees_secrets=req.ctx.sees_secrets) if detailed else summary(row)

        return paging.reply(req, self.settings, wanted, found, 'attachments', show)

    @route(
        'POST',
        '/attachments',
        since=_SINCE,
        body=_CREATE,
        reply=_ONE,
        rules=('volume:attachment_create', 'volume:multiattach_bootable_volume'),
    )
    def create(self, req: Request, body: dict[str, Any]) -> dict[str, Any]:
        """Reserve a volume for a server and, given a connector, connect it; 200 (contract 11.5)."""
        wanted = body['attachment']
        found = self.engine.attachments.create(
            req.ctx, wanted['volume_uuid'], wanted.get('instance_uuid'), wanted.get('connector'), wanted.get('mode')
        )
        return {'attachment': detail(found, sees_secrets=True)}

    @route('GET', '/attachments/{attachment_id}', since=_SINCE, reply=_ONE, rules=('volume:attachment_get',))
    def show(self, req: Request, attachment_id: str) -> dict[str, Any]:
        """Show an attachment; what opens the target is for admins and services only."""
        found = self.engine.attachments.show(req.ctx, attachment_id)
        return {'attachment': detail(found, sees_secrets=req.ctx.sees_secrets)}

    @route(
        'PUT',
        '/attachments/{attachment_id}',
        since=_SINCE,
        body=_UPDATE,
        reply=_ONE,
        rules=('volume:attachment_update',),
    )
    def update(self, req: Request, body: dict[str, Any], attachment_id: str) -> dict[str, Any]:
        """Give an attachment its connector."""
        found = self.engine.attachments.connect(req.ctx, attachment_id, body['attachment']['connector'])
        return {'attachment': detail(found, sees_secrets=True)}

    @route(
        'DELETE',
        '/attachments/{attachment_id}',
        since=_SINCE,
        reply=one('attachments', many(strict(_SUMMARY))),
        rules=('volume:attachment_delete',),
    )
    def delete(self, req: Request, attachment_id: str) -> dict[str, Any]:
        """Delete an attachment; the reply tells which remain on its volume."""
        remaining = self.engine.attachments.delete(req.ctx, attachment_id)
        return {'attachments': [summary(row) for row in remaining]}


class AttachmentActionsController(ActionController):
    """``POST /attachments/{attachment_id}/action``."""

    @route('POST', '/attachments/{attachment_id}/action', since=_COMPLETE, body=ANY_BODY)
    def act(self, req: Request, body: Any, attachment_id: str) -> pecan.Response:
        """Carry out an action."""
        return self.run(req, body, attachment_id)

    @action('os-complete', status=204, rules=('volume:attachment_complete',))
    def complete(self, req: Request, attachment_id: str, _value: Any) -> None:
        """Mark an attachment as attached, whatever the value (contract 11.5)."""
        self.engine.attachments.complete(req.ctx, attachment_id)
