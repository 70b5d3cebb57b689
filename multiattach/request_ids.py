# SPDX-License-Identifier: Apache-2.0
"""Request ids: from the caller of the API to the last worker, and into each line of the log.

oslo.log prints the ids of the context that it finds in the thread; a request has one there while it
runs, and so has an RPC.
"""

import contextlib
from collections.abc import Mapping
from typing import Any

from oslo_context import context as oslo_context


def make(request_id: str | None) -> dict[str, str | None]:
    """Make the context that goes with an RPC: two ids, nothing that is secret."""
    current = oslo_context.get_current()
    if current is None or (request_id is not None and current.request_id != request_id):
        return {'request_id': request_id, 'global_request_id': None}
    return {'request_id': current.request_id, 'global_request_id': current.global_request_id}


def bind(ids: Mapping[str, Any]) -> None:
    """Let what this thread logs from now on carry the ids of a request.

    :param ids: what :func:`make` made; an older release has no ``global_request_id``.
    """
    request_id = ids.get('request_id')
    if request_id:
        oslo_context.RequestContext(request_id=request_id, global_request_id=ids.get('global_request_id'))
    else:
        clear()


def clear() -> None:
    """Forget the context of this thread: what it logs now belongs to no request."""
    with contextlib.suppress(AttributeError):  # as oslo.context's own fixture does it
        del oslo_context._request_store.context
