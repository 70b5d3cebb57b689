# SPDX-License-Identifier: Apache-2.0
"""Nobody logged in, nobody let in, nothing in flight: what a fence and an online extend need of a target.

The target is set offline first, so that no login begins; then every session is ended. tgtd shows a
connection until the last of its commands is done (a command holds its connection, ``usr/iscsi/iscsid.c``,
iscsi_alloc_task), so with no connection left nothing is in flight. When the target is ready again the
initiators that still have an account log in by themselves.

A session cannot be left alone meanwhile: tgtd drops commands to a target that is offline without an
answer. And ending sessions costs SCSI-3 registrations their holder: tgtd binds a registration to the session
that made it. The reservation stays, so nobody gets in who was kept out; who was in has to register again.
"""

import contextlib
from collections.abc import Iterator

from oslo_log import log

from multiattach.drivers.errors import DriverError
from multiattach.drivers.targets.tgt.daemon import TgtDaemon
from multiattach.drivers.targets.tgt.parse import Nexus
from multiattach.drivers.targets.tgt.sessions import close_sessions

LOG = log.getLogger(__name__)


@contextlib.contextmanager
def shut(daemon: TgtDaemon, tid: int, timeout: float) -> Iterator[dict[int, Nexus]]:
    """Keep everybody out of a target while the block lasts; yield the sessions that were ended, by number.

    A worker that dies in the block leaves the target offline; the step that it was at is taken up again,
    and ends with an open target.

    :param timeout: how long the sessions may take to end, seconds.
    :raises TargetBusy: a session did not end in time; the target is open again.
    """
    with daemon.shut(tid):
        try:
            yield {nexus.sid: nexus for nexus in close_sessions(daemon, tid, timeout=timeout)}
        finally:
            try:
                # A login that was past the gate before it was shut: its commands were dropped.
                close_sessions(daemon, tid, timeout=timeout)
            except DriverError as exc:
                LOG.warning('Target %s: %s', tid, exc)
