# SPDX-License-Identifier: Apache-2.0
"""JSON Schemas of replies: one module per noun, strict, for the description and for tests.

Replies are not checked while the service runs.
"""

from multiattach.api.schemas.replies.elements import Reply
from multiattach.api.schemas.replies.table import ACTIONS, ROUTES, error

__all__ = ['ACTIONS', 'ROUTES', 'Reply', 'error']
