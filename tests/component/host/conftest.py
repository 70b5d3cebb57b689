# SPDX-License-Identifier: Apache-2.0
"""An agent on a real control plane: database, RPC, volume worker; only the host is made up."""

import pathlib
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from multiattach.db import models, services as db_services
from multiattach.db.transitions import Actor
from multiattach.domain import findings
from multiattach.domain.leases import LeaseRules
from multiattach.domain.services import HOST_BINARY
from multiattach.engine.servers import ServerAttach
from multiattach.host.agent import HostAgent
from multiattach.steps.host_attachments import HostAttachments
from multiattach.steps.leases import AGENT_STEPS, StepLeases
from multiattach.steps.reconciliation import Reconciliation
from tests.deployments import embedded

from .fakes import SERVERS, FakeConnector, FakeHypervisor, Fuse

HOST = 'compute1'
PROJECT = 'a' * 32


class Bench:
    """A host, its agent, and short cuts."""

    def __init__(self, deployed: embedded.Deployment) -> None:
        self.deployed = deployed
        self.engine_side = HostAttachments(deployed.db, deployed.engine.orders, HOST)
        self.hypervisor = FakeHypervisor()
        self.connector = FakeConnector(HOST)
        self.agent = self.start_agent()
        db_services.beat(deployed.db, HOST_BINARY, HOST, 'nova', self.agent.report())
        self.engine_side.register_servers(self.agent.domains())
        deployed.make_type()

    def start_agent(
        self,
        fuse: Fuse | None = None,
        rules: LeaseRules = embedded.AT_ONCE,
        drift: findings.DriftRules | None = None,
        project: str = PROJECT,
    ) -> HostAgent:
        parts: tuple[Any, ...] = (self.engine_side, self.hypervisor, self.connector)
        if fuse is not None:
            parts = tuple(map(fuse.wrap, parts))
        return HostAgent(
            *parts,
            HOST,
            self.make_leases(rules),
            project_id=project,
            reconciling=(Reconciliation(self.deployed.db, Actor(f'host:{HOST}')), drift or findings.DriftRules(), 0.0),
        )

    def make_leases(self, rules: LeaseRules = embedded.AT_ONCE) -> StepLeases:
        return StepLeases(self.deployed.db, rules, 'host', 'host.one', lambda _name: False, AGENT_STEPS, is_alone=True)

    def use_own_sessions(self) -> None:
        self.connector = FakeConnector(HOST, shares_sessions=False)
        self.agent = self.start_agent()

    def reserve(self, volume_id: str, server: int = 0) -> str:
        """Ask for an attach as a user does; the agent's message is lost."""
        wish = ServerAttach(volume_id, supports_multiattach=True)
        return self.deployed.engine.servers.attach(self.deployed.ctx, SERVERS[server], wish).id

    def attach(self, volume_id: str, server: int = 0) -> str:
        ident = self.reserve(volume_id, server)
        self.agent.attach({'request_id': 'req-1'}, ident)
        assert self.state(ident) == 'attached'
        return ident

    def ask_detach(self, volume_id: str, server: int = 0) -> None:
        self.deployed.engine.servers.detach(self.deployed.ctx, SERVERS[server], volume_id)

    def row(self, ident: str) -> models.Attachment:
        with self.deployed.db.reader() as session:
            return session.scalars(sa.select(models.Attachment).where(models.Attachment.id == ident)).one()

    def state(self, ident: str) -> str:
        return self.row(ident).state

    def timeline(self, ident: str) -> str:
        with self.deployed.db.reader() as session:
            text = session.scalars(sa.select(models.Attachment.timeline).where(models.Attachment.id == ident)).one()
            return str(text)

    def admitted(self, volume_id: str) -> tuple[str, ...]:
        state = self.deployed.target.list_exports().get(volume_id)
        return state.initiators if state else ()

    def check_attached(self, ident: str, volume_id: str) -> None:
        assert self.state(ident) == 'attached'
        assert self.hypervisor.holders(volume_id) == {self.row(ident).instance_uuid}
        assert len(self.connector.sessions) == 1
        assert len(self.admitted(volume_id)) == 1
        assert self.deployed.status(volume_id) == 'in-use'

    def check_gone(self, volume_id: str) -> None:
        assert self.hypervisor.holders(volume_id) == set()
        assert self.connector.sessions == set()
        assert self.admitted(volume_id) == ()
        assert self.deployed.status(volume_id) == 'available'


@pytest.fixture
def bench(tmp_path: pathlib.Path) -> Iterator[Bench]:
    with embedded.deploy(tmp_path, report_interval=3600) as deployed:
        yield Bench(deployed)
