# SPDX-License-Identifier: Apache-2.0
"""Threads or green threads: decided once per process, before anything else is imported.

Threads are the default. ``MULTIATTACH_CONCURRENCY=eventlet`` in the environment selects eventlet; an
option of the configuration files would come too late, for reading them imports what eventlet has to
patch first.
"""

import contextlib
import ctypes
import importlib
import os
import sys
import time
import warnings
from types import ModuleType
from typing import Any

VARIABLE = 'MULTIATTACH_CONCURRENCY'
THREADING, EVENTLET = 'threading', 'eventlet'
_PAUSE = 0.005  # s


# In malloc.h of glibc. It sees a change of either only if it is told.
_ARENA_MAX, _TRIM_THRESHOLD = -8, -1


def _share_heap() -> None:
    """Have all threads allocate from one heap, which returns what it does not need any more.

    glibc gives threads up to 8 heaps for each CPU, and little of these is ever returned. They are there for threads
    that allocate at once, which those of one interpreter do not.
    """
    if 'MALLOC_ARENA_MAX' in os.environ:
        return
    with contextlib.suppress(OSError, AttributeError):  # another library than glibc
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_ARENA_MAX, 1)
        mallopt(_TRIM_THRESHOLD, 256 << 10)


def select() -> None:
    """Choose the backend that the environment names; to be called before other imports."""
    _share_heap()
    mode = os.environ.get(VARIABLE) or THREADING
    # futurist and oslo.messaging import eventlet in both modes, and it warns of itself in both.
    warnings.filterwarnings('ignore', message=r'\s*Eventlet is deprecated')
    if mode == EVENTLET:
        _patch()
    elif mode == THREADING:  # its resolver, which nothing uses then, is 8 MiB in each process
        os.environ.setdefault('EVENTLET_NO_GREENDNS', 'yes')
    else:
        sys.exit(f'Environment variable {VARIABLE} must be {THREADING} or {EVENTLET}, not {mode!r}.')
    from oslo_service import backend  # only after the patching

    backend.init_backend(backend.BackendType(mode))


def _patch() -> None:
    import eventlet  # not imported at all with threads

    eventlet.monkey_patch()


def is_green() -> bool:
    return os.environ.get(VARIABLE) == EVENTLET


def native(name: str) -> ModuleType:
    """Return a module of the standard library that works across real threads in both modes."""
    if is_green():
        from eventlet import patcher  # not imported at all with threads

        module: ModuleType = patcher.original(name)
        return module
    return importlib.import_module(name)


def wait(event: Any, timeout: float) -> bool:
    """Wait for a real thread's event (see :func:`native`); green threads work meanwhile."""
    if not is_green():
        return bool(event.wait(timeout))
    deadline = time.monotonic() + timeout
    while not event.is_set() and time.monotonic() < deadline:
        time.sleep(_PAUSE)
    return bool(event.is_set())
