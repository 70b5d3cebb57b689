# SPDX-License-Identifier: Apache-2.0
"""What volume workers and host agents have in common: they answer calls, beat, keep leases, tend and reconcile."""

import abc
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import oslo_messaging as messaging

from multiattach.db import services as db_services
from multiattach.db.database import Database
from multiattach.periodic import Periodic
from multiattach.rpc.serving import Serving
from multiattach.steps.leases import StepLeases


@dataclasses.dataclass(frozen=True)
class Presence:
    """How a worker shows that it is there.

    :param interval: seconds between heartbeats.
    """

    db: Database
    host: str
    zone: str
    interval: float


@dataclasses.dataclass(frozen=True)
class Round:
    """Calls that are made in turn, again and again, in a thread of their own.

    :param pause: seconds between the end of a round and the next one.
    """

    name: str
    pause: float
    calls: Sequence[Callable[[], None]]


class Worker(abc.ABC):
    """One worker at work.

    What is done again and again has threads of its own for each kind: a backend that is slow, or a guest that
    takes its time, must not make the worker look dead.
    """

    binary: str

    def __init__(self, presence: Presence, leases: StepLeases) -> None:
        self._presence = presence
        self._host = presence.host
        self._leases = leases
        self._serving: Serving | None = None

    @abc.abstractmethod
    def report(self) -> dict[str, Any]:
        """Return what a heartbeat tells besides that the worker is there."""

    def beat(self) -> None:
        """Report that the worker is there."""
        presence = self._presence
        db_services.beat(presence.db, self.binary, presence.host, presence.zone, self.report())

    def serve(self, servers: Sequence[messaging.MessageHandlingServer], rounds: Sequence[Round]) -> None:
        """Take calls, and begin what is done again and again."""
        common = (
            Round('beat', self._presence.interval, (self.beat,)),
            Round('keep', self._leases.rules.renewal, (self._leases.keep,)),
        )
        self._serving = Serving(
            servers, [Periodic(f'{one.name}:{self._host}', one.pause, one.calls) for one in (*common, *rounds)]
        )
        self._serving.start()

    def end(self, patience: float | None = None) -> bool:
        """Take no more calls; return whether what was in work ended within *patience* seconds (None: however long)."""
        return self._serving is None or self._serving.stop(patience)
