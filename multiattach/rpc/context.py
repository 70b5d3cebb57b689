# SPDX-License-Identifier: Apache-2.0
"""The context of an RPC: the ids of the request behind it."""

from collections.abc import Mapping
from typing import Any

import oslo_messaging as messaging

from multiattach import request_ids


class ContextSerializer(messaging.Serializer):
    """Puts the ids of a call into the thread that answers it."""

    def serialize_entity(self, ctxt: Any, entity: Any) -> Any:
        """Return a value as it is."""
        return entity

    def deserialize_entity(self, ctxt: Any, entity: Any) -> Any:
        """Return a value as it is."""
        return entity

    def serialize_context(self, ctxt: Any) -> Any:
        """Return a context as it is."""
        return ctxt

    def deserialize_context(self, ctxt: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a context as it is, and have it logged with each line of this thread."""
        request_ids.bind(ctxt)
        return ctxt
