# SPDX-License-Identifier: Apache-2.0
"""A compute host without a hypervisor: real RPC, real engine, real volume worker behind it."""

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import oslo_messaging as messaging

from multiattach.api.settings import ApiSettings
from multiattach.db import services as db_services
from multiattach.domain.services import HOST_BINARY
from multiattach.rpc import clients, transport
from multiattach.steps.host_attachments import HostAttachments
from tests.deployments import embedded

HOST = 'compute-1'
WEB, DB, IDLE, FOREIGN = (
    str(number) * 8 + f'-{str(number) * 4}-4{str(number) * 3}-8{str(number) * 3}-' + str(number) * 12
    for number in range(1, 5)
)
PROJECT = ApiSettings.default_project_id
OTHER_PROJECT = 'b' * 32
SERVERS: Mapping[str, Mapping[str, Any]] = {
    WEB: {'name': 'web', 'project_id': PROJECT, 'power_state': 'running', 'devices': ['vda']},
    DB: {'name': 'db', 'project_id': PROJECT, 'power_state': 'running', 'devices': ['vda', 'vdb']},
    IDLE: {'name': 'idle', 'project_id': PROJECT, 'power_state': 'shutdown', 'devices': []},
    FOREIGN: {'name': 'foreign', 'project_id': OTHER_PROJECT, 'power_state': 'paused', 'devices': []},
}


class ComputeHost:
    """An agent whose attaches and detaches always work, once it is let go on.

    :param deployed: the control plane.
    :param host: name of the host.
    """

    target = messaging.Target(version=clients.VERSION)

    def __init__(self, deployed: embedded.Deployment, host: str = HOST) -> None:
        self._deployed = deployed
        self._host = host
        self.engine = HostAttachments(deployed.db, deployed.engine.orders, host)
        self.failure: str | None = None  # why the next attaches fail
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def beat(self, cannot_share: str | None = None) -> None:
        db_services.beat(self._deployed.db, HOST_BINARY, self._host, 'nova', {'cannot_share': cannot_share})

    def register(self, **facts: Mapping[str, Any]) -> None:
        """Register the servers of the tests, with facts of some of them changed."""
        self.engine.register_servers(
            {ident: {**known, **facts.get(str(known['name']), {})} for ident, known in SERVERS.items()}
        )

    @messaging.expose
    def attach(self, context: Mapping[str, Any], attachment_id: str) -> None:
        self.may_go_on.wait(20)
        request_id = context.get('request_id')
        task = self.engine.load(attachment_id)
        if self.failure is not None:
            self.engine.fail_attach(task, self.failure, request_id)
            return
        self.engine.connect(
            task,
            {'host': self._host, 'initiator': f'iqn.1994-05.com.example:{self._host}', 'ip': '192.0.2.1'},
            request_id,
        )
        task = self.engine.begin_attach(attachment_id)
        self.engine.finish_attach(task, task.device, 0.1)

    @messaging.expose
    def detach(self, context: Mapping[str, Any], attachment_id: str) -> None:
        self.may_go_on.wait(20)
        self.engine.finish_detach(self.engine.load(attachment_id), context.get('request_id'))

    @messaging.expose
    def reconcile(self, context: Mapping[str, Any], fix: bool) -> dict[str, Any]:
        return {'findings': [], 'unread': {}}

    @messaging.expose
    def release(self, context: Mapping[str, Any], seals: Sequence[str]) -> dict[str, Any]:
        return {'findings': [], 'unread': {}}

    @messaging.expose
    def show_host(self, context: Mapping[str, Any]) -> dict[str, Any]:
        servers = [
            {'id': ident, 'name': known['name'], 'power_state': known['power_state'], 'disks': []}
            for ident, known in SERVERS.items()
        ]
        return {'servers': servers, 'sessions': [], **self.reconcile(context, False)}


@contextlib.contextmanager
def run(deployed: embedded.Deployment, host: str = HOST) -> Iterator[ComputeHost]:
    """Bring a host up, and down again."""
    agent = ComputeHost(deployed, host)
    agent.beat()
    server = transport.make_server(deployed.rpc, clients.HOST_TOPIC, host, agent)
    server.start()
    try:
        yield agent
    finally:
        agent.may_go_on.set()
        server.stop()
        server.wait()
