# SPDX-License-Identifier: Apache-2.0
"""Looking for drift and putting it right: an extension of this service's own."""

from typing import Any

from multiattach.api.request import Request
from multiattach.api.routing import Controller, route
from multiattach.api.schemas import requests
from multiattach.api.schemas.replies import COUNT, FLAG, TEXT, TEXT_OR_NULL, TIME, UUID_OR_NULL, many, one, strict
from multiattach.api.validation import flag
from multiattach.domain import errors
from multiattach.domain.drift import Drift
from multiattach.domain.findings import Finding, Outcome
from multiattach.engine.doctor import Diagnosis, Silence

# As findings that wait for a person show them.
_SEALS = {'type': 'array', 'maxItems': 100, 'items': {'type': 'string', 'pattern': r'^[0-9a-f]{12}\Z'}}

FINDINGS = many(
    strict(
        {
            'kind': {'enum': [str(kind) for kind in Drift]},
            'host': TEXT,
            'volume_id': UUID_OR_NULL,
            'attachment_id': UUID_OR_NULL,
            'about': TEXT,
            'text': TEXT,
            'step': TEXT,
            'action': {'enum': ['repair', 'report']},
            'outcome': {'enum': [str(outcome) for outcome in Outcome]},
            'since': TIME,
            'error': TEXT_OR_NULL,
            'seal': TEXT_OR_NULL,
            'left': FLAG,
        }
    )
)
UNANSWERED = many(strict({'binary': TEXT, 'host': TEXT, 'reason': TEXT}))
_DIAGNOSIS = strict({'fix': FLAG, 'answered': COUNT, 'left': COUNT, 'findings': FINDINGS, 'unanswered': UNANSWERED})


def finding(found: Finding) -> dict[str, Any]:
    return {**found.write(), 'left': found.is_left}


def unanswered(found: Silence) -> dict[str, Any]:
    return {'binary': found.binary, 'host': found.host, 'reason': found.reason}


def diagnosis(found: Diagnosis) -> dict[str, Any]:
    return {
        'fix': found.fix,
        'answered': found.answered,
        'left': found.left,
        'findings': [finding(one) for one in found.findings],
        'unanswered': [unanswered(one) for one in found.unanswered],
    }


class DoctorController(Controller):
    """``/multiattach/doctor``."""

    @route(
        'POST',
        '/multiattach/doctor',
        body=requests.wrap('doctor', requests.fields({'fix': requests.BOOLEAN, 'release': _SEALS})),
        reply=one('doctor', _DIAGNOSIS),
        rules=('multiattach:doctor',),
    )
    def examine(self, req: Request, body: dict[str, Any]) -> dict[str, Any]:
        """Have every worker and agent compare what is recorded with what is there; put it right if asked to."""
        fix = flag(body['doctor'], 'fix')
        release = body['doctor'].get('release', [])
        if release and not fix:
            raise errors.InvalidInput('What is released is put right: release goes with fix.')
        return {'doctor': diagnosis(self.engine.doctor.diagnose(req.ctx, fix=fix, release=release))}
