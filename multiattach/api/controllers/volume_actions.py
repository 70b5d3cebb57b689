# SPDX-License-Identifier: Apache-2.0
"""Actions on volumes (contract 5, 6)."""

from typing import Any

import pecan

from multiattach.api.actions import ANY_BODY, action
from multiattach.api.controllers.legacy_actions import LegacyActionController
from multiattach.api.controllers.setting_actions import SettingActionController
from multiattach.api.request import Request
from multiattach.api.routing import route
from multiattach.api.schemas import volumes as schemas

_EXTEND_IN_USE = 42


class VolumeActionsController(LegacyActionController, SettingActionController):
    """``POST /volumes/{volume_id}/action``."""

    @route('POST', '/volumes/{volume_id}/action', body=ANY_BODY)
    def act(self, req: Request, body: Any, volume_id: str) -> pecan.Response:
        """Carry out an action."""
        return self.run(req, body, volume_id)

    @action('os-reserve')
    def reserve(self, req: Request, volume_id: str, _value: Any) -> None:
        """Mark a volume as being attached."""
        self.engine.actions.reserve(req.ctx, volume_id)

    @action('os-unreserve')
    def unreserve(self, req: Request, volume_id: str, _value: Any) -> None:
        """Take that mark back."""
        self.engine.actions.unreserve(req.ctx, volume_id)

    @action('os-begin_detaching')
    def begin_detaching(self, req: Request, volume_id: str, _value: Any) -> None:
        """Mark a volume as being detached."""
        self.engine.actions.begin_detaching(req.ctx, volume_id)

    @action('os-roll_detaching')
    def roll_detaching(self, req: Request, volume_id: str, _value: Any) -> None:
        """Take that mark back."""
        self.engine.actions.roll_detaching(req.ctx, volume_id)

    @action('os-retype', schemas.RETYPE)
    def retype(self, req: Request, volume_id: str, value: dict[str, Any]) -> None:
        """Change a volume's type."""
        self.engine.actions.retype(req.ctx, volume_id, value['new_type'])

    @action('os-extend', schemas.EXTEND)
    def extend(self, req: Request, volume_id: str, value: dict[str, Any]) -> None:
        """Grow a volume."""
        self.engine.actions.extend(
            req.ctx, volume_id, int(value['new_size']), in_use_allowed=req.minor >= _EXTEND_IN_USE
        )

    @action('os-force_delete')
    def force_delete(self, req: Request, volume_id: str, _value: Any) -> None:
        """Delete a volume in any status."""
        self.engine.volumes.delete(req.ctx, volume_id, force=True)
