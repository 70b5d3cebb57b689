# SPDX-License-Identifier: Apache-2.0
"""multiattach-standalone in a storage machine, with target_driver = lio; its initiators are outside of it."""

import json
import shlex
import signal
import time
import uuid
from typing import Any

from tests.deployments.noauth import make_connector
from tests.deployments.programs import BIN, ENVIRONMENT
from tests.functional.drivers.targets.tgt.initiator import Session
from tests.testbed import storage
from tests.testbed.polling import wait_until
from tests.testbed.remote import Process
from tests.testbed.storage import StorageHost

_API = '127.0.0.1:8776'
_SLOW = 300  # s for what an emulated processor does


class Service:
    """One state folder, at the disk that outlives a loss of power.

    :param options: of the backend; files of the state folder if there are none.
    :ivar volumes: folder of the volumes, in the machine.
    """

    def __init__(self, host: StorageHost, **options: str) -> None:
        self.host = host
        self._state = storage.DATA / 'state'
        self.volumes = self._state / 'volumes'
        self._options = options or {'driver': 'file', 'directory': str(self.volumes)}
        self._process: Process | None = None
        self._isids = {name: number + 1 for number, name in enumerate(('one', 'two', 'reader'))}
        self._names: dict[str, str] = {}

    def start(self) -> None:
        lines = ''.join(f'{name} = {value}\n' for name, value in self._options.items())
        config = (
            '[DEFAULT]\nreport_interval = 1\n[volume]\nenabled_backends = one\n'
            f'[one]\n{lines}target_driver = lio\n'
            f'[lio]\nportal = {self.host.address}:3260\n[host_agent]\nenabled = no\n'
        )
        self.host.put_file(self._state / 'multiattach.conf', config.encode(), 0o600)
        self.host.check(f'chmod 700 {self._state}')
        words = [str(BIN / 'multiattach-standalone'), '--state-dir', str(self._state), '--listen', _API]
        words += ['--config-file', str(self._state / 'multiattach.conf')]
        variables = [f'{key}={value}' for key, value in ENVIRONMENT.items()]
        self._process = self.host.spawn(shlex.join(['env', *variables, *words]), f'service-{time.monotonic_ns()}')
        wait_until(self._is_ready, _SLOW, 'the service', 0.5)

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.is_alive(), self._process.read_log()
        return 'Try:' in self._process.read_log()

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait_gone()

    def stop(self) -> None:
        assert self._process is not None
        self._process.kill(signal.SIGTERM)
        self._process.wait_gone(_SLOW)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        words = ['curl', '-sS', '--fail-with-body', '-m', '120', '-X', method, f'http://{_API}{path}']
        words += ['-H', 'Content-Type: application/json', '-H', 'OpenStack-API-Version: volume 3.71', '-d', '@-']
        text = self.host.check(shlex.join(words), 180, b'' if body is None else json.dumps(body).encode())
        return json.loads(text) if text else None

    def make_volume(self) -> str:
        specs = {'multiattach': '<is> True', 'multiattach:reservations': '<is> True'}
        self.ask('POST', '/v3/types', {'volume_type': {'name': 'cluster', 'extra_specs': specs}})
        ident: str = self.ask('POST', '/v3/volumes', {'volume': {'size': 1, 'volume_type': 'cluster'}})['volume']['id']
        self._wait_status(ident, 'available')
        return ident

    def _wait_status(self, ident: str, wanted: str) -> None:
        wait_until(lambda: self.ask('GET', f'/v3/volumes/{ident}')['volume']['status'] == wanted, _SLOW, wanted, 0.5)

    def attach(self, volume_id: str, name: str) -> dict[str, Any]:
        body = {'volume_uuid': volume_id, 'instance_uuid': str(uuid.uuid4()), 'connector': make_connector(name)}
        made: dict[str, Any] = self.ask('POST', '/v3/attachments', {'attachment': body})['attachment']
        self.ask('POST', f'/v3/attachments/{made["id"]}/action', {'os-complete': None})
        self._names[made['id']] = name
        return {**made, 'initiator': body['connector']['initiator']}

    def login(self, attachment: dict[str, Any]) -> Session:
        info = attachment['connection_info']
        isid = self._isids[self._names[attachment['id']]]
        with self.host.network.inside():
            return Session(
                info['target_portal'],
                info['target_iqn'],
                attachment['initiator'],
                info['auth_username'],
                info['auth_password'],
                isid=isid,
            )

    def fence(self, attachment: dict[str, Any]) -> list[dict[str, Any]]:
        found = self.ask('POST', f'/v3/multiattach/attachments/{attachment["id"]}/fence', {'fence': {}})
        return [one['proof'] for one in found['fence']['attachments']]

    def detach(self, attachment: dict[str, Any]) -> None:
        self.ask('DELETE', f'/v3/attachments/{attachment["id"]}')

    def delete_volume(self, volume_id: str) -> None:
        self._wait_status(volume_id, 'available')
        self.ask('DELETE', f'/v3/volumes/{volume_id}')

        def is_gone() -> bool:
            return not self.ask('GET', '/v3/volumes')['volumes']

        wait_until(is_gone, _SLOW, 'the end of the volume', 0.5)
