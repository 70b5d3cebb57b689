# SPDX-License-Identifier: Apache-2.0
"""Bodies and queries of services (contract 10.4)."""

from multiattach.api.schemas.elements import NAME, fields
from multiattach.api.validation import Versioned

_TEXT = {'type': 'string', 'maxLength': 255}
# ``service`` is the old name of ``binary``.
_ONE = {'host': NAME, 'binary': NAME, 'service': NAME}
_NAMED = [{'required': ['binary']}, {'required': ['service']}]

INDEX = Versioned({0: fields({'host': _TEXT, 'binary': _TEXT, 'service': _TEXT}, strict=False)})
ENABLE = Versioned({0: fields(_ONE, 'host', anyOf=_NAMED)})
DISABLE = Versioned(
    {0: fields(_ONE | {'disabled_reason': {'type': ['string', 'null'], 'maxLength': 255}}, 'host', anyOf=_NAMED)}
)
HOST = Versioned({0: fields({'host': NAME}, 'host', strict=False)})
DISABLE_LOG_REASON = Versioned({0: fields(_ONE | {'disabled_reason': NAME}, 'host', 'disabled_reason', anyOf=_NAMED)})
