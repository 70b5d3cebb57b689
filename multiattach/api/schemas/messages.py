# SPDX-License-Identifier: Apache-2.0
"""Queries of messages."""

from multiattach.api.schemas.elements import query
from multiattach.api.validation import Versioned

INDEX = Versioned({0: query()})
