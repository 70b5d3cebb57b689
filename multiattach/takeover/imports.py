# SPDX-License-Identifier: Apache-2.0
"""Checking, importing, the way back, and its end: the use cases of ``multiattach-manage cinder``."""

import dataclasses
import datetime
from collections.abc import Collection, Iterable, Sequence

from multiattach.db import database, imports as db_imports, models, services, transitions
from multiattach.db.commits import Work
from multiattach.domain import connection, errors
from multiattach.domain.imports import Kind, Obstacle
from multiattach.domain.services import VOLUME_BINARY, is_up
from multiattach.takeover import settings
from multiattach.takeover.plan import Plan, make_plan
from multiattach.takeover.source import Contents
from multiattach.takeover.volumes import Place

_BEATS = 60.0  # s; Cinder's own service_down_time
_API = 'cinder-api'


@dataclasses.dataclass(frozen=True)
class Findings:
    """What an import brings, or has brought.

    :param notes: what an operator is to know besides.
    """

    revision: str | None
    plan: Plan
    comparison: db_imports.Comparison
    notes: Sequence[str]

    @property
    def obstacles(self) -> list[Obstacle]:
        return [*self.plan.obstacles, *self.comparison.conflicts]


class Imports:
    """Take-overs into one database.

    :param down_time: seconds without a heartbeat after which a worker counts as down.
    """

    def __init__(self, db: database.Database, down_time: float, actor: transitions.Actor) -> None:
        self._db = db
        self._down_time = down_time
        self._actor = actor

    @database.retry
    def check(self, contents: Contents, named: Sequence[str], conf: settings.CinderConf | None) -> Findings:
        """Tell what an import would bring; nothing is written.

        :param named: backends, as :class:`~multiattach.takeover.settings.BackendMapping` takes them.
        :raises InvalidInput: they are malformed.
        """
        with self._db.reader() as session:
            return self._compare(session.connection(), self._list_workers(session), contents, named, conf)

    @database.retry
    def run(
        self,
        contents: Contents,
        named: Sequence[str],
        conf: settings.CinderConf | None,
        *,
        partial: bool = False,
        force: bool = False,
    ) -> Findings:
        """Import all that can be, in one transaction.

        :param partial: even though something cannot be imported.
        :param force: even though Cinder runs, or a backend has no worker.
        :raises Conflict: something is in the way; nothing was imported.
        """
        if not force:
            _check_stopped(contents)
        with self._db.transaction() as work:
            found = self._compare(work, self._list_workers(work), contents, named, conf)
            if not force:
                _check_workers(found)
                self._check_names(work, found.comparison)
            if found.obstacles and not partial:
                raise errors.Conflict(
                    f'{len(found.obstacles)} things of Cinder cannot be imported, and nothing was. "multiattach-manage '
                    'cinder check" lists them, each with a remedy. --partial imports the rest: Nova can reach the '
                    'volumes that are left in Cinder no more once the endpoint is switched.'
                )
            db_imports.apply(work, found.comparison, self._actor)
        return found

    @database.retry
    def undo(self, *, force: bool = False, dry_run: bool = False) -> db_imports.Undone:
        """Forget what was imported; neither a target nor a storage is touched.

        :param force: even though something was changed here since.
        :raises NotFound: nothing was imported, or there is no way back any more.
        :raises Conflict: a worker lives that would take the targets for left-overs; or something was changed.
        """
        with self._db.transaction() as work:
            if not db_imports.has_any(work):
                raise errors.NotFound(
                    'There is nothing to undo: nothing was imported, or "multiattach-manage cinder finish" was said.'
                )
            self._check_down(work)
            found, keys = db_imports.find_undo(work)
            if found.changed and not force and not dry_run:
                raise errors.Conflict(
                    f'{len(found.changed)} things were changed here since they were imported, and Cinder does not know '
                    'of it. "multiattach-manage cinder undo --dry-run" lists them; --force undoes the import all the '
                    'same.'
                )
            if not dry_run:
                db_imports.undo(work, keys)
        return found

    @database.retry
    def finish(self, *, dry_run: bool = False) -> dict[str, int]:
        """End the way back: from then on targets are this service's own.

        :returns: number of items by kind.
        :raises NotFound: nothing was imported, or it is finished.
        """
        with self._db.transaction() as work:
            found = db_imports.count(work)
            if not found:
                raise errors.NotFound('There is nothing to finish: nothing was imported, or it is finished already.')
            if not dry_run:
                db_imports.finish(work)
        return found

    # -- inside --------------------------------------------------------------------------------

    def _list_workers(self, work: Work) -> dict[str, Place]:
        found: dict[str, Place] = {}
        for row in services.list_reports(work, VOLUME_BINARY):
            report = row.report or {}
            name, keeps_names = str(report.get('cluster') or row.host), bool(report.get('names'))
            is_iscsi = report.get('protocol') == connection.ISCSI
            first = found.setdefault(name, Place(name, row.id, report.get('protocol'), report.get('portal')))
            found[name] = dataclasses.replace(
                first,
                keeps_names=first.keeps_names and keeps_names,
                has_lio=report['kernel'] is not None if is_iscsi and 'kernel' in report else None,
            )
        return found

    def _compare(
        self,
        work: Work,
        workers: dict[str, Place],
        contents: Contents,
        named: Sequence[str],
        conf: settings.CinderConf | None,
    ) -> Findings:
        mapping = settings.BackendMapping(named, workers)

        def find(host: str) -> Place | None:
            name = mapping.find(host)
            return None if name is None else workers.get(name, Place(name))

        plan = make_plan(contents, find, conf)
        compared = db_imports.compare(work, plan.items, plan.present)
        if compared.gone and not (compared.same or compared.changed):
            raise errors.Conflict(
                'Nothing of what was imported is in this database: it is of another Cinder. One that moves here later '
                'does so after "multiattach-manage cinder finish".'
            )
        return Findings(contents.revision, plan, compared, list(_note(plan, workers, mapping.targets)))

    def _check_down(self, work: Work) -> None:
        alive = self._find_alive(work, set(db_imports.list_backends(work)))
        if alive is not None:
            raise errors.Conflict(
                f'The worker {alive} reports: stop multiattach-volume there first. Without the imported rows it '
                'would take the targets of these volumes for left-overs.'
            )

    def _check_names(self, work: Work, found: db_imports.Comparison) -> None:
        """See that no worker runs that would not know what the storage of a volume is called."""
        rows = [item.rows['volumes'][0] for item in (*found.new, *found.changed) if item.kind is Kind.VOLUME]
        renamed = {row['host'] for row in rows if row['name_id']}
        alive = self._find_alive(work, renamed)
        if alive is not None:
            raise errors.Conflict(
                f'The worker {alive} reports: stop multiattach-volume there first. Cinder migrated volumes in use, '
                'whose storage is named after another id since: a worker reads these names when it starts.'
            )

    def _find_alive(self, work: Work, backends: Collection[str]) -> str | None:
        """Find a worker that reports, of some backends."""
        for row in services.list_reports(work, VOLUME_BINARY) if backends else ():
            name = (row.report or {}).get('cluster') or row.host
            if name in backends and is_up(row.heartbeat_at, models.now(), self._down_time):
                return str(row.host)
        return None


def _check_stopped(contents: Contents) -> None:
    now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    alive = sorted(f'{row.binary} on {row.host}' for row in contents.services if is_up(row.updated_at, now, _BEATS))
    if alive:
        raise errors.Conflict(
            f'Cinder runs: {", ".join(alive[:3])}{" and more" if len(alive) > 3 else ""} reported less than a minute '
            f'ago. Stop its services, and {_API}, so that nothing changes any more; volumes stay attached meanwhile. '
            '--dry-run needs no stop.'
        )


def _check_workers(found: Findings) -> None:
    lacking = sorted(
        {
            item.rows['volumes'][0]['host']
            for item in found.comparison.new
            if item.kind is Kind.VOLUME and item.rows['volumes'][0]['service_uuid'] is None
        }
    )
    if lacking:
        raise errors.Conflict(
            f'No worker ever reported as {lacking[0]}: start multiattach-volume there once, so that its configuration '
            'is known to be right, or see "multiattach-manage service list" for the names; --force goes on without.'
        )


def _note(plan: Plan, workers: dict[str, Place], named: Iterable[str]) -> Iterable[str]:
    for name in sorted(set(named) - workers.keys()):
        yield f'No worker ever reported as {name}, which --backend names.'
    if renamed := sum(bool(item.rows['volumes'][0]['name_id']) for item in plan.items if item.kind is Kind.VOLUME):
        yield (
            f'Cinder migrated {renamed} volumes in use: their storage is named after another id, and keeps that name. '
            'Stop multiattach-volume before the import that brings them.'
        )
    told: dict[tuple[str, str], int] = {}
    hosts = {item.ident: item.rows['volumes'][0]['host'] for item in plan.items if item.kind is Kind.VOLUME}
    for item in plan.items:
        info = item.rows['attachments'][0]['connection_info'] if item.kind is Kind.ATTACHMENT else None
        if info and info.get('target_portal'):
            key = hosts[item.rows['attachments'][0]['volume_id']], str(info['target_portal'])
            told[key] = told.get(key, 0) + 1
    for (host, portal), number in sorted(told.items()):
        ours = workers[host].portal if host in workers else None
        if ours and ours != portal:
            yield (
                f'Hosts of {number} attachments were told portal {portal}, and the worker {host} tells {ours}: set '
                '"portal" in [tgt] to what Cinder has as target_ip_address and target_port.'
            )
