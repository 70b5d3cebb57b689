# SPDX-License-Identifier: Apache-2.0
"""Bodies and queries of hosts."""

from multiattach.api.schemas.elements import fields
from multiattach.api.validation import Versioned

_TEXT = {'type': 'string', 'maxLength': 255}

INDEX = Versioned({0: fields({'zone': _TEXT, 'service': _TEXT}, strict=False)})
UPDATE = Versioned({0: fields({'status': {'enum': ['enable', 'disable']}}, 'status')})
