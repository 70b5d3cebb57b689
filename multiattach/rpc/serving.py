# SPDX-License-Identifier: Apache-2.0
"""What workers and agents have in common: RPC servers and work that is done again and again."""

import threading
from collections.abc import Sequence

import oslo_messaging as messaging

from multiattach.periodic import Periodic
from multiattach.rpc import broker


class Serving:
    """Runs RPC servers and periodic work together."""

    def __init__(self, servers: Sequence[messaging.MessageHandlingServer], periodics: Sequence[Periodic]) -> None:
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

    def stop(self, patience: float | None = None) -> bool:
        """Take no more calls, wait for those in work, and stop; return whether nothing is in work any more."""
        if patience is None:
            self._stop()
            return True
        stopping = threading.Thread(target=self._stop, name='serving-end', daemon=True)
        stopping.start()
        stopping.join(patience)
        return not stopping.is_alive()

    def _stop(self) -> None:
        for periodic in self._periodics:
            periodic.stop()
        for server in self._servers:
            server.stop()
        for server in self._servers:
            server.wait()
