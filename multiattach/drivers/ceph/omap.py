# SPDX-License-Identifier: Apache-2.0
"""What objects of a pool keep by keys: an OSD gives a page of it at a time."""

from collections.abc import Iterator
from typing import Any

from multiattach.drivers.ceph.pool import Pool

_PAGE = 1000  # an OSD gives no more than 1024, and does not fail (osd_max_omap_entries_per_request)


def read_pairs(pool: Pool, io: Any, name: str, prefix: str = '') -> Iterator[tuple[str, bytes]]:
    """Yield keys and values of an object, in order of the keys; an object that is not there has none.

    Only for work that :meth:`Pool.run` runs.

    :param prefix: of the keys.
    """
    last = ''
    while True:
        with pool.rados.ReadOpCtx() as operation:
            found, _ = io.get_omap_vals(operation, last, prefix, _PAGE)
            try:
                io.operate_read_op(operation, name)
            except pool.rados.ObjectNotFound:
                return
            page = list(found)
        yield from page
        if len(page) < _PAGE:
            return
        last = page[-1][0]
