# SPDX-License-Identifier: Apache-2.0
"""Bodies of default types (3.62)."""

from multiattach.api.schemas.elements import NAME, fields, wrap
from multiattach.api.validation import Versioned

SET = Versioned({62: wrap('default_type', fields({'volume_type': NAME}, 'volume_type'))})
