# SPDX-License-Identifier: Apache-2.0
"""Queries of targets."""

from multiattach.api.schemas.elements import NUMBER_QUERY, fields
from multiattach.api.validation import Versioned

INDEX = Versioned(
    {
        0: fields(
            {
                'limit': NUMBER_QUERY,
                'marker': {'type': 'string', 'maxLength': 36},
                'host': {'type': 'string', 'maxLength': 255},
            }
        )
    }
)
