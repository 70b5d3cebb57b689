# SPDX-License-Identifier: Apache-2.0
"""A host agent at work: RPC server, heartbeat, servers, and taking up what was left."""

import time
from typing import Any

import oslo_messaging as messaging
from oslo_log import log

from multiattach.domain import errors
from multiattach.domain.services import HOST_BINARY
from multiattach.host.agent import HostAgent
from multiattach.host.detours import PAUSE, Detours
from multiattach.rpc import clients, transport
from multiattach.steps.host_attachments import HostAttachments
from multiattach.steps.leases import StepLeases
from multiattach.worker import Presence, Round, Worker

LOG = log.getLogger(__name__)
_LOOK = 60.0  # s between two looks at the rows of servers that have not changed


class HostService(Worker):
    """Runs the agent of one compute host.

    :param detours: ways around lost gateways; None if the host has several paths, or is to have none.
    :param first_sweep: seconds in which what was fenced usually goes, so that nothing of it is left when the agent is
        ready.
    :param stop_patience: seconds for whoever is at work when the agent is to stop; the next start takes up the rest.
    """

    binary = HOST_BINARY

    def __init__(
        self,
        presence: Presence,
        rpc: messaging.Transport,
        leases: StepLeases,
        agent: HostAgent,
        steps: HostAttachments,
        *,
        first_sweep: float = 5.0,
        stop_patience: float = 5.0,
        detours: Detours | None = None,
    ) -> None:
        super().__init__(presence, leases)
        self._rpc = rpc
        self._agent = agent
        self._steps = steps
        self._detours = detours
        self._first_sweep = first_sweep
        self._stop_patience = stop_patience
        self._registered: dict[str, dict[str, Any]] | None = None
        self._look_at = 0.0

    def start(self) -> None:
        """Let go of what was fenced; then report the host, take calls, and take up what was left.

        :raises OutcomeUnknown: the host does not tell what it connects with.
        :raises HostError: the host lacks what its connector needs.
        """
        LOG.info('Host agent %s starts: it lets go of what was fenced, and asks libvirt for its servers', self._host)
        self._agent.obey(self._first_sweep)
        self.beat()
        pause, reconciler = self._presence.interval, self._agent.reconciler
        self.serve(
            (transport.make_server(self._rpc, clients.HOST_TOPIC, self._host, self._agent),),
            (
                Round('tend', pause, (self._tend,)),
                *([Round('detours', min(pause, PAUSE), (self._detours.look,))] if self._detours else ()),
                *([Round('reconcile', reconciler.pause, (reconciler.tick,))] if reconciler.pause else ()),
            ),
        )
        LOG.info('Host agent %s is ready', self._host)

    def stop(self) -> None:
        self.interrupt()
        if not self.end(self._stop_patience):
            LOG.warning('Host agent %s stops while steps are in work: the next start takes them up', self._host)

    def interrupt(self) -> None:
        self._agent.interrupt()

    def _tend(self) -> None:
        self._agent.tend(self._presence.interval)

    def report(self) -> dict[str, Any]:
        """Return what the host can, and register which servers it has.

        A host whose hypervisor does not answer sends no heartbeat: it counts as down.
        """
        try:
            domains, report = self._agent.domains(), self._agent.report()
        except (errors.Unavailable, errors.OutcomeUnknown, errors.HostError) as exc:
            LOG.error('Host %s cannot be reported: %s', self._host, exc.message)
            raise
        # The rows are seldom other than they were left; each minute they are looked at all the same.
        if domains != self._registered or time.monotonic() >= self._look_at:
            self._steps.register_servers(domains)
            self._registered, self._look_at = domains, time.monotonic() + _LOOK
        return report
