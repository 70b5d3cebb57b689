# SPDX-License-Identifier: Apache-2.0
"""libvirt's event loop, one a process: events and keepalive come by it."""

from collections.abc import Callable
from typing import Any

from oslo_log import log

from multiattach import concurrency

LOG = log.getLogger(__name__)

threading: Any = concurrency.native('threading')  # the loop needs a real thread
_lock = threading.Lock()
_loop: Any = None


def start(lib: Any) -> None:
    """Start the loop if it does not run; it must exist before a connection is opened."""
    global _loop
    with _lock:
        if _loop is None:
            # Errors come as exceptions; the default handler prints each once more.
            lib.registerErrorHandler(lambda _context, _error: None, None)
            lib.virEventRegisterDefaultImpl()
            _loop = threading.Thread(
                target=_run, args=(lib.virEventRunDefaultImpl,), name='libvirt-events', daemon=True
            )
            _loop.start()


def _run(run_once: Callable[[], int]) -> None:
    while True:
        try:
            run_once()
        except Exception:
            LOG.exception('libvirt event loop')
