# SPDX-License-Identifier: Apache-2.0
"""Looking for drift everywhere at once, for a person, and putting it right if asked to."""

import concurrent.futures
import dataclasses
from collections.abc import Sequence
from typing import Any

from multiattach.db import database, services as db_services
from multiattach.domain import errors, findings
from multiattach.domain.findings import Finding
from multiattach.domain.services import HOST_BINARY, VOLUME_BINARY
from multiattach.engine.context import RequestContext
from multiattach.engine.policy import Policy
from multiattach.engine.services import Services
from multiattach.rpc.clients import HostAgents, VolumeWorkers

# Workers and agents that are asked at once; one that does not answer takes a thread until its timeout.
_PARALLEL = 16
# Whoever only looks, because something hangs, is to have an answer in ten seconds.
_LOOK_PATIENCE = 9.0


@dataclasses.dataclass(frozen=True)
class Silence:
    """A worker or an agent of which nothing is known now."""

    binary: str
    host: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """What all of them found, in order of kind, host and volume; *answered* is the number of those that did."""

    fix: bool
    answered: int
    findings: list[Finding]
    unanswered: list[Silence]

    @property
    def left(self) -> int:
        return sum(one.is_left for one in self.findings)


class Doctor:
    def __init__(
        self, db: database.Database, policy: Policy, services: Services, workers: VolumeWorkers, agents: HostAgents
    ) -> None:
        self._db = db
        self._policy = policy
        self._services = services
        self._workers = workers
        self._agents = agents
        # Of a worker there are signs of life meanwhile; see rpc_monitor_timeout.
        self._impatient = agents.within(_LOOK_PATIENCE)

    def diagnose(self, ctx: RequestContext, *, fix: bool, release: Sequence[str] = ()) -> Diagnosis:
        """Have every worker and every agent look for drift.

        :param release: seals of what the breakers are to let through.
        """
        self._policy.check(ctx, 'multiattach:doctor')
        return self.examine(fix=fix, release=release, request_id=ctx.request_id)

    def examine(self, *, fix: bool, release: Sequence[str] = (), request_id: str | None = None) -> Diagnosis:
        """Do as :meth:`diagnose`, without asking the policy."""
        found: dict[tuple[Any, ...], Finding] = {}
        unanswered: list[Silence] = []
        answered = 0
        parts = self._list_parts()
        with concurrent.futures.ThreadPoolExecutor(min(_PARALLEL, max(len(parts), 1)), 'doctor') as pool:
            asked = {
                pool.submit(self._ask, binary, host, is_up, fix, release, request_id): (binary, host)
                for binary, host, is_up in parts
            }
            for answer, (binary, host) in asked.items():
                try:
                    reply = answer.result()
                    unanswered += [
                        Silence(binary, host, f'{account}: {reason}') for account, reason in reply['unread'].items()
                    ]
                    for one in map(findings.read, reply['findings']):
                        # Backends that share a target daemon tell the same of what is nobody's.
                        key = one.kind, one.volume_id, one.attachment_id, one.about
                        found.setdefault(key, one)
                    answered += 1
                except errors.MultiattachError as exc:
                    unanswered.append(Silence(binary, host, exc.message))
        return Diagnosis(
            fix,
            answered,
            sorted(found.values(), key=lambda one: (one.kind, one.host, one.volume_id or '', one.about)),
            sorted(unanswered, key=lambda one: (one.binary, one.host)),
        )

    @database.retry
    def _list_parts(self) -> list[tuple[str, str, bool]]:
        parts = [(VOLUME_BINARY, one.host, one.is_up) for one in self._services.list_backends()]
        with self._db.reader() as session:
            return parts + [
                (HOST_BINARY, row.host, self._services.is_up(row)) for row in db_services.list_all(session, HOST_BINARY)
            ]

    def _ask(
        self, binary: str, host: str, is_up: bool, fix: bool, release: Sequence[str], request_id: str | None
    ) -> dict[str, Any]:
        if not is_up:  # it would not answer in time
            raise errors.Unavailable(f'{host} does not report: restart it.')
        agents = self._agents if fix else self._impatient
        asked = self._workers if binary == VOLUME_BINARY else agents
        return asked.release(host, release, request_id) if fix and release else asked.reconcile(host, fix, request_id)
