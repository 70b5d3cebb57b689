# SPDX-License-Identifier: Apache-2.0
"""Hosts: services seen by where they run, and what volumes a backend has (os-hosts)."""

import dataclasses

from multiattach.db import database, models, services as db_services, volume_hosts as db_volume_hosts
from multiattach.domain.services import VOLUME_BINARY
from multiattach.engine.context import RequestContext
from multiattach.engine.policy import Policy

_RULE = 'volume_extension:hosts'


@dataclasses.dataclass(frozen=True)
class ProjectUse:
    """Volumes of one project on a backend, and the sum of their sizes in GiB."""

    project_id: str
    volumes: int
    gigabytes: int


class VolumeHosts:
    def __init__(self, db: database.Database, policy: Policy) -> None:
        self._db = db
        self._policy = policy

    @database.retry
    def list_all(self, ctx: RequestContext, zone: str | None = None, binary: str | None = None) -> list[models.Service]:
        self._policy.check(ctx, _RULE)
        with self._db.reader() as session:
            found = db_services.list_all(session, binary)
        return [row for row in found if zone is None or row.availability_zone == zone]

    @database.retry
    def show(self, ctx: RequestContext, host: str) -> list[ProjectUse]:
        """Sum up the volumes of a backend by project."""
        self._policy.check(ctx, _RULE)
        with self._db.reader() as session:
            service = db_services.get(session, VOLUME_BINARY, host)
            # Volumes of a cluster's backend carry the cluster's name.
            serves = (service.report or {}).get('cluster') or host
            return [ProjectUse(*row) for row in db_volume_hosts.sum_by_project(session, serves)]

    @database.retry
    def set_enabled(self, ctx: RequestContext, host: str, enabled: bool) -> None:
        """Let new volumes be placed on a backend, or not."""
        self._policy.check(ctx, _RULE)
        with self._db.writer() as session:
            db_services.set_disabled(db_services.get(session, VOLUME_BINARY, host), not enabled)
