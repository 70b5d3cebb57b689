# SPDX-License-Identifier: Apache-2.0
"""Servers of Nova's that have volumes: a few are asked for in each round, all if a person wants to know."""

import concurrent.futures
import time
from collections.abc import Callable, Collection
from typing import Protocol

from oslo_log import log

from multiattach.domain import errors
from multiattach.domain.drift import Drift
from multiattach.drivers.nova.client import ServerState

LOG = log.getLogger(__name__)
_LONGEST = 32  # rounds that are left out at most
_PARALLEL = 4  # questions at once


class Compute(Protocol):
    """Who is asked, see :class:`multiattach.drivers.nova.client.NovaServers`."""

    def find(self, server_id: str) -> ServerState: ...

    def is_on_host(self, server_id: str) -> bool: ...


class NovaCheck:
    """Remembers what was asked and what was said.

    :param most: servers that are asked for in one round.
    """

    def __init__(self, compute: Compute, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._compute = compute
        self._most = most
        self._clock = clock
        self._asked: dict[str, float] = {}
        self._there: set[str] = set()
        self._deleted: set[str] = set()
        self._gone: dict[str, Drift] = {}
        self._skip = self._failures = 0

    def look(self, server_ids: Collection[str], *, everything: bool) -> dict[str, Drift]:
        """Ask for some servers, those first whose answer is the oldest.

        :param everything: ask for each of them.
        :raises Unavailable: no answer; the next rounds are left out, twice as many each time.
        """
        known = set(server_ids)
        self._asked = {ident: at for ident, at in self._asked.items() if ident in known}
        self._there &= known
        self._deleted &= known
        self._gone = {ident: kind for ident, kind in self._gone.items() if ident in known}
        if self._skip and not everything:
            self._skip -= 1
            return self._gone
        oldest = sorted(known, key=lambda one: (one not in self._gone, self._asked.get(one, 0.0), one))
        try:
            with concurrent.futures.ThreadPoolExecutor(_PARALLEL, 'nova') as pool:
                list(pool.map(self._ask, oldest if everything else oldest[: self._most]))
        except errors.Unavailable:
            self._failures += 1
            self._skip = min(2**self._failures, _LONGEST) - 1
            raise
        self._failures = self._skip = 0
        return self._gone

    def find_on_host(self, server_ids: Collection[str]) -> set[str]:
        """Ask which servers are on a host; of more than a round may ask for, the first in order."""
        return {ident for ident in sorted(server_ids)[: self._most] if self._compute.is_on_host(ident)}

    def is_gone(self, server_id: str) -> bool:
        """Ask once more, before something is taken away."""
        self._ask(server_id)
        return server_id in self._gone

    @property
    def has_any(self) -> bool:
        """Whether Nova has at least one of the servers that were asked for."""
        return bool(self._there - self._gone.keys())

    def is_deleted(self, server_id: str) -> bool:
        """Tell whether Nova itself remembers that it deleted a server."""
        return server_id in self._deleted

    def _ask(self, server_id: str) -> None:
        found = self._compute.find(server_id)
        if found is ServerState.DELETED:
            self._deleted.add(server_id)
        self._asked[server_id] = self._clock()
        if found is ServerState.THERE:
            self._there.add(server_id)
            self._gone.pop(server_id, None)
            self._deleted.discard(server_id)
        elif found is ServerState.DELETED or server_id in self._there:
            self._gone[server_id] = Drift.SERVER_GONE
        else:
            self._gone[server_id] = Drift.SERVER_UNKNOWN
