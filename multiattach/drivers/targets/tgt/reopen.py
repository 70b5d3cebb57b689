# SPDX-License-Identifier: Apache-2.0
"""Letting tgtd open a logical unit's device again, so that a new size is seen.

tgtd does it within one request, in which its main thread takes no commands. But its I/O
threads go on with commands that were queued before, and between close and open the unit's
descriptor is 0: a command that a thread begins then goes to tgtd's standard input, which is
usually /dev/null. Such a write is acknowledged and lost; a read fails (``usr/target.c``,
tgt_device_path_update; 59 of 65,000 writes were lost in 1,500 reopenings under load).

There is no moment without commands that can be waited for: one may come between the look and the
request. So it is only ever done while the target is shut (:mod:`multiattach.drivers.targets.tgt.gate`):
no session, nothing in flight, and a command of a login that turns up late is dropped, not begun.
"""

from collections.abc import Callable

from multiattach.drivers.errors import TargetError
from multiattach.drivers.targets.tgt import gate
from multiattach.drivers.targets.tgt.daemon import TgtDaemon
from multiattach.drivers.targets.tgt.parse import Lun, ShownTarget
from multiattach.drivers.targets.tgt.protocol import TgtError


def reopen(
    daemon: TgtDaemon, target: ShownTarget, lun: int, device: str, timeout: float, confirm: Callable[[], None]
) -> None:
    """Open a logical unit's device again, or another device; the initiators log in again afterwards.

    :param timeout: how long the sessions may take to end, seconds.
    :param confirm: called before anybody can log in.
    :raises TargetBusy: a session did not end, and nothing was done.
    :raises TargetError: tgtd cannot open the device; then the unit is offline.
    """
    with gate.shut(daemon, target.tid, timeout):
        failed: TgtError | None = None
        try:
            # tgtd answers for the last parameter only. One that it has opened is online.
            daemon.update_lun(target.tid, lun, (('online', '0'), ('path', device)))
        except TgtError as exc:
            failed = exc
        confirm()
    if failed is not None:
        raise TargetError(f'tgtd cannot open {device} for {target.iqn}: the LUN is offline') from failed
    target.luns[lun] = Lun.make(lun, device, target.luns[lun].scsi_id)
