# SPDX-License-Identifier: Apache-2.0
"""Names of storage pools as clients know them: ``host@backend#pool`` (contract 10.2).

A backend here is one pool, and the pool has the backend's name.
"""


def name_pool(host: str) -> str:
    """Name the pool of a backend.

    :param host: ``host@backend``.
    :returns: ``host@backend#backend``.
    """
    return f'{host}#{host.rpartition("@")[2]}'


def strip_pool(name: str) -> str:
    """Find the backend that a pool belongs to.

    :param name: ``host@backend``, perhaps with ``#pool``.
    :returns: ``host@backend``.
    """
    return name.partition('#')[0]
