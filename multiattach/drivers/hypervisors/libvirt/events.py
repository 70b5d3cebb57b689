# SPDX-License-Identifier: Apache-2.0
"""Waiting for the events that end a detach."""

import contextlib
import enum
from collections.abc import Iterator
from typing import Any

from multiattach import concurrency

# Events come in a real thread in any case: libvirt's own loop cannot give way to green threads.
threading: Any = concurrency.native('threading')


class UnplugResult(enum.Enum):
    """How a request to let go of a device ended."""

    REMOVED = 'removed'
    REFUSED = 'refused'


class Removal:
    """A wait for one device of one server."""

    def __init__(self) -> None:
        self._heard = threading.Event()
        self._outcome: UnplugResult | None = None

    def report(self, outcome: UnplugResult) -> None:
        if not self._heard.is_set():
            self._outcome = outcome
            self._heard.set()

    def wait(self, timeout: float) -> UnplugResult | None:
        """Return what happened, None if nothing was heard in *timeout* seconds."""
        concurrency.wait(self._heard, timeout)
        return self._outcome


class Removals:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[tuple[str, str], list[Removal]] = {}

    @contextlib.contextmanager
    def expect(self, server_id: str, alias: str) -> Iterator[Removal]:
        """Listen for events of a device; to be entered before the device is asked for."""
        key, removal = (server_id, alias), Removal()
        with self._lock:
            self._waiting.setdefault(key, []).append(removal)
        try:
            yield removal
        finally:
            with self._lock:
                self._waiting[key].remove(removal)
                if not self._waiting[key]:
                    del self._waiting[key]

    def report(self, server_id: str, alias: str, outcome: UnplugResult) -> None:
        """Tell those who wait for a device."""
        with self._lock:
            for removal in self._waiting.get((server_id, alias), ()):
                removal.report(outcome)
