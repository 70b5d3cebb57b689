# SPDX-License-Identifier: Apache-2.0
"""The way of this host around gateways that are lost, for sessions that have one path."""

import time

from oslo_log import log

from multiattach.domain.gateways import State, order_portals
from multiattach.drivers.connectors.redirects import Redirects
from multiattach.drivers.errors import ConnectorError
from multiattach.steps.host_gateways import HostGateways
from multiattach.trouble import Trouble

LOG = log.getLogger(__name__)

PAUSE = 2.0  # s between two looks
_SELDOM = 60.0  # s between two looks where there are no gateways


class Detours:
    """Has connections to a gateway that is lost go to one that serves, once Ceph refuses what the lost one sends.

    What it may have in hand can be repeated elsewhere then. When it serves again it is connected to again; who is
    connected elsewhere stays there.
    """

    def __init__(self, host: str, gateways: HostGateways, redirects: Redirects) -> None:
        self._host = host
        self._gateways = gateways
        self._redirects = redirects
        self._due = 0.0
        self._trouble = Trouble(LOG, 'The way around lost gateways')

    def look(self) -> None:
        """See which gateways are lost."""
        if time.monotonic() < self._due:
            return
        found = self._gateways.list_by_backend()
        self._due = 0.0 if found else time.monotonic() + _SELDOM
        wanted, lost = {}, set()
        for portals in found.values():
            serving = [portal for portal, state in portals.items() if state == State.SERVING]
            gone = [portal for portal, state in portals.items() if state == State.LOST]
            lost.update(gone)
            for portal in gone if serving else ():
                wanted[portal] = order_portals(f'{self._host} {portal}', serving)[0]
        try:
            self._redirects.apply(wanted, lost)
        except ConnectorError as exc:
            self._trouble.note(f'cannot be had: {exc}')
        else:
            self._trouble.end()
