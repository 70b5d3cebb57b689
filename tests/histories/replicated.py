# SPDX-License-Identifier: Apache-2.0
"""The distributed deployment with a database and a broker that fail over to second ones."""

import pathlib
import random

from tests.deployments.distributed import Deployment
from tests.histories.production import Production
from tests.testbed.pairs import MariaDBPair, RabbitMQPair


class Replicated(Production):
    """The same.

    :param folder: for all that is written.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        super().__init__(folder, Deployment(folder, paired=True))
        self.faults |= {'database-failover': self._fail_database_over, 'broker-failover': self._fail_broker_over}

    def _fail_database_over(self, _chance: random.Random) -> None:
        """The primary dies, its replica takes over; what was answered is there."""
        assert isinstance(self._cloud.database, MariaDBPair)
        with self._server:
            self._cloud.database.fail_over()
            self.close()
            self._engine = None  # the new one has another socket

    def _fail_broker_over(self, _chance: random.Random) -> None:
        """All messages on their way are lost, and all queues."""
        assert isinstance(self._cloud.broker, RabbitMQPair)
        with self._server:
            self._cloud.broker.fail_over()
