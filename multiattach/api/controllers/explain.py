# SPDX-License-Identifier: Apache-2.0
"""What happened, who acts next, what a person can do: an extension of this service's own.

No path of Block Storage begins with ``/multiattach``. New keys may come; none goes.
"""

from typing import Any

from oslo_utils import strutils

from multiattach.api.request import Request
from multiattach.api.routing import Controller, route
from multiattach.api.schemas import explain as schemas
from multiattach.api.views import explain as views


class ExplainController(Controller):
    """``/multiattach/attachments/{id}/explain`` and ``/multiattach/volumes/{id}/explain``."""

    @route('GET', '/multiattach/attachments/{attachment_id}/explain', query=schemas.EXPLAIN)
    def explain_attachment(self, req: Request, attachment_id: str) -> dict[str, Any]:
        """Explain an attachment, one that is gone too: its timeline, and what comes next."""
        found = self.engine.explanations.explain_attachment(req.ctx, attachment_id, live=_is_live(req))
        return {'explanation': views.attachment(found, sees_internals=self.engine.explanations.sees_internals(req.ctx))}

    @route('GET', '/multiattach/volumes/{volume_id}/explain', query=schemas.EXPLAIN)
    def explain_volume(self, req: Request, volume_id: str) -> dict[str, Any]:
        """Explain a volume: why it has its status, and what comes next."""
        found = self.engine.explanations.explain_volume(req.ctx, volume_id, live=_is_live(req))
        return {'explanation': views.volume(found, sees_internals=self.engine.explanations.sees_internals(req.ctx))}

    @route('GET', '/multiattach/hosts/{host}/explain')
    def explain_host(self, req: Request, host: str) -> dict[str, Any]:
        """Explain a compute host: what is recorded, what is true on it, what differs, and what comes next."""
        return {'explanation': views.host(self.engine.explanations.explain_host(req.ctx, host))}


def _is_live(req: Request) -> bool:
    return bool(strutils.bool_from_string(str(req.query.get('live', ''))))
