# SPDX-License-Identifier: Apache-2.0
"""The body that looks for drift."""

from multiattach.api.schemas.elements import BOOLEAN, fields, wrap
from multiattach.api.validation import Versioned

EXAMINE = Versioned({0: wrap('doctor', fields({'fix': BOOLEAN}))})
