# SPDX-License-Identifier: Apache-2.0
"""Steps that take as long as they take: beside all others, a few at a time, in threads of their own."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from oslo_log import log

from multiattach.domain import errors
from multiattach.steps.leases import VOLUME, StepLeases

LOG = log.getLogger(__name__)


class SlowSteps:
    """Runs slow steps on volumes, or on another noun, one at a time on each. What broke off is taken up by its row."""

    def __init__(self, leases: StepLeases, name: str, at_a_time: int, noun: str = VOLUME) -> None:
        self._leases = leases
        self._noun = noun
        self._name = name
        self._at_a_time = at_a_time
        self._lock = threading.Lock()
        self._known: set[str] = set()  # waiting or in work
        self._stopping = threading.Event()
        self._pool: ThreadPoolExecutor | None = None

    @property
    def is_stopping(self) -> bool:
        return self._stopping.is_set()

    def has(self, ident: str) -> bool:
        """Tell whether a step on it waits or is in work."""
        with self._lock:
            return ident in self._known

    def start(self) -> None:
        """Run steps (again)."""
        with self._lock:
            self._stopping.clear()
            self._pool = ThreadPoolExecutor(self._at_a_time, self._name)

    def stop(self) -> None:
        """Have the steps in work break off, and begin no more."""
        with self._lock:
            self._stopping.set()
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(cancel_futures=True)
        for volume_id in self._known:  # waited for their turn
            self._leases.drop(volume_id)
        self._known.clear()

    def begin(self, ident: str, step: Callable[[], None]) -> None:
        """Have a step run; of one that is in work already nothing more is begun."""
        with self._lock:
            if self._pool is None or ident in self._known:
                return
            self._known.add(ident)
            self._leases.grab(self._noun, ident)  # to wait is no reason for another one to take it
            self._pool.submit(self._run, ident, step)

    def _run(self, ident: str, step: Callable[[], None]) -> None:
        try:
            step()
        except errors.MultiattachError as exc:
            LOG.warning('%s %s is taken up later: %s', self._noun, ident, exc)
        except Exception:  # nobody else would see it
            LOG.exception('%s %s: step %s was not done', self._noun, ident, self._name)
        finally:
            with self._lock:
                self._known.discard(ident)
            self._leases.drop(ident)
