# SPDX-License-Identifier: Apache-2.0
"""Fences: an extension of this service's own. The answer carries the proof."""

from typing import Any

from multiattach.api.block.targets import SESSIONS
from multiattach.api.elements import format_time
from multiattach.api.request import Request
from multiattach.api.routing import Controller, route
from multiattach.api.schemas import requests
from multiattach.api.schemas.replies import COUNT, FLAG, NULL, TEXT, TEXT_OR_NULL, TIME, UUID, Schema, many, one, strict
from multiattach.api.validation import flag
from multiattach.db import models
from multiattach.engine.fences import FencedAttachment, HostFence

_HOST_WISH = {'out_of_service': requests.BOOLEAN, 'reason': requests.TEXT_OR_NULL, 'expected': requests.BOOLEAN}

MARK: Schema = {'fenced_at': TIME, 'out_of_service': FLAG, 'reason': TEXT_OR_NULL}
# Of registrations only targets tell that keep them.
_CUT = strict(
    {'acl': FLAG, 'account': FLAG, 'sessions': SESSIONS, 'others': SESSIONS, 'logins': many(TEXT)},
    {'registration': FLAG},
)
# What Ceph itself keeps of a fence, where hosts open images themselves.
_CEPH = strict(
    {
        'user': TEXT,
        'key': {'enum': ['removed', 'kept']},
        'blocklist': {'type': 'object', 'additionalProperties': TIME},
        'osdmap_epoch': COUNT,
        'osds': many(COUNT),
        'osds_down': many(COUNT),
        'monitors_silent': many(TEXT),
        'sessions_left': many(TEXT),
        'watchers_left': many(TEXT),
    }
)
_NO = {'const': False}
_LEFT = strict({'acl': _NO, 'account': _NO, 'sessions': {**SESSIONS, 'maxItems': 0}}, {'registration': _NO})
# What was cut at one of several gateways, or that nothing of it reaches Ceph any more.
_AT_GATEWAY = strict(
    {'portal': TEXT_OR_NULL},
    {
        'cut': strict({'acl': FLAG, 'account': FLAG, 'sessions': SESSIONS, 'logins': many(TEXT)}),
        'left': _LEFT,
        'instances': COUNT,
        'blocklisted': {'type': 'object', 'additionalProperties': TIME},
        'osdmap_epoch': COUNT,
        'monitors_silent': many(TEXT),
    },
)
_PROOF = strict(
    {
        'initiator': TEXT_OR_NULL,
        'worker': TEXT,
        'verified_at': TIME,
        'seconds': {'type': 'number', 'minimum': 0},
        'scope': {'enum': ['target', 'user', 'initiator']},
        'cut': _CUT,
        'left': _LEFT,
    },
    {'ceph': _CEPH, 'gateways': {'type': 'object', 'additionalProperties': _AT_GATEWAY}, 'shared_account': FLAG},
)
_FENCED = many(
    strict(
        {
            'id': UUID,
            'volume_id': UUID,
            'server_id': TEXT_OR_NULL,
            'host': TEXT_OR_NULL,
            'fenced': FLAG,
            'error': TEXT_OR_NULL,
            'proof': {'anyOf': [_PROOF, NULL]},
        }
    )
)
_RECOGNISED = {'known': FLAG, 'near': {**many(TEXT), 'maxItems': 5}}


def _show_proof(proof: dict[str, Any]) -> dict[str, Any]:
    found = {key: proof[key] for key in ('initiator', 'worker', 'verified_at', 'seconds', 'left')}
    found |= {key: proof[key] for key in ('ceph', 'gateways', 'shared_account') if key in proof}
    # Proofs of releases before have neither: they are about what stood under the initiator's name.
    return found | {'scope': proof.get('scope', 'initiator'), 'cut': {'others': [], 'logins': [], **proof['cut']}}


def _show_attachment(found: FencedAttachment) -> dict[str, Any]:
    return {
        'id': found.id,
        'volume_id': found.volume_id,
        'server_id': found.server_id,
        'host': found.host,
        'fenced': found.proof is not None,
        'error': found.error,
        'proof': None if found.proof is None else _show_proof(found.proof),
    }


def mark(row: models.FencedHost) -> dict[str, Any]:
    return {'fenced_at': format_time(row.fenced_at), 'out_of_service': row.out_of_service, 'reason': row.reason}


def _show_host(found: HostFence) -> dict[str, Any]:
    return {
        'host': found.mark.host,
        **mark(found.mark),
        'known': found.is_known,
        'near': list(found.near),
        'complete': found.is_complete,
        'attachments': [_show_attachment(one) for one in found.attachments],
    }


class FencesController(Controller):
    """``…/attachments/{id}/fence`` and ``…/hosts/{host}/fence|unfence`` below ``/multiattach``."""

    @route(
        'POST',
        '/multiattach/attachments/{attachment_id}/fence',
        body=requests.wrap('fence', requests.fields({'force': requests.BOOLEAN})),
        reply=one('fence', one('attachments', _FENCED)),
        rules=('multiattach:attachment_fence',),
    )
    def fence_attachment(self, req: Request, body: dict[str, Any], attachment_id: str) -> dict[str, Any]:
        """Cut an attachment's initiator off its volume, and see on the target that it is."""
        found = self.engine.fences.fence_attachment(req.ctx, attachment_id, force=flag(body['fence'], 'force'))
        return {'fence': {'attachments': [_show_attachment(one) for one in found]}}

    @route(
        'POST',
        '/multiattach/hosts/{host}/fence',
        body=requests.wrap('fence', requests.fields(_HOST_WISH)),
        reply=one('fence', strict({'host': TEXT, **MARK, **_RECOGNISED, 'complete': FLAG, 'attachments': _FENCED})),
        rules=('multiattach:host_fence',),
    )
    def fence_host(self, req: Request, body: dict[str, Any], host: str) -> dict[str, Any]:
        """Cut off all that a host has, and keep it from getting more."""
        wish = body['fence']
        found = self.engine.fences.fence_host(
            req.ctx,
            host,
            out_of_service=flag(wish, 'out_of_service'),
            reason=wish.get('reason') or None,
            expected=flag(wish, 'expected'),
        )
        return {'fence': _show_host(found)}

    @route(
        'POST',
        '/multiattach/hosts/{host}/unfence',
        body=requests.wrap('unfence', requests.fields({})),
        reply=one('unfence', strict({'host': TEXT, 'was_fenced': FLAG, **_RECOGNISED})),
        rules=('multiattach:host_unfence',),
    )
    def unfence_host(self, req: Request, _body: dict[str, Any], host: str) -> dict[str, Any]:
        """Let a host have volumes again."""
        found = self.engine.fences.unfence_host(req.ctx, host)
        return {
            'unfence': {
                'host': found.host,
                'was_fenced': found.was_fenced,
                'known': found.is_known,
                'near': list(found.near),
            }
        }
