# SPDX-License-Identifier: Apache-2.0
"""Replies of this service's own extension: explanations, hosts and targets."""

from collections.abc import Mapping
from typing import Any

from multiattach.api.schemas.replies.elements import (
    COUNT,
    FLAG,
    TEXT,
    TEXT_OR_NULL,
    TIME,
    TIME_OR_NULL,
    UUID,
    UUID_OR_NULL,
    always,
    many,
    one,
    strict,
)
from multiattach.domain.drift import TARGET_KINDS, Drift
from multiattach.domain.findings import Outcome
from multiattach.domain.states import ATTACHMENT_STATES, Owner

_STATE: Mapping[str, Any] = {'enum': [str(state) for state in ATTACHMENT_STATES]}
_FLAG_OR_NULL: Mapping[str, Any] = {'type': ['boolean', 'null']}
_SECONDS: Mapping[str, Any] = {'type': ['number', 'null'], 'minimum': 0}
_DRIVER: Mapping[str, Any] = {'enum': ['host agent', 'client']}
_PLACE: Mapping[str, Any] = {
    'id': UUID,
    'volume_id': UUID,
    'server_id': TEXT_OR_NULL,
    'status': TEXT,
    'state': _STATE,
    'since': TIME,
    'mode': {'enum': ['rw', 'ro', None]},
    'device': TEXT_OR_NULL,
    'driven_by': _DRIVER,
    'error': TEXT_OR_NULL,
}
# For those who may see hosts.
_HOST: Mapping[str, Any] = {'host': TEXT_OR_NULL, 'initiator': TEXT_OR_NULL}
_OWNER: Mapping[str, Any] = {
    'owner': {'enum': [str(owner) for owner in Owner]},
    'owner_is_up': _FLAG_OR_NULL,
    'meaning': TEXT,
}
# Who is at the step, or when it is tried again; null for a step that is quick so far.
_LEASE: Mapping[str, Any] = {
    'anyOf': [
        strict({'until': TIME, 'attempts': COUNT, 'retry_at': TIME_OR_NULL, 'error': TEXT_OR_NULL}, {'process': TEXT}),
        {'type': 'null'},
    ]
}
_EXPECT: Mapping[str, Any] = {**_OWNER, 'next': TEXT, 'advice': TEXT, 'lease': _LEASE}
_STEP = strict(
    {
        'at': TIME,
        'event': TEXT,
        'from': TEXT_OR_NULL,
        'to': TEXT,
        'by': TEXT,
        'request_id': TEXT_OR_NULL,
        'user_id': TEXT_OR_NULL,
        'project_id': TEXT_OR_NULL,
        'service_id': TEXT_OR_NULL,
        'address': TEXT_OR_NULL,
        'seconds': _SECONDS,
        'stayed': _SECONDS,
        'error': TEXT_OR_NULL,
    },
    {'dropped': COUNT},
)

_SESSIONS = many(strict({'initiator': TEXT, 'address': TEXT}))
_TARGET = strict(
    {
        'volume_id': UUID,
        'host': TEXT_OR_NULL,
        'exists': FLAG,
        'iqn': TEXT_OR_NULL,
        'luns': many(strict({'lun': COUNT, 'device': TEXT, 'online': FLAG})),
        'initiators': many(TEXT),
        'accounts': many(TEXT),
        'sessions': _SESSIONS,
        'recorded': {
            'anyOf': [many(strict({'initiator': TEXT, 'state': _STATE, 'account': TEXT_OR_NULL})), {'type': 'null'}]
        },
        'differences': many(
            strict({'kind': {'enum': [str(kind) for kind in TARGET_KINDS]}, 'about': TEXT, 'text': TEXT})
        ),
    }
)
_FINDINGS = many(
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
_UNANSWERED = many(strict({'binary': TEXT, 'host': TEXT, 'reason': TEXT}))
DIAGNOSIS = one(
    'doctor', strict({'fix': FLAG, 'answered': COUNT, 'left': COUNT, 'findings': _FINDINGS, 'unanswered': _UNANSWERED})
)
_LIVE = strict(
    {
        'target': {'anyOf': [_TARGET, {'type': 'null'}]},
        'hosts': many(
            strict(
                {
                    'host': TEXT,
                    'servers': many(
                        strict(
                            {
                                'id': UUID,
                                'name': TEXT,
                                'power_state': TEXT,
                                'disks': many(
                                    strict(
                                        {
                                            'volume_id': TEXT,
                                            'device': TEXT,
                                            'live': FLAG,
                                            'saved': FLAG,
                                            'has_secret': FLAG,
                                        }
                                    )
                                ),
                            }
                        )
                    ),
                    'sessions': many(strict({'volume_id': UUID, 'iqn': TEXT, 'portal': TEXT})),
                }
            )
        ),
        'findings': _FINDINGS,
        'unanswered': _UNANSWERED,
    }
)

ATTACHMENT = one(
    'explanation',
    strict({**_PLACE, **_EXPECT, 'timeline': many(_STEP)}, {**_HOST, 'owner_name': TEXT_OR_NULL, 'live': _LIVE}),
)
VOLUME = one(
    'explanation',
    strict(
        {
            'id': UUID,
            'name': TEXT_OR_NULL,
            'project_id': TEXT,
            'size': COUNT,
            'volume_type': TEXT,
            'multiattach': FLAG,
            'status': TEXT,
            'since': TIME_OR_NULL,
            'derived': FLAG,
            'reason': TEXT,
            'decided_by': many(UUID),
            **_EXPECT,
            'warning': TEXT_OR_NULL,
            'attachments': many(strict({**_PLACE, **_OWNER}, _HOST)),
        },
        {'owner_name': TEXT_OR_NULL, 'backend': TEXT_OR_NULL, 'live': _LIVE},
    ),
)

_MARK: Mapping[str, Any] = {'fenced_at': TIME, 'out_of_service': FLAG, 'reason': TEXT_OR_NULL}
_HOST_FACTS: Mapping[str, Any] = {
    'host': TEXT,
    'driven_by': _DRIVER,
    'state': {'enum': ['up', 'down', None]},
    'status': {'enum': ['enabled', 'disabled', None]},
    'zone': TEXT_OR_NULL,
    'heartbeat_at': TIME_OR_NULL,
    'attachments': {'type': 'object', 'additionalProperties': COUNT},
    'server_count': COUNT,
    'initiator_count': COUNT,
    'fenced': {'anyOf': [strict(_MARK), {'type': 'null'}]},
}
HOSTS = one('hosts', many(strict(_HOST_FACTS)))
HOST = one(
    'host',
    strict(
        {
            **_HOST_FACTS,
            'initiators': many(TEXT),
            'cannot_share': TEXT_OR_NULL,
            'disabled_reason': TEXT_OR_NULL,
            'servers': many(strict({'id': UUID, 'name': TEXT, 'project_id': TEXT, 'power_state': TEXT})),
        }
    ),
)
EXPLAINED_HOST = one(
    'explanation',
    strict(
        {
            'host': TEXT,
            **{name: _HOST_FACTS[name] for name in ('driven_by', 'state', 'status', 'heartbeat_at', 'fenced')},
            'cannot_share': TEXT_OR_NULL,
            'initiators': many(TEXT),
            'owner': _OWNER['owner'],
            'meaning': TEXT,
            'next': TEXT,
            'advice': TEXT,
            'attachments': many(strict({**_PLACE, **_HOST, **_EXPECT, 'owner_name': TEXT_OR_NULL})),
            'live': {'anyOf': [_LIVE, {'type': 'null'}]},
        }
    ),
)
SERVER_ATTACHMENT = one(
    'attachment',
    strict(
        {
            'id': UUID,
            'volume_id': UUID,
            'server_id': UUID,
            'status': TEXT,
            'mode': {'enum': ['rw', 'ro', None]},
            'device': TEXT_OR_NULL,
        }
    ),
)

_CUT = strict({'acl': FLAG, 'account': FLAG, 'sessions': _SESSIONS, 'others': _SESSIONS, 'logins': many(TEXT)})
_PROOF = strict(
    {
        'initiator': TEXT_OR_NULL,
        'worker': TEXT,
        'verified_at': TIME,
        'seconds': {'type': 'number', 'minimum': 0},
        'scope': {'enum': ['target', 'initiator']},
        'cut': _CUT,
        'left': strict(
            {'acl': {'const': False}, 'account': {'const': False}, 'sessions': {**_SESSIONS, 'maxItems': 0}}
        ),
    }
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
            'proof': {'anyOf': [_PROOF, {'type': 'null'}]},
        }
    )
)
FENCED_ATTACHMENT = one('fence', strict({'attachments': _FENCED}))
_RECOGNISED = {'known': FLAG, 'near': {**many(TEXT), 'maxItems': 5}}
FENCED_HOST = one('fence', strict({'host': TEXT, **_MARK, **_RECOGNISED, 'complete': FLAG, 'attachments': _FENCED}))
UNFENCED_HOST = one('unfence', strict({'host': TEXT, 'was_fenced': FLAG, **_RECOGNISED}))

TARGETS = always(
    strict(
        {
            'targets': many(_TARGET),
            'unanswered': many(strict({'host': TEXT, 'reason': TEXT})),
            'next_marker': UUID_OR_NULL,
        }
    )
)
TARGET = one('target', _TARGET)
