# SPDX-License-Identifier: Apache-2.0
"""What workers and agents have in common: RPC servers and work that is done again and again."""

from collections.abc import Sequence

import oslo_messaging as messaging

from multiattach.periodic import Periodic
from multiattach.rpc import broker


class Serving:
    """Runs RPC servers and periodic work together.

    :param servers: the servers, not started; each has threads of its own.
    :param periodics: the work, not started.
    """

    def __init__(self, servers: Sequence[messaging.MessageHandlingServer], periodics: Sequence[Periodic]
                 ) -> None:
        self._servers = servers
        self._periodics = periodics

    def start(self) -> None:
        """Take calls and begin the periodic work.

        :raises ConfigurationError: the broker has the server's queue, but not of the kind that is configured.
        """
        try:
            for server in self._servers:
                server.start()
        except messaging.MessageDeliveryFailure as exc:
            broker.explain_refusal(exc)
            raise
        for periodic in self._periodics:
            periodic.start()

    def stop(self) -> None:
        """Take no more calls, wait for those in work, and stop."""
        for periodic in self._periodics:
            periodic.stop()
        for server in self._servers:
            server.stop()
        for server in self._servers:
            server.wait()
