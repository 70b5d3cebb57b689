# SPDX-License-Identifier: Apache-2.0
"""Services: who is up, who may be used, and which backends there are."""

import datetime
from typing import Any

from multiattach.db import database, migrations as db_migrations, models, services as db_services, volumes as db_volumes
from multiattach.domain import errors, pools
from multiattach.domain.services import VOLUME_BINARY, is_up
from multiattach.engine.context import RequestContext
from multiattach.engine.placement import Candidate
from multiattach.engine.policy import Policy


class Services:
    """Use cases on services."""

    def __init__(self, db: database.Database, policy: Policy, down_time: float) -> None:
        self._db = db
        self._policy = policy
        self._down_time = down_time

    def is_up(self, service: models.Service) -> bool:
        return is_up(service.heartbeat_at, models.now(), self._down_time)

    @database.retry
    def list_all(self, ctx: RequestContext, binary: str | None = None, host: str | None = None) -> list[models.Service]:
        self._policy.check(ctx, 'volume_extension:services:index')
        with self._db.reader() as session:
            return db_services.list_all(session, binary, host)

    @database.retry
    def set_disabled(
        self, ctx: RequestContext, binary: str, host: str, disabled: bool, reason: str | None = None
    ) -> models.Service:
        """Enable or disable a service (contract 11.4 number 24: it really acts)."""
        self._policy.check(ctx, 'volume_extension:services:update')
        with self._db.writer() as session:
            service = db_services.get(session, binary, host)
            db_services.set_disabled(service, disabled, reason)
            return service

    def list_pools(self, ctx: RequestContext) -> list[Candidate]:
        self._policy.check(ctx, 'scheduler_extension:scheduler_stats:get_pools')
        return self.list_backends()

    def show_backend(self, ctx: RequestContext, name: str) -> Candidate:
        """Show a volume backend, ``host@backend`` perhaps with ``#pool``, to an admin."""
        self._policy.check(ctx, 'volume_extension:capabilities')
        host = pools.strip_pool(name)
        for backend in self.list_backends():
            if backend.host == host:
                return backend
        raise errors.NotFound(f'Backend {name} could not be found.')

    def list_zones(self, ctx: RequestContext) -> dict[str, bool]:
        """Return the availability zones of volumes, and whether any backend in each is enabled and up."""
        self._policy.check(ctx, 'volume:availability_zone_list')
        return self.find_zones()

    @database.retry
    def find_zones(self) -> dict[str, bool]:
        """Do as :meth:`list_zones`, for the service's own use."""
        zones: dict[str, bool] = {}
        with self._db.reader() as session:
            for row in db_services.list_all(session, VOLUME_BINARY):
                usable = self.is_up(row) and not row.disabled
                zones[row.availability_zone] = zones.get(row.availability_zone, False) or usable
        return zones

    @database.retry
    def list_backends(self) -> list[Candidate]:
        """List the volume backends, also those down or disabled, with what is promised on them."""
        with self._db.reader() as session:
            rows = db_services.list_all(session, VOLUME_BINARY)
            promised = db_volumes.allocated(session)
            for host, gigabytes in db_migrations.sum_up(session).items():
                promised[host] = promised.get(host, 0) + gigabytes
        return [self._describe(host, crew, promised.get(host, 0)) for host, crew in _group_by_backend(rows).items()]

    @database.retry
    def fences_apart(self, host: str) -> bool:
        """Return whether a worker of a backend is up that has threads for fences only (the release before has none)."""
        with self._db.reader() as session:
            crew = _group_by_backend(db_services.list_all(session, VOLUME_BINARY)).get(host, ())
            return any(self.is_up(row) and (row.report or {}).get('fences_apart') for row in crew)

    @database.retry
    def is_shared(self, host: str) -> bool:
        """Return whether several workers serve a backend now, as far as they report."""
        with self._db.reader() as session:
            crew = _group_by_backend(db_services.list_all(session, VOLUME_BINARY)).get(host, ())
            return sum(map(self.is_up, crew)) > 1

    def _describe(self, host: str, crew: list[models.Service], promised: float) -> Candidate:
        """Describe a backend by the worker that is best placed to speak for it."""
        row = max(
            crew,
            key=lambda one: (
                self.is_up(one) and not one.disabled,
                self.is_up(one),
                one.heartbeat_at or datetime.datetime.min,
            ),
        )
        report = row.report or {}
        return Candidate(
            host=host,
            zone=row.availability_zone,
            service_uuid=row.id,
            is_up=self.is_up(row),
            is_enabled=not row.disabled,
            total_gb=report.get('total_capacity_gb'),
            free_gb=report.get('free_capacity_gb'),
            allocated_gb=promised,
            max_over_subscription=report.get('max_over_subscription_ratio', 1.0),
            capabilities=report.get('capabilities', {}),
            snapshots=_join([(one.report or {}).get('snapshots') for one in crew if self.is_up(one)]),
            is_answering=report.get('backend_state') != 'down',
            reads=frozenset(report.get('reads', ())),
            takes_images=bool(report.get('images')),
            is_thick=bool(report.get('thick')),
        )


def _join(reports: list[Any]) -> dict[str, Any] | None:
    """Tell what all members of a crew can: any of them may get the order."""
    if not reports or any(report is None for report in reports):
        return None
    return {'in_use': all(report.get('in_use') for report in reports)}


def _group_by_backend(rows: list[models.Service]) -> dict[str, list[models.Service]]:
    """Put workers of one cluster together: they serve the same backend."""
    crews: dict[str, list[models.Service]] = {}
    for row in rows:
        crews.setdefault((row.report or {}).get('cluster') or row.host, []).append(row)
    return crews
