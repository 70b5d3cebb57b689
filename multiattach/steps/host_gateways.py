# SPDX-License-Identifier: Apache-2.0
"""Gateways as a compute host needs to know of them."""

from multiattach.db import database, gateways as db_gateways


class HostGateways:
    def __init__(self, db: database.Database) -> None:
        self._db = db

    list_by_backend = database.reading(db_gateways.list_by_backend)
