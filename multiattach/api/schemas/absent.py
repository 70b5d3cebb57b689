# SPDX-License-Identifier: Apache-2.0
"""Bodies that would make what this service does not have: only the volume in them is read."""

from typing import Any

from multiattach.api.validation import Versioned


def _of_volume(noun: str, of: str | list[str] = 'string') -> Versioned:
    inner: dict[str, Any] = {'type': 'object', 'properties': {'volume_id': {'type': of}}, 'required': ['volume_id']}
    return Versioned({0: {'type': 'object', 'properties': {noun: inner}, 'required': [noun]}})


# As in Block Storage, no volume is one that cannot be found.
SNAPSHOT = _of_volume('snapshot', ['string', 'null'])
BACKUP = _of_volume('backup')
TRANSFER = _of_volume('transfer')
