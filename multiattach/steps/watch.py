# SPDX-License-Identifier: Apache-2.0
"""For how long a process has seen things as they are, by a clock that does not step."""

import dataclasses
import threading
import time

_KEPT = 300.0  # s for which something that nobody looks at is remembered


@dataclasses.dataclass
class _Sight:
    what: object
    first: float
    last: float


class Watch:
    """Remembers since when things are as they are. Safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sights: dict[str, _Sight] = {}
        self._swept = time.monotonic()

    def look(self, ident: str, what: object) -> float:
        """Note how a thing looks now; return the seconds since it was first seen so."""
        now = time.monotonic()
        with self._lock:
            sight = self._sights.get(ident)
            if sight is None or sight.what != what:
                sight = self._sights[ident] = _Sight(what, now, now)
            sight.last = now
            if now > self._swept + _KEPT:
                self._swept = now
                self._sights = {name: one for name, one in self._sights.items() if one.last > now - _KEPT}
            return now - sight.first
