# SPDX-License-Identifier: Apache-2.0
"""Names of storage pools as clients know them: ``host@backend#pool`` (contract 10.2).

A backend here is one pool, and the pool has the backend's name.
"""


def name_pool(host: str) -> str:
    return f'{host}#{host.rpartition("@")[2]}'


def strip_pool(name: str) -> str:
    """Return the backend of a name with or without ``#pool``."""
    return name.partition('#')[0]
