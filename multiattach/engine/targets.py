# SPDX-License-Identifier: Apache-2.0
"""Targets as they really are, asked from the volume workers, next to what is recorded."""

import concurrent.futures
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from multiattach.db import database, targets as db_targets
from multiattach.domain import errors, target_drift
from multiattach.engine.context import RequestContext
from multiattach.engine.policy import Policy
from multiattach.engine.services import Services
from multiattach.rpc.clients import VolumeWorkers

# Backends that are asked at once; one that does not answer takes a thread until the call's timeout.
_PARALLEL = 8


@dataclasses.dataclass(frozen=True)
class ComparedTarget:
    """A target, what is recorded of its volume, and the differences.

    :param backend: backend of the volume; the one that showed the target if the volume is unknown.
    :param shown: what the worker read from the target, None if there is none.
    :param recorded: attachments that a target may know; None if the volume is not recorded.
    """

    volume_id: str
    backend: str | None
    shown: Mapping[str, Any] | None
    recorded: Sequence[target_drift.Recorded] | None
    differences: Sequence[target_drift.Difference]


@dataclasses.dataclass(frozen=True)
class TargetPage:
    """Targets of all backends, as far as those answered.

    :param unanswered: why there is nothing of a backend, by its name.
    :param marker: where the next page begins, None on the last one.
    """

    targets: list[ComparedTarget]
    unanswered: dict[str, str]
    marker: str | None


class Targets:
    def __init__(self, db: database.Database, policy: Policy, services: Services, workers: VolumeWorkers) -> None:
        self._db = db
        self._policy = policy
        self._services = services
        self._workers = workers

    @database.retry
    def show(self, ctx: RequestContext, volume_id: str) -> ComparedTarget:
        """Show the target of a volume."""
        self._policy.check(ctx, 'multiattach:targets')
        with self._db.reader() as session:
            backend = db_targets.find_backends(session, [volume_id])
            if volume_id not in backend:
                raise errors.VolumeNotFound(volume_id)
            host = backend[volume_id]
            recorded = db_targets.list_recorded(session, [volume_id]).get(volume_id, [])
        if host is None:
            return compare_shown(volume_id, None, None, recorded, recorded)
        check_up(host, any(one.is_up for one in self._services.list_backends() if one.host == host))
        try:
            shown = self._workers.show_target(host, volume_id, ctx.request_id)
        except errors.OutcomeUnknown as exc:
            raise errors.Unavailable(f'The volume worker {host} gave no answer in time.') from exc
        with self._db.reader() as session:
            after = db_targets.list_recorded(session, [volume_id]).get(volume_id, [])
        return compare_shown(volume_id, host, shown, recorded, after)

    @database.retry
    def list_page(self, ctx: RequestContext, marker: str | None, limit: int, host: str | None = None) -> TargetPage:
        """List targets, those that should be and those that are, of volumes after the id *marker*."""
        self._policy.check(ctx, 'multiattach:targets')
        workers = {one.host: one.is_up for one in self._services.list_backends() if host is None or one.host == host}
        if host is not None and not workers:
            raise errors.NotFound(f'Backend {host[:64]} could not be found.')
        with self._db.reader() as session:
            backends: dict[str, str | None] = dict(db_targets.list_exported(session, host, marker, limit))
            before = db_targets.list_recorded(session, list(backends))
        shown, unanswered = self._ask(workers, marker, limit, ctx.request_id)
        with self._db.reader() as session:
            unknown = [ident for ident in shown if ident not in backends]
            # Those that came meanwhile are known as well: the targets were read after the first look.
            backends |= db_targets.find_backends(session, unknown)
            page = sorted({*backends, *shown})[:limit]
            after = db_targets.list_recorded(session, page)
        targets = []
        for ident in page:
            answers, own = shown.get(ident, {}), backends.get(ident)
            if ident not in backends:
                backend, found = next(iter(answers.items()))
                targets.append(compare_shown(ident, backend, found, None, None))
            elif own not in unanswered and (host is None or own == host):
                # Several backends may share a daemon: what another one shows of it is this target, too.
                seen = answers.get(own or '') or next(iter(answers.values()), None)
                rows = after.get(ident, [])
                targets.append(compare_shown(ident, own, seen, before.get(ident, rows), rows))
        return TargetPage(targets, unanswered, page[-1] if page and len(page) == limit else None)

    def _ask(
        self, workers: Mapping[str, bool], marker: str | None, limit: int, request_id: str | None
    ) -> tuple[dict[str, dict[str, dict[str, Any]]], dict[str, str]]:
        """Ask all workers at once; return targets by volume id and backend, and who did not answer."""
        shown: dict[str, dict[str, dict[str, Any]]] = {}
        unanswered: dict[str, str] = {}

        def ask(name: str, is_up: bool) -> list[dict[str, Any]]:
            check_up(name, is_up)
            return self._workers.list_targets(name, marker, limit, request_id)

        if not workers:
            return shown, unanswered
        with concurrent.futures.ThreadPoolExecutor(min(_PARALLEL, len(workers))) as pool:
            asked = {name: pool.submit(ask, name, is_up) for name, is_up in workers.items()}
            for name, answer in asked.items():
                try:
                    for target in answer.result():
                        shown.setdefault(target['volume_id'], {})[name] = target
                except errors.MultiattachError as exc:
                    unanswered[name] = exc.message
        return shown, unanswered


def check_up(host: str, is_up: bool) -> None:
    """Do not wait for a worker that does not report."""
    if not is_up:
        raise errors.Unavailable(f'The volume worker {host} does not report: restart it.')


def compare_shown(
    volume_id: str,
    backend: str | None,
    shown: Mapping[str, Any] | None,
    before: Sequence[target_drift.Recorded] | None,
    after: Sequence[target_drift.Recorded] | None,
) -> ComparedTarget:
    """Compare with what was recorded before the target was read and after: a step between is no drift."""
    state = (
        None
        if shown is None
        else target_drift.Shown(
            luns_online=bool(shown['luns']) and all(lun['online'] for lun in shown['luns']),
            initiators=shown['initiators'],
            accounts=shown['accounts'],
            sessions=[one['initiator'] for one in shown['sessions']],
            logins=[(one['initiator'], one['address']) for one in shown['sessions']],
            # A worker of the release before does not tell.
            admits_all=bool(shown.get('addresses')),
            registered=shown.get('registered', ()),
        )
    )
    found = target_drift.compare(volume_id, after, state)
    if found and before is not after:
        earlier = set(target_drift.compare(volume_id, before, state))
        found = [difference for difference in found if difference in earlier]
    return ComparedTarget(volume_id, backend, shown, after, found)
