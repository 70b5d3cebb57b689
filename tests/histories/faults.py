# SPDX-License-Identifier: Apache-2.0
"""What happens to a deployment while clients use it, by a schedule that its seed gives."""

import dataclasses
import random
import threading
import time
from collections.abc import Sequence

from tests.histories.field import Field

# How often each is chosen; those that take seconds seldom.
_WEIGHTS = {
    'service': 10, 'tgtd': 5, 'slow-tgtd': 5, 'pause': 5, 'api': 10, 'worker': 10, 'sleeper': 1,
    'connections': 12, 'orders': 12, 'slow-database': 5, 'slow-broker': 4, 'database': 2, 'broker': 0.7,
    'redis': 3, 'database-failover': 2, 'broker-failover': 0.7, 'clock': 5, 'full-disk': 5,
}


@dataclasses.dataclass(frozen=True)
class Blow:
    """One fault.

    :param name: which.
    :param after: seconds from the beginning of the history.
    """

    name: str
    after: float


def schedule(seed: str, names: Sequence[str], share: float, seconds: float) -> list[Blow]:
    """Make the schedule of one history; the same seed gives the same.

    :param seed: of the history.
    :param names: the faults to choose from.
    :param share: how many histories have one.
    :param seconds: how long a history takes, about.
    """
    chance = random.Random(f'{seed}/faults')
    found = []
    while names and chance.random() < share:
        name = chance.choices(names, [_WEIGHTS.get(one, 1) for one in names])[0]
        found.append(Blow(name, chance.uniform(0, seconds)))
        share /= 3
    return sorted(found, key=lambda blow: blow.after)


class Storm:
    """Carries a schedule out.

    :param field: where.
    :param seed: of the history.
    :param blows: the schedule.
    """

    def __init__(self, field: Field, seed: str, blows: Sequence[Blow]) -> None:
        self._field = field
        self._seed = seed
        self._blows = blows
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.complaint: str | None = None

    def _run(self) -> None:
        began = time.monotonic()
        for number, blow in enumerate(self._blows):
            time.sleep(max(0.0, began + blow.after - time.monotonic()))
            try:
                self._field.faults[blow.name](random.Random(f'{self._seed}/faults/{number}'))
            except Exception as exc:  # the test bed's own trouble is told as such
                self.complaint = f'{blow.name}: {type(exc).__name__}: {exc}'

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wait(self) -> None:
        """Wait until the last fault is over."""
        self._thread.join(300)
