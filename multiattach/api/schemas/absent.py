# SPDX-License-Identifier: Apache-2.0
"""Bodies that would make what this service does not have: only the volume in them is read."""

from typing import Any

from multiattach.api.validation import Versioned


def _of_volume(noun: str) -> Versioned:
    inner: dict[str, Any] = {
        'type': 'object', 'properties': {'volume_id': {'type': 'string'}}, 'required': ['volume_id']}
    return Versioned({0: {'type': 'object', 'properties': {noun: inner}, 'required': [noun]}})


SNAPSHOT = _of_volume('snapshot')
BACKUP = _of_volume('backup')
TRANSFER = _of_volume('transfer')
