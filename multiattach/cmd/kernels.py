# SPDX-License-Identifier: Apache-2.0
"""One kernel at a time has the targets of a cluster: a worker on another machine would prove what it cannot see."""

import datetime
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

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


class Beat(NamedTuple):
    """:param yields: it is only about to start, and this one goes first."""

    at: datetime.datetime | None
    yields: bool


def check(
    conf: cfg.ConfigOpts, db: Database, serves: str, host: str, target: Target, beat: Callable[[], None] | None = None
) -> None:
    """See that no worker of the same backend is alive with the targets of another kernel.

    One that died of late still counts as up: only a heartbeat that goes on is believed. Of two that start at the same
    moment, as after a loss of power, each is seen by the other once both have reported; the first by name goes on.

    :param beat: reports this one, before and meanwhile.
    :raises ConfigurationError: there is one.
    """
    if serves == host or not getattr(target, 'IS_KERNEL', False):
        return
    if beat is not None:
        beat()
    mine = target.generation()
    before = _list_others(conf, db, serves, host, mine)
    if not before:
        return
    LOG.warning('Backend %s: to see whether %s with another kernel is alive', serves, ', '.join(sorted(before)))
    begun = beaten = time.monotonic()
    while time.monotonic() < begun + _BEATS * conf.report_interval:
        time.sleep(_PAUSE)
        if beat is not None and time.monotonic() - beaten >= conf.report_interval:
            beaten = time.monotonic()
            beat()
        now = _list_others(conf, db, serves, host, mine)
        if alive := sorted(name for name, one in now.items() if one != before.get(name) and not one.yields):
            raise errors.ConfigurationError(
                f'Option cluster in [volume]: {alive[0]} serves {serves} with the targets of another machine, which '
                'this worker could not fence. With the kernel as the target the members of a cluster are on one '
                'machine, or one of them runs at a time: stop the other one first.'
            )


def _list_others(conf: cfg.ConfigOpts, db: Database, serves: str, host: str, mine: int) -> Mapping[str, Beat]:
    with db.reader() as session:
        rows = db_services.list_of_backend(session, VOLUME_BINARY, serves)
    now = models.now()
    return {
        row.host: Beat(row.heartbeat_at, bool((row.report or {}).get('starting')) and row.host > host)
        for row in rows
        if row.host != host
        and is_up(row.heartbeat_at, now, conf.service_down_time)
        and (row.report or {}).get('kernel') not in (None, mine)
    }
