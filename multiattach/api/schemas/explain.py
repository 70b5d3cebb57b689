# SPDX-License-Identifier: Apache-2.0
"""Queries of explanations."""

from multiattach.api.schemas.elements import BOOLEAN, fields
from multiattach.api.validation import Versioned

EXPLAIN = Versioned({0: fields({'live': BOOLEAN})})
