# SPDX-License-Identifier: Apache-2.0
"""What is true now on target, host and domain, asked for those who explain something; never for long."""

import concurrent.futures
import dataclasses
import datetime
import functools
from collections.abc import Callable, Sequence
from typing import Any

from oslo_log import log

from multiattach.db import database, models, services as db_services, targets as db_targets, transitions
from multiattach.domain import errors, findings, states, target_drift
from multiattach.domain.drift import TABLE, TARGET_KINDS, Action, Drift
from multiattach.domain.findings import DriftRules, Finding, Seen
from multiattach.domain.services import HOST_BINARY, VOLUME_BINARY
from multiattach.engine.doctor import Silence
from multiattach.engine.targets import ComparedTarget, compare_shown
from multiattach.rpc.clients import HostAgents, VolumeWorkers
from multiattach.steps.reconciliation import Reconciliation
from multiattach.steps.records import Records

LOG = log.getLogger(__name__)
_PATIENCE = 5.0  # s
_PARALLEL = 8
# Of a target that is to go as a whole the worker tells in one finding; what a comparison shows is read anew.
_WHOLE = frozenset({Drift.LEFTOVER, Drift.UNUSED, Drift.NO_VOLUME})
_COMPARED = frozenset(TARGET_KINDS) - {Drift.STRAY_FILE, Drift.NO_FILE}


@dataclasses.dataclass(frozen=True)
class ShownHost:
    """What a host shows of itself.

    :param servers: each with ``id``, ``name``, ``power_state`` and ``disks``.
    :param sessions: each with ``volume_id``, ``iqn`` and ``portal``.
    """

    name: str
    servers: list[dict[str, Any]]
    sessions: list[dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class Truth:
    target: ComparedTarget | None
    hosts: list[ShownHost]
    findings: list[Finding]
    unanswered: list[Silence]


class Witnesses:
    """Asks workers and agents for what is there."""

    def __init__(self, db: database.Database, workers: VolumeWorkers, agents: HostAgents, rules: DriftRules) -> None:
        self._db = db
        self._rules = rules
        self._side = Reconciliation(db, transitions.Actor('api'))
        self._records = Records(self._side, self._rules)
        self._workers = workers.within(_PATIENCE)
        self._agents = agents.within(_PATIENCE)

    def ask_of_volume(
        self,
        volume_id: str,
        backend: tuple[str | None, bool | None],
        hosts: Sequence[tuple[str, bool | None]],
        request_id: str | None,
    ) -> Truth:
        """See what there is of a volume.

        :param backend: backend of the volume, and whether its worker reports.
        :param hosts: host agents that drive its attachments, and whether they report.
        """
        with concurrent.futures.ThreadPoolExecutor(_PARALLEL, 'truth') as pool:
            name = backend[0]
            target = (
                None
                if name is None
                else pool.submit(_ask, backend[1], name, lambda: self._compare(volume_id, str(name), request_id))
            )
            noted = None if name is None else pool.submit(self._list_noted, backend[1], name, volume_id, request_id)
            asked = {
                host: pool.submit(_ask, is_up, host, functools.partial(self._agents.show_host, host, request_id))
                for host, is_up in hosts
            }
        truth = Truth(None, [], [], [])
        if target is not None and name is not None:
            try:
                truth = dataclasses.replace(truth, target=target.result())
                truth.findings.extend(_find(target.result(), [] if noted is None else noted.result()))
            except errors.MultiattachError as exc:
                truth.unanswered.append(Silence(VOLUME_BINARY, name, exc.message))
        fresh = {(one.kind, one.attachment_id): one for one in self._judge_rows(volume_id, name or '')}
        for one in [one for one in truth.findings if (one.kind, one.attachment_id) in fresh]:
            if one.error:  # the worker says what it waits for
                del fresh[one.kind, one.attachment_id]
            else:
                truth.findings.remove(one)
        truth.findings.extend(fresh.values())
        for host, answer in asked.items():
            try:
                shown = answer.result()
            except errors.MultiattachError as exc:
                truth.unanswered.append(Silence(HOST_BINARY, host, exc.message))
                continue
            found = _read(host, shown, truth)
            truth.hosts.append(
                ShownHost(
                    host,
                    [
                        one | {'disks': own}
                        for one in found.servers
                        if (own := [disk for disk in one['disks'] if disk['volume_id'] == volume_id])
                    ],
                    [one for one in found.sessions if one['volume_id'] == volume_id],
                )
            )
        truth.findings[:] = [
            one for one in truth.findings if one.volume_id == volume_id or one.kind == Drift.OLD_DATABASE
        ]
        return truth

    def ask_of_host(self, host: str, is_up: bool, request_id: str | None) -> Truth:
        truth = Truth(None, [], [], [])
        try:
            shown = _ask(is_up, host, lambda: self._agents.show_host(host, request_id))
        except errors.MultiattachError as exc:
            truth.unanswered.append(Silence(HOST_BINARY, host, exc.message))
            return truth
        truth.hosts.append(_read(host, shown, truth))
        return truth

    def _compare(self, volume_id: str, backend: str, request_id: str | None) -> ComparedTarget:
        before = self._list_recorded(volume_id)
        shown = self._workers.show_target(backend, volume_id, request_id)
        return compare_shown(volume_id, backend, shown, before, self._list_recorded(volume_id))

    def _judge_rows(self, volume_id: str, backend: str) -> list[Finding]:
        rows = self._side.list_of_volumes([volume_id])
        seen = self._records.look(backend, rows, each=True)
        admitted = [str(row.attachment_id) for row in rows if row.state in states.ADMITTED]
        portal = self._find_portal(backend) if admitted else None
        told = self._side.list_infos(admitted) if portal else {}
        seen += [
            Seen(Drift.OLD_PORTAL, backend, volume_id, ident, f'{info.get("target_portal")}, now {portal}')
            for ident, info in told.items()
            if info.get('target_portal') != portal
        ]
        return [self._write(one) for one in seen if self._rules.find_action(one.kind) is not Action.IGNORE]

    def _write(self, one: Seen) -> Finding:
        action = self._rules.find_action(one.kind)
        since = models.now() - datetime.timedelta(seconds=one.age or 0.0)
        return Finding(
            one.kind,
            one.host,
            one.volume_id,
            one.attachment_id,
            one.about,
            TABLE[one.kind].means,
            TABLE[one.kind].step,
            action,
            findings.Outcome.REPORTED if action is Action.REPORT else findings.Outcome.FOUND,
            since.isoformat(timespec='microseconds'),
        )

    @database.retry
    def _find_portal(self, backend: str) -> str | None:
        with self._db.reader() as session:
            return db_services.find_portal(session, VOLUME_BINARY, backend)

    def _list_noted(self, is_up: bool | None, backend: str, volume_id: str, request_id: str | None) -> list[Finding]:
        """Ask for what the worker's last round found; the explanation does without it."""
        try:
            return [
                findings.read(one)
                for one in _ask(is_up, backend, lambda: self._workers.list_findings(backend, volume_id, request_id))
            ]
        except errors.MultiattachError as exc:
            LOG.info('%s does not tell what it found: %s', backend, exc.message)
            return []

    @database.retry
    def _list_recorded(self, volume_id: str) -> list[target_drift.Recorded]:
        with self._db.reader() as session:
            return db_targets.list_recorded(session, [volume_id]).get(volume_id, [])


def _ask(is_up: bool | None, host: str, call: Callable[[], Any]) -> Any:
    if not is_up:
        raise errors.Unavailable(f'{host} does not report: restart it.')
    return call()


def _read(host: str, shown: dict[str, Any], truth: Truth) -> ShownHost:
    truth.findings.extend(map(findings.read, shown['findings']))
    truth.unanswered.extend(
        Silence(HOST_BINARY, host, f'{account}: {reason}') for account, reason in shown['unread'].items()
    )
    return ShownHost(host, shown['servers'], shown['sessions'])


def _find(target: ComparedTarget, noted: Sequence[Finding]) -> list[Finding]:
    """Write the differences of a target as findings, with what the worker's own last round says of them.

    Only that round knows since when they are there, and what they wait for.
    """
    left = {(str(one.kind), one.about): one for one in noted if one.is_left}
    told = [one for one in left.values() if one.kind in _WHOLE] if target.differences else []
    if not told:
        now = models.now().isoformat(timespec='microseconds')
        told = [
            left.get((str(one.kind), one.about))
            or Finding(
                one.kind,
                target.backend or '',
                target.volume_id,
                None,
                one.about,
                one.text,
                TABLE[one.kind].step,
                TABLE[one.kind].action,
                findings.Outcome.FOUND,
                now,
            )
            for one in target.differences
        ]
    return told + [one for one in left.values() if one.kind not in _COMPARED]
