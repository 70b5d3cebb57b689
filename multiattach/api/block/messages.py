# SPDX-License-Identifier: Apache-2.0
"""User messages (microversion 3.3)."""

from typing import Any

from multiattach.api import paging
from multiattach.api.elements import Links, format_time
from multiattach.api.request import Request
from multiattach.api.routing import Controller, route
from multiattach.api.schemas import requests
from multiattach.api.schemas.replies import LINKS, TEXT, TEXT_OR_NULL, TIME, TIME_OR_NULL, UUID, one, page, strict
from multiattach.db import models
from multiattach.engine import queries

_SINCE = 3
_MESSAGE = strict(
    {
        'id': UUID,
        'event_id': TEXT,
        'user_message': TEXT,
        'message_level': TEXT,
        'request_id': TEXT_OR_NULL,
        'resource_type': TEXT_OR_NULL,
        'resource_uuid': TEXT_OR_NULL,
        'created_at': TIME,
        'guaranteed_until': TIME_OR_NULL,
        'links': LINKS,
    }
)


def _show(message: models.Message, links: Links) -> dict[str, Any]:
    return {
        'id': message.id,
        'event_id': message.event_id,
        'user_message': message.user_message,
        'message_level': message.message_level,
        'request_id': message.request_id,
        'resource_type': message.resource_type,
        'resource_uuid': message.resource_uuid,
        'created_at': format_time(message.created_at),
        'guaranteed_until': format_time(message.guaranteed_until),
        'links': links.of('messages', message.id),
    }


class MessagesController(Controller):
    """``/messages``."""

    @route(
        'GET',
        '/messages',
        since=_SINCE,
        query=requests.query(),
        reply=page('messages', _MESSAGE),
        rules=('message:get_all',),
    )
    def index(self, req: Request) -> dict[str, Any]:
        """List messages, newest first unless another order is asked for."""
        wanted = paging.parse_page(req.query, self.settings, queries.MESSAGE_SORT_KEYS)
        conditions = queries.message_conditions(req.ctx, paging.filters(req.query), req.minor)
        found = self.engine.messages.list_page(req.ctx, conditions, wanted)
        links = Links(req, self.settings)
        return paging.reply(req, self.settings, wanted, found, 'messages', lambda row: _show(row, links))

    @route('GET', '/messages/{message_id}', since=_SINCE, reply=one('message', _MESSAGE), rules=('message:get',))
    def show(self, req: Request, message_id: str) -> dict[str, Any]:
        """Show a message."""
        found = self.engine.messages.show(req.ctx, message_id)
        return {'message': _show(found, Links(req, self.settings))}

    @route('DELETE', '/messages/{message_id}', since=_SINCE, status=204, rules=('message:get', 'message:delete'))
    def delete(self, req: Request, message_id: str) -> None:
        """Delete a message."""
        self.engine.messages.delete(req.ctx, message_id)
