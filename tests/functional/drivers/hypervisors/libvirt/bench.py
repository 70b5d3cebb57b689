# SPDX-License-Identifier: Apache-2.0
"""An agent with a real libvirtd, beside a control plane in this process."""

from multiattach.db import services as db_services
from multiattach.db.transitions import Actor
from multiattach.domain.findings import DriftRules
from multiattach.domain.services import HOST_BINARY
from multiattach.drivers.connectors.base import HostConnector
from multiattach.drivers.connectors.qemu import QemuConnector
from multiattach.drivers.hypervisors.libvirt.hypervisor import LibvirtHypervisor
from multiattach.engine.servers import ServerAttach
from multiattach.host.agent import HostAgent
from multiattach.steps.host_attachments import HostAttachments
from multiattach.steps.leases import AGENT_STEPS, StepLeases
from multiattach.steps.reconciliation import Reconciliation
from tests.component.host.fakes import Fuse
from tests.deployments import embedded

from .conftest import Host

NAME = 'compute1'


class Bench:
    """A host with two guests, whose agent has one volume to attach.

    :param connector: None for the initiator of QEMU.
    """

    def __init__(self, deployed: embedded.Deployment, host: Host, connector: HostConnector | None = None) -> None:
        self.deployed, self.host = deployed, host
        self.engine_side = HostAttachments(deployed.db, deployed.engine.orders, NAME)
        self.connector: HostConnector = connector or QemuConnector(NAME, '127.0.0.1', portal_timeout=2)
        self.hypervisor = LibvirtHypervisor(host.daemon.uri, detach_timeout=1, detach_attempts=1)
        self.agent = self.start_agent()
        db_services.beat(deployed.db, HOST_BINARY, NAME, 'nova', self.agent.report())
        self.engine_side.register_servers(self.agent.domains())
        if connector is None:
            deployed.make_type()
        self.volume_id = deployed.make_volume('multi')

    def start_agent(
        self,
        fuse: Fuse | None = None,
        hypervisor: LibvirtHypervisor | None = None,
        rules: DriftRules | None = None,
        interval: float = 0.0,
    ) -> HostAgent:
        parts = [self.engine_side, hypervisor or self.hypervisor, self.connector]
        wrapped = [fuse.wrap(part) if fuse else part for part in parts]
        leases = StepLeases(
            self.deployed.db, embedded.AT_ONCE, 'host', 'host.one', lambda _name: False, AGENT_STEPS, is_alone=True
        )
        return HostAgent(
            *wrapped,
            NAME,
            leases,
            project_id='a' * 32,
            reconciling=(Reconciliation(self.deployed.db, Actor(f'host:{NAME}')), rules or DriftRules(), interval),
        )

    def ask_attach(self, number: int) -> str:
        wish = ServerAttach(self.volume_id, supports_multiattach=True)
        return self.deployed.engine.servers.attach(self.deployed.ctx, self.host.server_id(number), wish).id

    def ask_detach(self, number: int) -> None:
        self.deployed.engine.servers.detach(self.deployed.ctx, self.host.server_id(number), self.volume_id)

    def state(self, ident: str) -> str:
        return self.engine_side.load(ident).state

    def initiators(self) -> list[str]:
        """Names that have a session at the target."""
        export = self.deployed.target.list_exports().get(self.volume_id)
        return sorted(session.initiator for session in export.sessions) if export else []
