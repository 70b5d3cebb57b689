# SPDX-License-Identifier: Apache-2.0
"""The body that looks for drift."""

from multiattach.api.schemas.elements import BOOLEAN, fields, wrap
from multiattach.api.validation import Versioned

# As findings that wait for a person show them.
_SEALS = {'type': 'array', 'maxItems': 100, 'items': {'type': 'string', 'pattern': r'^[0-9a-f]{12}\Z'}}

EXAMINE = Versioned({0: wrap('doctor', fields({'fix': BOOLEAN, 'release': _SEALS}))})
