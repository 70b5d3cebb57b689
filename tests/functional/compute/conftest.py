# SPDX-License-Identifier: Apache-2.0
import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import pytest
import webob

from multiattach.api import deploy
from multiattach.api.faults import WsgiApp
from tests import contexts
from tests.deployments import embedded
from tests.functional.compute import compute_host
from tests.functional.compute.compute_host import PROJECT, ComputeHost
from tests.functional.personas import Personas


@pytest.fixture
def host(deployed: embedded.Deployment) -> Iterator[ComputeHost]:
    """A compute host with servers."""
    with compute_host.run(deployed) as agent:
        agent.register()
        yield agent


@pytest.fixture
def application(deployed: embedded.Deployment, host: ComputeHost) -> WsgiApp:
    """The real API on the real engine."""
    return deploy.make_application(deployed.engine, deploy.ApiSettings(), authenticate=Personas)


@dataclasses.dataclass
class Caller:
    """Calls the compute API and gives back replies."""

    application: WsgiApp
    deployed: embedded.Deployment

    def __call__(self, method: str, path: str, body: Any = None, minor: int = 89, **headers: str) -> webob.Response:
        headers = {name.replace('_', '-'): value for name, value in headers.items()}
        request = webob.Request.blank(
            f'/compute/v2.1{path}', method=method, headers={'OpenStack-API-Version': f'compute 2.{minor}', **headers}
        )
        if body is not None:
            request.body = json.dumps(body).encode()
            request.content_type = 'application/json'
        return request.get_response(self.application)

    def attach(self, server: str, volume_id: str, minor: int = 89, **more: Any) -> webob.Response:
        return self(
            'POST',
            f'/servers/{server}/os-volume_attachments',
            {'volumeAttachment': {'volumeId': volume_id, **more}},
            minor,
        )

    def detach(self, server: str, volume_id: str) -> webob.Response:
        return self('DELETE', f'/servers/{server}/os-volume_attachments/{volume_id}')

    def volumes_of(self, server: str) -> list[str]:
        reply = self('GET', f'/servers/{server}/os-volume_attachments').json
        return [row['volumeId'] for row in reply['volumeAttachments']]

    def make_volume(self, *, multiattach: bool = True) -> str:
        if multiattach and 'multi' not in self.types():
            self.deployed.make_type()
        return self.deployed.make_volume('multi' if multiattach else None, ctx=contexts.make_context(PROJECT))

    def types(self) -> list[str]:
        request = webob.Request.blank('/v3/types')
        return [row['name'] for row in request.get_response(self.application).json['volume_types']]

    def states(self, volume_id: str) -> list[str]:
        request = webob.Request.blank(
            f'/v3/attachments?volume_id={volume_id}', headers={'OpenStack-API-Version': 'volume 3.71'}
        )
        reply = request.get_response(self.application).json
        return sorted(row['status'] for row in reply['attachments'])

    def wait_for(self, volume_id: str, *states: str) -> None:
        self.deployed.wait(lambda: self.states(volume_id) == sorted(states))


@pytest.fixture
def call(application: WsgiApp, deployed: embedded.Deployment) -> Caller:
    return Caller(application, deployed)
