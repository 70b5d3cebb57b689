# SPDX-License-Identifier: Apache-2.0
"""How the volumes of backends are reached, as their workers report it."""

import time

from multiattach.db import services as db_services
from multiattach.db.commits import Work
from multiattach.domain import connection
from multiattach.domain.services import VOLUME_BINARY

_FRESH = 60.0  # s; it changes with a worker's configuration only, and a worker refuses what is not its own


class Protocols:
    """What was reported is remembered for a while: each attach asks."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, float]] = {}

    def find(self, work: Work, backend: str | None) -> str:
        """Tell the protocol of a backend; iSCSI if nobody says."""
        if backend is None:
            return connection.ISCSI
        known, until = self._known.get(backend, ('', 0.0))
        if time.monotonic() < until:
            return known
        found = db_services.find_protocol(work, VOLUME_BINARY, backend)
        if found is None:
            return connection.ISCSI
        self._known[backend] = found, time.monotonic() + _FRESH
        return found
