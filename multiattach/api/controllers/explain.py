# SPDX-License-Identifier: Apache-2.0
"""What happened, who acts next, what a person can do: an extension of this service's own.

No path of Block Storage begins with ``/multiattach``. New keys may come; none goes.
"""

from typing import Any

from multiattach.api.request import Request
from multiattach.api.routing import Controller, route
from multiattach.api.views import explain as views


class ExplainController(Controller):
    """``/multiattach/attachments/{id}/explain`` and ``/multiattach/volumes/{id}/explain``."""

    @route('GET', '/multiattach/attachments/{attachment_id}/explain')
    def explain_attachment(self, req: Request, attachment_id: str) -> dict[str, Any]:
        """Explain an attachment, one that is gone too: its timeline, and what comes next.

        :param req: the request.
        :param attachment_id: UUID of the attachment.
        :returns: what the reply shows.
        :raises MultiattachError: as the use case that is called.
        """
        found = self.engine.explanations.explain_attachment(req.ctx, attachment_id)
        return {'explanation': views.attachment(
            found, sees_internals=self.engine.explanations.sees_internals(req.ctx))}

    @route('GET', '/multiattach/volumes/{volume_id}/explain')
    def explain_volume(self, req: Request, volume_id: str) -> dict[str, Any]:
        """Explain a volume: why it has its status, and what comes next.

        :param req: the request.
        :param volume_id: UUID of the volume.
        :returns: what the reply shows.
        :raises MultiattachError: as the use case that is called.
        """
        found = self.engine.explanations.explain_volume(req.ctx, volume_id)
        return {'explanation': views.volume(
            found, sees_internals=self.engine.explanations.sees_internals(req.ctx))}
