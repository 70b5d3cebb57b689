# SPDX-License-Identifier: Apache-2.0
"""A host agent at work: RPC server, heartbeat, servers, and taking up what was left."""

import oslo_messaging as messaging
from oslo_log import log

from multiattach.coordination import Crew
from multiattach.db import services as db_services
from multiattach.db.database import Database
from multiattach.domain import errors
from multiattach.domain.services import HOST_BINARY
from multiattach.host.agent import HostAgent
from multiattach.periodic import Periodic
from multiattach.rpc import clients, transport
from multiattach.rpc.serving import Serving
from multiattach.steps.host_attachments import HostAttachments
from multiattach.steps.leases import StepLeases

LOG = log.getLogger(__name__)
# What was fenced usually goes in this time, so that nothing of it is left when the agent is ready.
_FIRST_SWEEP = 5.0  # s
# Whoever is at work when the agent is to stop has this time; the next start takes up what is left.
_STOP_PATIENCE = 5.0  # s


class HostService:
    """Runs the agent of one compute host.

    :param crew: all agents, so that who died is known before heartbeats run out.
    :param report_interval: seconds between heartbeats.
    """

    def __init__(
        self,
        db: Database,
        rpc: messaging.Transport,
        host: str,
        zone: str,
        agent: HostAgent,
        engine_side: HostAttachments,
        crew: Crew,
        leases: StepLeases,
        report_interval: float,
    ) -> None:
        self._db = db
        self._host = host
        self._zone = zone
        self._agent = agent
        self._engine_side = engine_side
        self._crew = crew
        server = transport.make_server(rpc, clients.HOST_TOPIC, host, agent)
        # Apart: a guest that takes its time must not make the host look dead.
        pause = agent.reconciler.pause
        self._serving = Serving(
            (server,),
            (
                *([Periodic(f'reconcile:{host}', pause, (agent.reconciler.tick,))] if pause else ()),
                Periodic(f'beat:{host}', report_interval, (self.beat,)),
                Periodic(f'keep:{host}', leases.rules.renewal, (leases.keep,)),
                # Apart as well: servers of a fenced host hang more often than others.
                Periodic(f'sweep:{host}', report_interval, (agent.obey,)),
                Periodic(f'resume:{host}', report_interval, (self._resume, agent.show_growth, self._look_around)),
            ),
        )
        self._report_interval = report_interval

    def start(self) -> None:
        """Let go of what was fenced; then report the host, take calls, and take up what was left.

        What was fenced and does not go at once is waited for no longer than some seconds, and then meanwhile.

        :raises OutcomeUnknown: the host does not tell what it connects with.
        :raises HostError: the host lacks what its connector needs.
        """
        LOG.info('Host agent %s starts: it lets go of what was fenced, and asks libvirt for its servers', self._host)
        self._agent.obey(_FIRST_SWEEP)
        self.beat()
        self._crew.join()
        self._serving.start()
        LOG.info('Host agent %s is ready', self._host)

    def stop(self) -> None:
        """Take no more calls, give those in work some seconds, and stop."""
        self.interrupt()
        if not self._serving.stop(_STOP_PATIENCE):
            LOG.warning('Host agent %s stops while steps are in work: the next start takes them up', self._host)
        self._crew.leave()

    def interrupt(self) -> None:
        """Wait for the hypervisor no more: the program is to stop."""
        self._agent.interrupt()

    def _resume(self) -> None:
        self._agent.resume(self._report_interval)

    def _look_around(self) -> None:
        self._crew.refresh()

    def beat(self) -> None:
        """Report that the agent is alive, what its host can, and which servers it has.

        A host whose hypervisor does not answer sends no heartbeat: it counts as down.
        """
        try:
            domains = self._agent.domains()
            report = self._agent.report()
        except (errors.Unavailable, errors.OutcomeUnknown, errors.HostError) as exc:
            LOG.error('Host %s cannot be reported: %s', self._host, exc.message)
            raise
        self._engine_side.register_servers(domains)
        db_services.beat(self._db, HOST_BINARY, self._host, self._zone, report)
