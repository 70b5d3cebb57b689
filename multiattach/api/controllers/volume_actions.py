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
        """Carry out an action.

        :param req: the request.
        :param body: the parsed body, checked by its schema.
        :param volume_id: UUID of the volume.
        :returns: what the reply shows.
        :raises MultiattachError: as the use case that is called.
        """
        return self.run(req, body, volume_id)

    @action('os-reserve')
    def reserve(self, req: Request, volume_id: str, _value: Any) -> None:
        """Mark a volume as being attached.

        :param req: the request.
        :param volume_id: UUID of the volume.
        :param _value: value of the action's key; it says nothing.
        :raises MultiattachError: as the use case that is called.
        """
        self.engine.actions.reserve(req.ctx, volume_id)

    @action('os-unreserve')
    def unreserve(self, req: Request, volume_id: str, _value: Any) -> None:
        """Take that mark back.

        :param req: the request.
        :param volume_id: UUID of the volume.
        :param _value: value of the action's key; it says nothing.
        :raises MultiattachError: as the use case that is called.
        """
        self.engine.actions.unreserve(req.ctx, volume_id)

    @action('os-begin_detaching')
    def begin_detaching(self, req: Request, volume_id: str, _value: Any) -> None:
        """Mark a volume as being detached.

        :param req: the request.
        :param volume_id: UUID of the volume.
        :param _value: value of the action's key; it says nothing.
        :raises MultiattachError: as the use case that is called.
        """
        self.engine.actions.begin_detaching(req.ctx, volume_id)

    @action('os-roll_detaching')
    def roll_detaching(self, req: Request, volume_id: str, _value: Any) -> None:
        """Take that mark back.

        :param req: the request.
        :param volume_id: UUID of the volume.
        :param _value: value of the action's key; it says nothing.
        :raises MultiattachError: as the use case that is called.
        """
        self.engine.actions.roll_detaching(req.ctx, volume_id)

    @action('os-retype', schemas.RETYPE)
    def retype(self, req: Request, volume_id: str, value: dict[str, Any]) -> None:
        """Change a volume's type.

        :param req: the request.
        :param volume_id: UUID of the volume.
        :param value: value of the action's key, checked by its schema.
        :raises MultiattachError: as the use case that is called.
        """
        self.engine.actions.retype(req.ctx, volume_id, value['new_type'])

    @action('os-extend', schemas.EXTEND)
    def extend(self, req: Request, volume_id: str, value: dict[str, Any]) -> None:
        """Grow a volume.

        :param req: the request.
        :param volume_id: UUID of the volume.
        :param value: value of the action's key, checked by its schema.
        :raises MultiattachError: as the use case that is called.
        """
        self.engine.actions.extend(req.ctx, volume_id, int(value['new_size']),
                                   in_use_allowed=req.minor >= _EXTEND_IN_USE)

    @action('os-force_delete')
    def force_delete(self, req: Request, volume_id: str, _value: Any) -> None:
        """Delete a volume in any status.

        :param req: the request.
        :param volume_id: UUID of the volume.
        :param _value: value of the action's key; it says nothing.
        :raises MultiattachError: as the use case that is called.
        """
        self.engine.volumes.delete(req.ctx, volume_id, force=True)
