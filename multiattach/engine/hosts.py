# SPDX-License-Identifier: Apache-2.0
"""Compute hosts: those of this service's agents, and those that are known from connectors only."""

import dataclasses

from multiattach.db import database, fences, hosts as db_hosts, models, services as db_services
from multiattach.domain import errors, host_names
from multiattach.domain.services import HOST_BINARY
from multiattach.engine.context import RequestContext
from multiattach.engine.policy import Policy
from multiattach.engine.services import Services

# A host has some hundred servers at most; a reply has a bound all the same.
_MAX_SERVERS = 1000


@dataclasses.dataclass(frozen=True)
class ComputeHost:
    """A compute host: its agent is None where Nova drives it; servers are left out of lists."""

    name: str
    agent: models.Service | None
    agent_is_up: bool
    facts: db_hosts.RecordedHost
    servers: list[models.Server] = dataclasses.field(default_factory=list)
    fenced: models.FencedHost | None = None


class ComputeHosts:
    def __init__(self, db: database.Database, policy: Policy, services: Services) -> None:
        self._db = db
        self._policy = policy
        self._services = services

    @database.retry
    def list_all(self, ctx: RequestContext) -> list[ComputeHost]:
        self._policy.check(ctx, 'multiattach:hosts')
        with self._db.reader() as session:
            facts = db_hosts.list_facts(session)
            agents = {row.host: row for row in db_services.list_all(session, HOST_BINARY)}
            marks = {row.host: row for row in fences.list_marks(session)}
        return [
            self._make(name, agents.get(name), facts.get(name), fenced=marks.get(name))
            for name in sorted({*facts, *agents, *marks})
        ]

    def show(self, ctx: RequestContext, name: str) -> ComputeHost:
        """Show a host with its servers.

        :raises NotFound: no agent and no attachment names it, and it is not fenced.
        """
        self._policy.check(ctx, 'multiattach:hosts')
        return self.load(name)

    @database.retry
    def load(self, name: str) -> ComputeHost:
        """Do as :meth:`show`, for the service's own use."""
        with self._db.reader() as session:
            facts = db_hosts.list_facts(session, name).get(name)
            agents = [row for row in db_services.list_all(session, HOST_BINARY, name) if row.host == name]
            servers = db_hosts.list_servers(session, name, _MAX_SERVERS)
            fenced = fences.find_mark(session, name)
            unknown = facts is None and not agents and fenced is None
            near = host_names.find_near(name, db_hosts.list_names(session, HOST_BINARY)) if unknown else ()
        if unknown:
            raise errors.NotFound(
                f'Host {name[:64]} could not be found: no agent and no attachment names it.{host_names.suggest(near)}'
            )
        return self._make(name, agents[0] if agents else None, facts, servers, fenced)

    def _make(
        self,
        name: str,
        agent: models.Service | None,
        facts: db_hosts.RecordedHost | None,
        servers: list[models.Server] | None = None,
        fenced: models.FencedHost | None = None,
    ) -> ComputeHost:
        return ComputeHost(
            name,
            agent,
            agent is not None and self._services.is_up(agent),
            facts or db_hosts.RecordedHost(),
            servers or [],
            fenced,
        )
