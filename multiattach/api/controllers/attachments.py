# SPDX-License-Identifier: Apache-2.0
"""Attachments (contract 2)."""

from typing import Any

import pecan

from multiattach.api import paging
from multiattach.api.actions import ANY_BODY, ActionController, action
from multiattach.api.request import Request
from multiattach.api.routing import Controller, route
from multiattach.api.schemas import attachments as schemas
from multiattach.api.views import attachments as views
from multiattach.engine import queries

_SINCE = 27
_COMPLETE = 44


class AttachmentsController(Controller):
    """``/attachments``."""

    @route('GET', '/attachments', since=_SINCE, query=schemas.INDEX)
    def index(self, req: Request) -> dict[str, Any]:
        """List attachments."""
        return self._list(req, detail=False)

    @route('GET', '/attachments/detail', since=_SINCE, query=schemas.INDEX)
    def detail(self, req: Request) -> dict[str, Any]:
        """List attachments with all that belongs to them."""
        return self._list(req, detail=True)

    def _list(self, req: Request, *, detail: bool) -> dict[str, Any]:
        query = req.query
        page = paging.parse_page(query, self.settings, queries.ATTACHMENT_SORT_KEYS)
        wanted = {key: value for key, value in query.items() if key not in paging.PARAMETERS}
        found = self.engine.attachments.list_page(
            req.ctx,
            queries.attachment_conditions(req.ctx, wanted, req.minor),
            page,
            detail=detail,
            all_projects='all_tenants' in query and queries.parse_boolean(query['all_tenants']),
        )
        reply: dict[str, Any] = {
            'attachments': [
                views.detail(row, sees_secrets=req.ctx.sees_secrets) if detail else views.summary(row) for row in found
            ]
        }
        links = paging.next_link(req, self.settings, found, page)
        return reply | ({'attachments_links': links} if links else {})

    @route('POST', '/attachments', since=_SINCE, body=schemas.CREATE)
    def create(self, req: Request, body: dict[str, Any]) -> dict[str, Any]:
        """Reserve a volume for a server and, given a connector, connect it; 200 (contract 11.5)."""
        wanted = body['attachment']
        found = self.engine.attachments.create(
            req.ctx, wanted['volume_uuid'], wanted.get('instance_uuid'), wanted.get('connector'), wanted.get('mode')
        )
        return {'attachment': views.detail(found, sees_secrets=True)}

    @route('GET', '/attachments/{attachment_id}', since=_SINCE)
    def show(self, req: Request, attachment_id: str) -> dict[str, Any]:
        """Show an attachment; what opens the target is for admins and services only."""
        found = self.engine.attachments.show(req.ctx, attachment_id)
        return {'attachment': views.detail(found, sees_secrets=req.ctx.sees_secrets)}

    @route('PUT', '/attachments/{attachment_id}', since=_SINCE, body=schemas.UPDATE)
    def update(self, req: Request, body: dict[str, Any], attachment_id: str) -> dict[str, Any]:
        """Give an attachment its connector."""
        found = self.engine.attachments.connect(req.ctx, attachment_id, body['attachment']['connector'])
        return {'attachment': views.detail(found, sees_secrets=True)}

    @route('DELETE', '/attachments/{attachment_id}', since=_SINCE)
    def delete(self, req: Request, attachment_id: str) -> dict[str, Any]:
        """Delete an attachment; the reply tells which remain on its volume."""
        remaining = self.engine.attachments.delete(req.ctx, attachment_id)
        return {'attachments': [views.summary(row) for row in remaining]}


class AttachmentActionsController(ActionController):
    """``POST /attachments/{attachment_id}/action``."""

    @route('POST', '/attachments/{attachment_id}/action', since=_COMPLETE, body=ANY_BODY)
    def act(self, req: Request, body: Any, attachment_id: str) -> pecan.Response:
        """Carry out an action."""
        return self.run(req, body, attachment_id)

    @action('os-complete', status=204)
    def complete(self, req: Request, attachment_id: str, _value: Any) -> None:
        """Mark an attachment as attached, whatever the value (contract 11.5)."""
        self.engine.attachments.complete(req.ctx, attachment_id)
