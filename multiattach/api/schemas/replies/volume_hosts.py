# SPDX-License-Identifier: Apache-2.0
"""Replies about hosts."""

from multiattach.api.schemas.replies.elements import TEXT, TIME_OR_NULL, always, many, one, strict

_STATUS = {'enum': ['enabled', 'disabled']}
_NUMBER = {'type': 'string', 'pattern': '^[0-9]+$'}

INDEX = one(
    'hosts',
    many(
        strict(
            {
                'host_name': TEXT,
                'service': TEXT,
                'zone': TEXT,
                'service-status': {'enum': ['available', 'unavailable']},
                'service-state': _STATUS,
                'last-update': TIME_OR_NULL,
            }
        )
    ),
)
SHOW = one(
    'host',
    {
        **many(
            strict(
                {
                    'resource': strict(
                        {
                            'host': TEXT,
                            'project': TEXT,
                            'volume_count': _NUMBER,
                            'total_volume_gb': _NUMBER,
                            'snapshot_count': {'const': '0'},
                            'total_snapshot_gb': {'const': '0'},
                        }
                    )
                }
            )
        ),
        'minItems': 1,
    },
)
CHANGED = always(strict({'host': TEXT, 'status': _STATUS}))
