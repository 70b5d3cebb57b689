# SPDX-License-Identifier: Apache-2.0
"""The real service under fuzz: real SQLite, real worker, null target."""

import dataclasses
import json
import os
import pathlib
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import webob

from multiattach.api import deploy
from multiattach.domain.services import VOLUME_BINARY
from tests import lengths
from tests.conformance import Conformance
from tests.deployments import embedded

HEALTHY = ('available', 'reserved', 'attaching', 'in-use', 'detaching')
# How many times as many examples as the short run has.
FACTOR = float(os.environ.get('MULTIATTACH_FUZZ', '1'))


@dataclasses.dataclass
class Service:
    """The service and things that are there."""

    application: Conformance
    deployed: embedded.Deployment
    volume_id: str = ''
    type_id: str = ''
    attachment_id: str = ''
    qos_id: str = ''
    snapshot_id: str = ''

    def send(self, method: str, path: str, body: Any = None, version: str = '3.71') -> webob.Response:
        request = webob.Request.blank(
            f'/v3{path}',
            method=method,
            headers={'OpenStack-API-Version': f'volume {version}', 'Accept': 'application/json'},
        )
        if body is not None:
            request.body = json.dumps(body).encode()
            request.content_type = 'application/json'
        return request.get_response(self.application)

    def replenish(self) -> None:
        """Make what former requests have taken away."""
        self._repair()
        if not self._has(f'/types/{self.type_id}'):
            body = {'volume_type': {'name': str(uuid.uuid4()), 'extra_specs': {'multiattach': '<is> True'}}}
            self.type_id = self.send('POST', '/types', body).json['volume_type']['id']
        if not self._has(f'/qos-specs/{self.qos_id}'):
            body = {'qos_specs': {'name': str(uuid.uuid4()), 'color': 'blue'}}
            self.qos_id = self.send('POST', '/qos-specs', body).json['qos_specs']['id']
        if self.deployed.status(self.volume_id) not in HEALTHY:
            self.volume_id = self._make_volume()
        if not self._has(f'/attachments/{self.attachment_id}'):
            reply = self._reserve()
            if reply.status_int != 200:  # a volume on its way to another status, or claimed
                self.volume_id = self._make_volume()
                reply = self._reserve()
            self.attachment_id = reply.json['attachment']['id']

        if not self._has(f'/snapshots/{self.snapshot_id}'):
            body = {'snapshot': {'volume_id': self._make_volume(), 'metadata': {'multiattach': 'x'}}}
            self.snapshot_id = self.send('POST', '/snapshots', body).json['snapshot']['id']

    def _make_volume(self) -> str:
        # An extension by more than there is takes all room until it is refused.
        self.deployed.wait(lambda: all(one.room_gb >= 1 for one in self.deployed.engine.services.list_backends()))
        return self.deployed.make_volume(self.type_id)

    def _reserve(self) -> webob.Response:
        body = {'attachment': {'volume_uuid': self.volume_id, 'instance_uuid': str(uuid.uuid4())}}
        return self.send('POST', '/attachments', body)

    def _repair(self) -> None:
        """Undo what would let all later requests fail."""
        engine, ctx = self.deployed.engine, self.deployed.ctx
        if any(row.disabled for row in engine.services.list_all(ctx, None, None)):
            engine.services.set_disabled(ctx, VOLUME_BINARY, embedded.BACKEND, False, None)
        limits = engine.quotas.show(ctx, ctx.project_id).limits
        if any(limit != -1 for limit in limits.values()):
            engine.quotas.delete(ctx, ctx.project_id)
            engine.quotas.update_class(ctx, 'default', dict.fromkeys(limits, -1))

    def _has(self, path: str) -> bool:
        return not path.endswith('/') and self.send('GET', path).status_int == 200

    def known(self) -> dict[str, str]:
        """Values of wildcards that name something."""
        return {
            'volume_id': self.volume_id,
            'type_id': self.type_id,
            'attachment_id': self.attachment_id,
            'qos_id': self.qos_id,
            'snapshot_id': self.snapshot_id,
            'project_id': deploy.ApiSettings().default_project_id,
            'name': 'default',
            'key': 'multiattach',
            'host': embedded.BACKEND,
        }


@pytest.fixture(scope='module')
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    directory: pathlib.Path = tmp_path_factory.mktemp('fuzz')
    with embedded.deploy(directory, report_interval=5) as parts:
        lengths.enforce(parts.db.engine)
        application = deploy.make_application(parts.engine, deploy.ApiSettings())
        found = Service(Conformance(application, strict=True), parts)
        found.replenish()
        yield found
