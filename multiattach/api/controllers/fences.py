# SPDX-License-Identifier: Apache-2.0
"""Fences: an extension of this service's own. The answer carries the proof."""

from typing import Any

from oslo_utils import strutils

from multiattach.api.request import Request
from multiattach.api.routing import Controller, route
from multiattach.api.schemas import fences as schemas
from multiattach.api.views import fences as views


class FencesController(Controller):
    """``…/attachments/{id}/fence`` and ``…/hosts/{host}/fence|unfence`` below ``/multiattach``."""

    @route('POST', '/multiattach/attachments/{attachment_id}/fence', body=schemas.ATTACHMENT)
    def fence_attachment(self, req: Request, body: dict[str, Any], attachment_id: str) -> dict[str, Any]:
        """Cut an attachment's initiator off its volume, and see on the target that it is."""
        found = self.engine.fences.fence_attachment(req.ctx, attachment_id, force=_flag(body['fence'], 'force'))
        return {'fence': views.attachments(found)}

    @route('POST', '/multiattach/hosts/{host}/fence', body=schemas.HOST)
    def fence_host(self, req: Request, body: dict[str, Any], host: str) -> dict[str, Any]:
        """Cut off all that a host has, and keep it from getting more."""
        wish = body['fence']
        return {
            'fence': views.host(
                self.engine.fences.fence_host(
                    req.ctx,
                    host,
                    out_of_service=_flag(wish, 'out_of_service'),
                    reason=wish.get('reason') or None,
                    expected=_flag(wish, 'expected'),
                )
            )
        }

    @route('POST', '/multiattach/hosts/{host}/unfence', body=schemas.UNFENCE)
    def unfence_host(self, req: Request, _body: dict[str, Any], host: str) -> dict[str, Any]:
        """Let a host have volumes again."""
        return {'unfence': views.unfenced(self.engine.fences.unfence_host(req.ctx, host))}


def _flag(wish: dict[str, Any], key: str) -> bool:
    return bool(strutils.bool_from_string(str(wish.get(key, False))))
