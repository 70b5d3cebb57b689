# SPDX-License-Identifier: Apache-2.0
"""Drift that was found: what it is about, since when, and what became of it."""

import dataclasses
import enum
from collections.abc import Mapping
from typing import Any

from multiattach.domain.drift import TABLE, Action, Drift

# One server that was deleted may have had all volumes that its host has.
FEW = 5


class Outcome(enum.StrEnum):
    """What became of a finding."""

    FOUND = 'found'  # to be repaired, and nobody asked for it
    REPAIRED = 'repaired'
    REPORTED = 'reported'
    WAITING = 'waiting'
    FAILED = 'failed'


@dataclasses.dataclass(frozen=True)
class Seen:
    """A drift as a reconciler sees it.

    :param about: initiator, account, server or file that it is about.
    :param age: seconds that it has lasted by its row; None to count from when it was first seen.
    :param hold: why it is not repaired unless a person asks for it, or releases it if its repair takes
        something away; None otherwise.
    :param units: sessions, targets or attachments that its repair touches.
    """

    kind: Drift
    host: str
    volume_id: str | None = None
    attachment_id: str | None = None
    about: str = ''
    age: float | None = dataclasses.field(default=None, compare=False)
    hold: str | None = dataclasses.field(default=None, compare=False)
    units: int = dataclasses.field(default=1, compare=False)


@dataclasses.dataclass(frozen=True)
class Finding:
    """A drift and what became of it.

    :param host: backend or compute host that saw it.
    :param about: initiator, account, server or file that it is about.
    :param step: what its repair runs.
    :param since: when it was first seen, ISO 8601 in UTC.
    :param error: why it failed, or waits; None otherwise.
    :param seal: names all that waits for a person on its host, for whoever releases it; None otherwise.
    """

    kind: str
    host: str
    volume_id: str | None
    attachment_id: str | None
    about: str
    text: str
    step: str
    action: str
    outcome: str
    since: str
    error: str | None = None
    seal: str | None = None

    @property
    def is_left(self) -> bool:
        return self.outcome != Outcome.REPAIRED

    def write(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def read(message: Mapping[str, Any]) -> Finding:
    """Read a finding from a message; what a later release adds is left out."""
    names = {field.name for field in dataclasses.fields(Finding)}
    return Finding(**{key: value for key, value in message.items() if key in names})


@dataclasses.dataclass(frozen=True)
class DriftRules:
    """The table as the operator wants it.

    :param graces: other graces in seconds, by kind.
    :param reservation_age: seconds that a reservation may wait for its host, 0 for ever.
    :param stuck_after: seconds that a step in flight may stand still.
    :param most: repairs that take something away and need no person, at once or within the window.
    :param percent: the same as a part of what there is on the backend or host; some are always allowed.
    :param window: seconds.
    """

    actions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    graces: Mapping[str, float] = dataclasses.field(default_factory=dict)
    reservation_age: float = 86400.0
    stuck_after: float = 600.0
    most: int = 10
    percent: int = 20
    window: float = 3600.0

    def find_action(self, kind: Drift) -> Action:
        return Action(self.actions.get(kind, TABLE[kind].action))

    def find_grace(self, kind: Drift) -> float:
        return float(self.graces.get(kind, TABLE[kind].grace))

    def find_limit(self, there: int) -> int:
        """Return how many repairs that take something away need no person.

        :param there: sessions, targets or attachments that there are; below :data:`FEW` a part of them says nothing.
        """
        return min(self.most, max(FEW, there * self.percent // 100))
