# SPDX-License-Identifier: Apache-2.0
"""The bodies that fence attachments and hosts."""

from multiattach.api.schemas.elements import BOOLEAN, TEXT_OR_NULL, fields, wrap
from multiattach.api.validation import Versioned

ATTACHMENT = Versioned({0: wrap('fence', fields({'force': BOOLEAN}))})
HOST = Versioned({0: wrap('fence', fields({'out_of_service': BOOLEAN, 'reason': TEXT_OR_NULL, 'expected': BOOLEAN}))})
UNFENCE = Versioned({0: wrap('unfence', fields({}))})
