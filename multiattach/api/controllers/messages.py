# SPDX-License-Identifier: Apache-2.0
"""User messages (microversion 3.3)."""

from typing import Any

from multiattach.api import paging
from multiattach.api.request import Request
from multiattach.api.routing import Controller, route
from multiattach.api.schemas import messages as schemas
from multiattach.api.views import messages as views
from multiattach.api.views.elements import Links
from multiattach.engine import queries

_SINCE = 3


class MessagesController(Controller):
    """``/messages``."""

    @route('GET', '/messages', since=_SINCE, query=schemas.INDEX)
    def index(self, req: Request) -> dict[str, Any]:
        """List messages, newest first unless another order is asked for."""
        page = paging.parse_page(req.query, self.settings, queries.MESSAGE_SORT_KEYS)
        wanted = {key: value for key, value in req.query.items() if key not in paging.PARAMETERS}
        found = self.engine.messages.list_page(req.ctx, queries.message_conditions(req.ctx, wanted, req.minor), page)
        links = Links(req, self.settings)
        reply: dict[str, Any] = {'messages': [views.show(row, links) for row in found]}
        after = paging.next_link(req, self.settings, found, page)
        return reply | ({'messages_links': after} if after else {})

    @route('GET', '/messages/{message_id}', since=_SINCE)
    def show(self, req: Request, message_id: str) -> dict[str, Any]:
        """Show a message."""
        found = self.engine.messages.show(req.ctx, message_id)
        return {'message': views.show(found, Links(req, self.settings))}

    @route('DELETE', '/messages/{message_id}', since=_SINCE, status=204)
    def delete(self, req: Request, message_id: str) -> None:
        """Delete a message."""
        self.engine.messages.delete(req.ctx, message_id)
