# SPDX-License-Identifier: Apache-2.0
"""Letting tgtd open a logical unit's device again, so that a new size is seen.

tgtd does it within one request, in which its main thread takes no commands. But its I/O
threads go on with commands that were queued before, and between close and open the unit's
descriptor is 0: a command that a thread begins then goes to tgtd's standard input, which is
usually /dev/null. Such a **write is acknowledged and lost**; a read fails (``usr/target.c``,
tgt_device_path_update; 59 of 65,000 writes were lost in 1,500 reopenings under load).

Therefore the request is sent when no command is in flight, and carries harmless parameters
before the path, which keep the main thread busy until the I/O threads have begun what came
in between (after that a command keeps its file). A private tgtd also has a standard input
that can not be written, so that a write that slipped through would fail, not vanish.
"""

import logging

from multiattach.drivers.target import TargetError
from multiattach.drivers.tgt.daemon import TgtDaemon
from multiattach.drivers.tgt.parse import ShownTarget
from multiattach.drivers.tgt.protocol import MAX_PARAMETERS
from multiattach.drivers.tgt.sessions import Pause

LOG = logging.getLogger(__name__)

_HARMLESS = ("removable", "0")  # what it is anyway
_HARMLESS_LENGTH = len("removable=0,")
_IDLE_TIMEOUT = 3.0


def reopen(daemon: TgtDaemon, target: ShownTarget, lun: int, device: str) -> None:
    """Open a logical unit's device again, or another device.

    :param daemon: the tgtd.
    :param target: the target.
    :param lun: number of the logical unit.
    :param device: path to open.
    :raises TargetError: tgtd can not open the device; then the unit is offline.
    """
    pause = Pause(_IDLE_TIMEOUT)
    while daemon.commands_in_flight(target.tid, lun):
        if not pause.take():
            LOG.warning("LUN %s of %s is never idle: reopening it under I/O", lun, target.iqn)
            break
    path = (("path", device),)
    room = MAX_PARAMETERS - len(device.encode()) - 100
    filling = (_HARMLESS,) * (room // _HARMLESS_LENGTH)
    daemon.update_lun(target.tid, lun, (("online", "0"), *filling, *path, ("online", "1")))
    # tgtd answers for the last parameter only.
    shown = daemon.show_targets().find(target.iqn)
    state = shown.luns.get(lun) if shown else None
    if state is None or not state.online or state.path != device:
        raise TargetError(f"tgtd can not open {device} for {target.iqn}: the LUN is offline")
