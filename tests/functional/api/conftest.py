# SPDX-License-Identifier: Apache-2.0
import dataclasses
import json
import pathlib
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
import webob

from multiattach.api import deploy
from multiattach.api.faults import WsgiApp
from multiattach.drivers.errors import TargetError
from multiattach.drivers.targets.base import Grant, TargetInfo
from multiattach.drivers.targets.null import NullTarget
from tests.conformance import Conformance
from tests.deployments import embedded
from tests.deployments.noauth import make_connector
from tests.functional.personas import Personas


def make_application(parts: embedded.Deployment) -> WsgiApp:
    """Make the real API on the real engine; quotas are other tests' matter."""
    parts.engine.quotas.update_class(parts.ctx, 'default', {'volumes': -1, 'gigabytes': -1})
    application = deploy.make_application(parts.engine, deploy.ApiSettings(), authenticate=Personas)
    return Conformance(application, strict=False)


@pytest.fixture
def application(deployed: embedded.Deployment) -> WsgiApp:
    return make_application(deployed)


@dataclasses.dataclass
class Caller:
    """Calls the API and gives back replies."""

    application: WsgiApp
    deployed: embedded.Deployment

    def __call__(
        self, method: str, path: str, body: Any = None, version: str = '3.71', **headers: str
    ) -> webob.Response:
        headers = {name.replace('_', '-'): value for name, value in headers.items()}
        request = webob.Request.blank(
            f'/v3{path}',
            method=method,
            headers={'Accept': 'application/json', 'OpenStack-API-Version': f'volume {version}', **headers},
        )
        if body is not None:
            request.body = json.dumps(body).encode()
            request.content_type = 'application/json'
        return request.get_response(self.application)

    def make_volume(self, *, multiattach: bool = True) -> str:
        name = f'type-{multiattach}'
        if not any(row['name'] == name for row in self('GET', '/types').json['volume_types']):
            self.deployed.make_type(name, multiattach)
        reply = self('POST', '/volumes', {'volume': {'size': 1, 'volume_type': name}})
        assert reply.status_int == 202, reply.text
        ident: str = reply.json['volume']['id']
        self.deployed.wait(lambda: self.show(ident)['status'] != 'creating')
        return ident

    def show(self, volume_id: str) -> Any:
        return self('GET', f'/volumes/{volume_id}').json['volume']

    def reserve(self, volume_id: str, server: str | None = None, **more: Any) -> webob.Response:
        return self(
            'POST',
            '/attachments',
            {'attachment': {'volume_uuid': volume_id, 'instance_uuid': server or str(uuid.uuid4()), **more}},
        )

    def connect(self, attachment_id: str, host: str) -> webob.Response:
        return self('PUT', f'/attachments/{attachment_id}', {'attachment': {'connector': make_connector(host)}})

    def complete(self, attachment_id: str) -> webob.Response:
        return self('POST', f'/attachments/{attachment_id}/action', {'os-complete': None})

    def attach(self, volume_id: str, host: str, server: str | None = None) -> str:
        reply = self.reserve(volume_id, server)
        assert reply.status_int == 200, reply.text
        ident: str = reply.json['attachment']['id']
        assert self.connect(ident, host).status_int == 200
        assert self.complete(ident).status_int == 204
        return ident

    def delete(self, attachment_id: str) -> webob.Response:
        return self('DELETE', f'/attachments/{attachment_id}')

    def act(self, volume_id: str, name: str, value: Any = None, version: str = '3.71') -> webob.Response:
        return self('POST', f'/volumes/{volume_id}/action', {name: value}, version)


@pytest.fixture
def call(application: WsgiApp, deployed: embedded.Deployment) -> Caller:
    return Caller(application, deployed)


class StatementCounter:
    """Counts SQL statements, of worker threads too; BEGIN counts as one."""

    def __init__(self) -> None:
        self.statements: list[str] = []

    def __call__(self, _connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        self.statements.append(statement)

    def take(self) -> int:
        number = len(self.statements)
        self.statements.clear()
        return number


@pytest.fixture
def quiet(tmp_path: pathlib.Path) -> Iterator[Caller]:
    """As ``call``, with a worker that does nothing by itself after its start."""
    with embedded.deploy(tmp_path, report_interval=3600) as parts:
        yield Caller(make_application(parts), parts)


@pytest.fixture
def counter(quiet: Caller) -> Iterator[StatementCounter]:
    counting = StatementCounter()
    engine = quiet.deployed.db.engine
    sa.event.listen(engine, 'before_cursor_execute', counting)
    yield counting
    sa.event.remove(engine, 'before_cursor_execute', counting)


class AwkwardTarget(NullTarget):
    """A target that refuses, that waits in the middle of a grant, or that forgets everything."""

    def __init__(self) -> None:
        super().__init__()
        self.refuses = False
        self.refuses_late = False
        self.lives = 1
        self.entered = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()

    def grant(self, volume_id: str, device: str, grant: Grant) -> TargetInfo:
        self.entered.set()
        assert self.go_on.wait(20)
        if self.refuses:
            raise TargetError('no more targets')
        info = super().grant(volume_id, device, grant)
        if self.refuses_late:
            raise TargetError('no more accounts')
        return info

    def generation(self) -> int:
        return self.lives

    def die(self) -> None:
        """Start anew with nothing."""
        self._grants.clear()
        self.lives += 1


@pytest.fixture
def target() -> AwkwardTarget:
    return AwkwardTarget()


@pytest.fixture
def awkward(tmp_path: pathlib.Path, target: AwkwardTarget) -> Iterator[Caller]:
    with embedded.deploy(tmp_path, target, report_interval=60) as parts:
        yield Caller(make_application(parts), parts)
