# SPDX-License-Identifier: Apache-2.0
"""Queries of backend pools."""

from multiattach.api.schemas.elements import BOOLEAN_QUERY, fields
from multiattach.api.validation import Versioned

INDEX = Versioned({0: fields({'detail': BOOLEAN_QUERY}, strict=False)})
