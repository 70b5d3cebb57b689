# SPDX-License-Identifier: Apache-2.0
"""What happens to a deployment while clients use it, by a schedule that its seed gives."""

import dataclasses
import random
import threading
import time
from collections.abc import Callable, Sequence

from tests.histories.field import Field

# How often each is chosen; those that take seconds seldom.
_WEIGHTS = {
    'service': 10,
    'tgtd': 5,
    'slow-tgtd': 5,
    'pause': 5,
    'api': 10,
    'worker': 10,
    'sleeper': 1,
    'connections': 12,
    'orders': 12,
    'slow-database': 5,
    'slow-broker': 4,
    'database': 2,
    'broker': 0.7,
    'redis': 3,
    'database-failover': 2,
    'broker-failover': 0.7,
    'clock': 5,
    'full-disk': 5,
    'cheat': 8,
    'half-open': 8,
    'old-database': 4,
    'libvirt': 2,
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
        self._trials = {
            number: field.trials[blow.name](random.Random(f'{seed}/trials/{number}'))
            for number, blow in enumerate(blows)
            if blow.name in field.trials
        }
        self._acts: list[threading.Thread] = []
        self.complaint: str | None = None

    @property
    def volumes(self) -> list[str]:
        """Ids of the volumes of trials."""
        return [ident for trial in self._trials.values() for ident in trial.volumes]

    def _run(self) -> None:
        began = time.monotonic()
        for number, blow in enumerate(self._blows):
            time.sleep(max(0.0, began + blow.after - time.monotonic()))
            trial = self._trials.get(number)
            if trial is not None and trial.is_alone:
                continue
            if trial is not None:  # it takes seconds, in which all else may happen
                self._acts.append(threading.Thread(target=self._try, args=(blow, trial.act), daemon=True))
                self._acts[-1].start()
            else:
                self._try(blow, self._strike, number)

    def _strike(self, number: int) -> None:
        self._field.faults[self._blows[number].name](random.Random(f'{self._seed}/faults/{number}'))

    def _try(self, blow: Blow, act: Callable[..., None], *words: int) -> None:
        try:
            act(*words)
        except Exception as exc:  # the test bed's own trouble is told as such
            self.complaint = f'{blow.name}: {type(exc).__name__}: {exc}'

    def start(self) -> None:
        """Begin; trials get ready first."""
        for trial in self._trials.values():
            trial.begin()
        self._thread.start()

    def wait(self) -> None:
        """Wait until the last fault is over."""
        self._thread.join(300)
        for act in self._acts:
            act.join(300)

    def judge(self) -> list[str]:
        """Carry out the trials that are to be alone, and end all, when all is quiet.

        :returns: what is wrong.
        """
        for number, trial in self._trials.items():
            if trial.is_alone:
                self._try(self._blows[number], trial.act)
        trouble = [f'the test bed: {self.complaint}'] if self.complaint else []
        return trouble + [
            f'{self._blows[number].name}: {text}' for number, trial in self._trials.items() for text in trial.end()
        ]
