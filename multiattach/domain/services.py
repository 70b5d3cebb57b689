# SPDX-License-Identifier: Apache-2.0
"""Services: their names, and whether one lives, by its last heartbeat."""

import datetime

VOLUME_BINARY = 'multiattach-volume'
HOST_BINARY = 'multiattach-host'


def is_up(heartbeat_at: datetime.datetime | None, now: datetime.datetime, down_time: float) -> bool:
    """Return whether a service's last heartbeat is recent.

    One of the future is not: it was written by a clock that was ahead, and would keep a dead service alive
    until the others get there (as Cinder's servicegroup has it).

    :param down_time: seconds without a heartbeat after which a service counts as down.
    """
    return heartbeat_at is not None and abs((now - heartbeat_at).total_seconds()) <= down_time
