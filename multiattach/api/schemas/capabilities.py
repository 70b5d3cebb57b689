# SPDX-License-Identifier: Apache-2.0
"""Queries of filters."""

from multiattach.api.schemas.elements import fields
from multiattach.api.validation import Versioned

FILTERS = Versioned({0: fields({'resource': {'type': 'string', 'maxLength': 255}}, strict=False)})
