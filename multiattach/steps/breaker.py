# SPDX-License-Identifier: Apache-2.0
"""The circuit breaker of repairs that take something away: many, at once or in turn, wait for a person.

One mistake looks like many drifts: a restored database, another libvirt, another Nova. What is held is named
by a seal over exactly what was seen, so that a release lets nothing through that came after that look.
"""

import collections
import hashlib
import json
import time
from collections.abc import Callable, Hashable, Iterable, Sequence

from multiattach.domain.findings import DriftRules, Seen

_SEAL = 12  # characters
Key = Callable[[Seen], Hashable]


class Breaker:
    """Counts what a backend's or a host's repairs take away.

    :param clock: tells seconds that only grow.
    """

    def __init__(self, rules: DriftRules, clock: Callable[[], float] = time.monotonic) -> None:
        self._rules = rules
        self._clock = clock
        self._done: collections.deque[tuple[float, int]] = collections.deque()
        self._crept: set[Seen] = set()

    def judge(self, wanted: Sequence[Seen], there: int, find_key: Key) -> dict[Seen, str]:
        """Tell which repairs wait for a person, and why.

        :param wanted: all drift whose repair takes something away, due or not.
        :param there: sessions, targets or attachments that there are.
        :param find_key: what one run of a repair puts right has one key.
        """
        self._crept &= set(wanted)
        limit, count, done = self._rules.find_limit(there), _count(wanted, find_key), self._count_done()
        if count > limit:
            reason = f'Repairs would take away {count} of {there} at once, and more than {limit} wait for a person.'
            return {one: one.hold or reason for one in wanted}
        if done and count + done > limit:
            self._crept.update(wanted)
        crept = (
            f'Within {self._rules.window:g} s repairs would take away more than {limit} of {there}, one '
            'after the other: what is left waits for a person.'
        )
        return {one: one.hold or crept for one in wanted if one.hold or one in self._crept}

    def report(self, made: Sequence[Seen], find_key: Key) -> None:
        if made:
            self._done.append((self._clock(), _count(made, find_key)))

    def _count_done(self) -> int:
        after = self._clock() - self._rules.window
        while self._done and self._done[0][0] <= after:
            self._done.popleft()
        return sum(units for _at, units in self._done)


def _count(wanted: Iterable[Seen], find_key: Key) -> int:
    """Count what is touched: several kinds may tell of one login."""
    by_run: dict[Hashable, dict[str, int]] = {}
    for one in wanted:
        kinds = by_run.setdefault(find_key(one), {})
        kinds[one.kind] = kinds.get(one.kind, 0) + one.units
    return sum(max(kinds.values()) for kinds in by_run.values())


def make_seal(held: Iterable[Seen]) -> str:
    """Name all that is held; each worker and each process of one host gives it the same name."""
    names = sorted([one.kind, one.host, one.volume_id or '', one.attachment_id or '', one.about] for one in held)
    return hashlib.sha256(json.dumps(names).encode()).hexdigest()[:_SEAL]
