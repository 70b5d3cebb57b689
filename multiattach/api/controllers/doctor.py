# SPDX-License-Identifier: Apache-2.0
"""Looking for drift and putting it right: an extension of this service's own."""

from typing import Any

from oslo_utils import strutils

from multiattach.api.request import Request
from multiattach.api.routing import Controller, route
from multiattach.api.schemas import doctor as schemas
from multiattach.api.views import doctor as views
from multiattach.domain import errors


class DoctorController(Controller):
    """``/multiattach/doctor``."""

    @route('POST', '/multiattach/doctor', body=schemas.EXAMINE)
    def examine(self, req: Request, body: dict[str, Any]) -> dict[str, Any]:
        """Have every worker and agent compare what is recorded with what is there; put it right if asked to."""
        fix = bool(strutils.bool_from_string(str(body['doctor'].get('fix', False))))
        release = body['doctor'].get('release', [])
        if release and not fix:
            raise errors.InvalidInput('What is released is put right: release goes with fix.')
        return {'doctor': views.diagnosis(self.engine.doctor.diagnose(req.ctx, fix=fix, release=release))}
