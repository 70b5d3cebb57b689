# SPDX-License-Identifier: Apache-2.0
"""Queries on services: workers, agents and what they report."""

import datetime
import uuid
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from oslo_db import exception as db_exc
from sqlalchemy.orm import Session

from multiattach.db import database, models
from multiattach.db.commits import Work
from multiattach.domain import connection, errors, release

S = models.Service
_TABLE = models.table_of(S)
_WRITTEN = ('heartbeat_at', 'updated_at', 'availability_zone', 'report')
# Built once: a region has a thousand that beat every few seconds.
_BEAT = (
    sa.update(_TABLE)
    .where(_TABLE.c.binary == sa.bindparam('of_binary'), _TABLE.c.host == sa.bindparam('of_host'))
    .values({name: sa.bindparam(name, type_=_TABLE.c[name].type) for name in _WRITTEN})
)


@database.retry
def beat(db: database.Database, binary: str, host: str, zone: str, report: Any) -> None:
    """Write a heartbeat with what the service reports of itself; return the service's UUID.

    :param host: its host, with ``@backend`` for a volume backend.
    """
    moment = models.now()
    values = {
        'heartbeat_at': moment,
        'updated_at': moment,
        'availability_zone': zone,
        'report': {**report, 'release': release.version()},
    }
    with db.transaction() as work:
        if work.execute(_BEAT, {'of_binary': binary, 'of_host': host, **values}).rowcount:
            return
        try:
            work.execute(sa.insert(_TABLE), {'id': str(uuid.uuid4()), 'binary': binary, 'host': host, **values})
        except db_exc.DBDuplicateEntry as exc:  # another process of the same name was first
            raise db_exc.RetryRequest(exc) from exc


def list_all(session: Session, binary: str | None = None, host: str | None = None) -> list[S]:
    """List services, also of all backends of *host*, in order of program and host."""
    query = sa.select(S).order_by(S.binary, S.host)
    if binary:
        query = query.where(S.binary == binary)
    if host:
        query = query.where(sa.or_(S.host == host, S.host.startswith(f'{host}@', autoescape=True)))
    return list(session.scalars(query))


def list_of_backend(session: Session, binary: str, host: str) -> list[S]:
    """List the workers of a backend, that of the last heartbeat first; those of a cluster report whom they serve."""
    rows = [
        row
        for row in session.scalars(sa.select(S).where(S.binary == binary))
        if ((row.report or {}).get('cluster') or row.host) == host
    ]
    return sorted(rows, key=lambda row: row.heartbeat_at or datetime.datetime.min, reverse=True)


def list_reports(work: Work, binary: str) -> Sequence[sa.Row[Any]]:
    """List id, host, report and heartbeat of the services of a program, that of the last heartbeat first."""
    return work.execute(
        sa.select(S.id, S.host, S.report, S.heartbeat_at).where(S.binary == binary).order_by(S.heartbeat_at.desc())
    ).all()


def find_portal(work: Work, binary: str, host: str) -> str | None:
    """Tell at which portal a backend's target is found.

    :param host: ``host@backend``.
    :returns: what the worker reports that was heard of last, None if it does not say.
    """
    portal = (_find_report(work, binary, host) or {}).get('portal')
    return portal if isinstance(portal, str) else None


def find_protocol(work: Work, binary: str, host: str) -> str | None:
    """Tell how the volumes of a backend are reached, as for :func:`find_portal`."""
    found = _find_report(work, binary, host)
    return None if found is None else str(found.get('protocol') or connection.ISCSI)


def _find_report(work: Work, binary: str, host: str) -> dict[str, Any] | None:
    rows = work.execute(sa.select(S.host, S.report).where(S.binary == binary).order_by(S.heartbeat_at.desc()))
    reports = [row.report or {} for row in rows if ((row.report or {}).get('cluster') or row.host) == host]
    return reports[0] if reports else None


def remove(session: Session, binary: str, host: str) -> bool:
    """Delete one service; one that lives comes back with its next heartbeat."""
    done = session.execute(
        sa.delete(S).where(S.binary == binary, S.host == host).execution_options(synchronize_session=False)
    )
    return bool(done.rowcount)  # type: ignore[attr-defined]


def get(session: Session, binary: str, host: str) -> S:
    """Load one service."""
    found = session.scalars(sa.select(S).where(S.binary == binary, S.host == host)).first()
    if found is None:
        raise errors.NotFound(f'Service {binary} on host {host} could not be found.')
    return found


def set_disabled(service: S, disabled: bool, reason: str | None = None) -> None:
    """Enable or disable a service that was loaded in this transaction."""
    service.disabled = disabled
    service.disabled_reason = reason if disabled else None
    service.updated_at = models.now()
