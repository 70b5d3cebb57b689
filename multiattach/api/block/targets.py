# SPDX-License-Identifier: Apache-2.0
"""What targets really have, next to what is recorded: an extension of this service's own."""

from typing import Any

from multiattach.api.request import Request
from multiattach.api.routing import Controller, route
from multiattach.api.schemas import requests
from multiattach.api.schemas.replies import (
    COUNT,
    FLAG,
    NULL,
    TEXT,
    TEXT_OR_NULL,
    UUID,
    UUID_OR_NULL,
    Schema,
    many,
    one,
    strict,
)
from multiattach.domain import idents
from multiattach.domain.drift import TARGET_KINDS
from multiattach.domain.states import ATTACHMENT_STATES
from multiattach.engine.targets import ComparedTarget

_RULES = ('multiattach:targets',)
_QUERY = requests.fields(
    {'limit': requests.NUMBER_QUERY, 'marker': {'type': 'string', 'maxLength': 36}, 'host': requests.TEXT}
)

STATE: Schema = {'enum': [str(state) for state in ATTACHMENT_STATES]}
SESSIONS = many(strict({'initiator': TEXT, 'address': TEXT}))
TARGET = strict(
    {
        'volume_id': UUID,
        'host': TEXT_OR_NULL,
        'exists': FLAG,
        'iqn': TEXT_OR_NULL,
        'luns': many(strict({'lun': COUNT, 'device': TEXT, 'online': FLAG})),
        'initiators': many(TEXT),
        'accounts': many(TEXT),
        'sessions': SESSIONS,
        'recorded': {'anyOf': [many(strict({'initiator': TEXT, 'state': STATE, 'account': TEXT_OR_NULL})), NULL]},
        'differences': many(
            strict({'kind': {'enum': [str(kind) for kind in TARGET_KINDS]}, 'about': TEXT, 'text': TEXT})
        ),
    }
)
_LIST = strict(
    {'targets': many(TARGET), 'unanswered': many(strict({'host': TEXT, 'reason': TEXT})), 'next_marker': UUID_OR_NULL}
)


def detail(target: ComparedTarget) -> dict[str, Any]:
    """Show a target next to what is recorded of its volume; account names, never secrets."""
    shown = target.shown
    return {
        'volume_id': target.volume_id,
        'host': target.backend,
        'exists': shown is not None,
        'iqn': None if shown is None else shown['iqn'],
        'luns': [] if shown is None else shown['luns'],
        'initiators': [] if shown is None else shown['initiators'],
        'accounts': [] if shown is None else shown['accounts'],
        'sessions': [] if shown is None else shown['sessions'],
        'recorded': None
        if target.recorded is None
        else [{'initiator': row.initiator, 'state': row.state, 'account': row.account} for row in target.recorded],
        'differences': [{'kind': str(one.kind), 'about': one.about, 'text': one.text} for one in target.differences],
    }


class TargetsController(Controller):
    """``/multiattach/targets``."""

    @route('GET', '/multiattach/targets', query=_QUERY, reply=_LIST, rules=_RULES)
    def index(self, req: Request) -> dict[str, Any]:
        """List targets, those that should be and those that are, in order of their volumes' ids."""
        query = req.query
        limit = min(int(query.get('limit') or self.settings.max_limit), self.settings.max_limit)
        found = self.engine.targets.list_page(
            req.ctx, idents.normalise(query.get('marker', '')) or None, limit, query.get('host') or None
        )
        return {
            'targets': [detail(target) for target in found.targets],
            'unanswered': [{'host': host, 'reason': reason} for host, reason in sorted(found.unanswered.items())],
            'next_marker': found.marker,
        }

    @route('GET', '/multiattach/targets/{volume_id}', reply=one('target', TARGET), rules=_RULES)
    def show(self, req: Request, volume_id: str) -> dict[str, Any]:
        """Show the target of a volume."""
        return {'target': detail(self.engine.targets.show(req.ctx, volume_id))}
