# SPDX-License-Identifier: Apache-2.0
"""How much a pool of Ceph can take."""

from multiattach.drivers.backends.base import GIB, Capacity
from multiattach.drivers.ceph.pool import Pool
from multiattach.drivers.errors import StorageUnavailable

_SOON = 5.0  # s for what a heartbeat waits for


def read_capacity(pool: Pool) -> Capacity:
    """Read what the pool has; its quota counts."""
    return pool.run('tell its capacity', lambda _io, _progress: _read(pool), timeout=min(_SOON, pool.timeout))


def _read(pool: Pool) -> Capacity:
    name = pool.cluster.pool
    stats = {one['name']: one['stats'] for one in pool.ask('df')['pools']}.get(name)
    if stats is None:
        raise StorageUnavailable(f"Ceph's manager has no figures of pool {name} yet.")
    free = stats['max_avail']
    quota = pool.ask('osd pool get-quota', pool=name)['quota_max_bytes']
    if quota:
        free = max(min(free, quota - stats['stored']), 0)
    return Capacity((stats['stored'] + free) / GIB, free / GIB)
