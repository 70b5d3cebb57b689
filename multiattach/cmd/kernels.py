# SPDX-License-Identifier: Apache-2.0
"""One kernel at a time has the targets of a cluster: a worker on another machine would prove what it cannot see."""

import datetime
import time
from collections.abc import Mapping

from oslo_config import cfg
from oslo_log import log

from multiattach.db import models, services as db_services
from multiattach.db.database import Database
from multiattach.domain import errors
from multiattach.domain.services import VOLUME_BINARY, is_up
from multiattach.drivers.targets.base import Target

LOG = log.getLogger(__name__)
_BEATS = 2.5  # that one who is alive does not leave out
_PAUSE = 0.1  # s

Beats = Mapping[str, datetime.datetime | None]


def check(conf: cfg.ConfigOpts, db: Database, serves: str, host: str, target: Target) -> None:
    """See that no worker of the same backend is alive with the targets of another kernel.

    One that died of late still counts as up: only a heartbeat that goes on is believed.

    :raises ConfigurationError: there is one.
    """
    if serves == host or not getattr(target, 'IS_KERNEL', False):
        return
    mine = target.generation()
    before = _list_others(conf, db, serves, host, mine)
    if not before:
        return
    LOG.warning('Backend %s: to see whether %s with another kernel is alive', serves, ', '.join(sorted(before)))
    until = time.monotonic() + _BEATS * conf.report_interval
    while time.monotonic() < until:
        time.sleep(_PAUSE)
        now = _list_others(conf, db, serves, host, mine)
        if alive := sorted(name for name in now if now[name] != before.get(name)):
            raise errors.ConfigurationError(
                f'Option cluster in [volume]: {alive[0]} serves {serves} with the targets of another machine, which '
                'this worker could not fence. With the kernel as the target the members of a cluster are on one '
                'machine, or one of them runs at a time: stop the other one first.'
            )


def _list_others(conf: cfg.ConfigOpts, db: Database, serves: str, host: str, mine: int) -> Beats:
    with db.reader() as session:
        rows = db_services.list_of_backend(session, VOLUME_BINARY, serves)
    now = models.now()
    return {
        row.host: row.heartbeat_at
        for row in rows
        if row.host != host
        and is_up(row.heartbeat_at, now, conf.service_down_time)
        and (row.report or {}).get('kernel') not in (None, mine)
    }
