# SPDX-License-Identifier: Apache-2.0
"""A disk without any room, under the volumes and what is written of targets, or under all of a service."""

import contextlib
import json
import os
import pathlib
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from multiattach.drivers.targets.base import account_name
from multiattach.drivers.targets.tgt.parse import Listing
from tests.deployments.noauth import make_connector
from tests.deployments.standalone import Standalone
from tests.functional.disturbances.disk import SETTINGS, SmallDisk
from tests.functional.drivers.targets.tgt.initiator import Session
from tests.testbed import processes

PREFIX = 'iqn.2010-10.org.openstack:volume-'


class Service:
    """multiattach-standalone on a small disk."""

    def __init__(self, state: pathlib.Path, disk: SmallDisk) -> None:
        self.program = Standalone(state)
        with (state / 'multiattach.conf').open('a') as out:
            out.write(SETTINGS)
        self.disk = disk

    def ask(self, method: str, path: str, body: Any = None, *good: int) -> Any:
        code, reply = self.program.ask(method, path, body)
        assert code in good, (code, reply)
        return reply

    def reserve(self, volume: str) -> str:
        reply = self.ask(
            'POST', '/v3/attachments', {'attachment': {'volume_uuid': volume, 'instance_uuid': str(uuid.uuid4())}}, 200
        )
        return str(reply['attachment']['id'])

    def connect(self, ident: str, host: str, *good: int) -> Any:
        return self.ask('PUT', f'/v3/attachments/{ident}', {'attachment': {'connector': make_connector(host)}}, *good)

    def log_in(self, info: dict[str, Any], host: str) -> Session:
        return Session(
            info['target_portal'],
            info['target_iqn'],
            make_connector(host)['initiator'],
            info['auth_username'],
            info['auth_password'],
            comes_back=True,
        )

    def targets(self) -> dict[str, Any]:
        (pid,) = self.program.tgtd_pids()
        command = pathlib.Path(f'/proc/{pid}/cmdline').read_bytes().split(b'\0')
        port = command[command.index(b'-C') + 1].decode()
        shown = processes.run(['tgtadm', '-C', port, '--lld', 'iscsi', '--op', 'show', '--mode', 'target'])
        return {one.iqn.removeprefix(PREFIX): one for one in Listing(shown)}

    def files(self) -> set[str]:
        return set(os.listdir(self.program.state / 'targets'))

    def take_away(self, volume: str) -> None:
        found = self.ask('GET', f'/v3/attachments?volume_id={volume}', None, 200)['attachments']
        for one in found:
            self.ask('DELETE', f'/v3/attachments/{one["id"]}', None, 200)
        self.ask('DELETE', f'/v3/volumes/{volume}', None, 202)
        self.program.wait(lambda: self.program.ask('GET', f'/v3/volumes/{volume}')[0] == 404)

    def check_empty(self) -> None:
        """Nothing is left of anything."""
        assert self.targets() == {}
        assert self.files() == set()
        assert os.listdir(self.program.state / 'volumes') == []


def check_log(state: pathlib.Path, *, but: str | None = None) -> None:
    """No request met something that nobody thought of."""
    log = (state / 'multiattach.log').read_text()
    assert 'Unexpected ' not in log, log[-3000:]
    assert but is not None or 'Traceback' not in log, log[-3000:]


@contextlib.contextmanager
def run(folder: pathlib.Path, state: pathlib.Path, users: list[pathlib.Path]) -> Iterator[Service]:
    with SmallDisk(folder / 'disk', users).mounted() as disk:
        service = Service(state, disk)
        service.program.start()
        child = service.program.child
        assert child is not None
        assert child.stdout is not None
        # Where its log has no room it complains there, until a pipe that nobody reads is full.
        threading.Thread(target=child.stdout.read, daemon=True).start()
        try:
            yield service
            assert service.program.stop() == 0
        finally:
            if child.poll() is None:
                service.program.kill()


@pytest.fixture
def service(tmp_path: pathlib.Path) -> Iterator[Service]:
    state = tmp_path / 'state'
    with run(tmp_path, state, [state / 'volumes', state / 'targets']) as made:
        yield made


def test_volumes_and_targets_without_room(service: Service) -> None:
    program = service.program
    shared, other = program.make_volume(), program.make_volume()
    idents = {host: service.reserve(shared) for host in ('a', 'b', 'c', 'd')}
    infos = {
        host: service.connect(idents[host], host, 200)['attachment']['connection_info'] for host in ('a', 'b', 'c')
    }
    sessions = {host: service.log_in(infos[host], host) for host in ('a', 'b', 'c')}
    busy = service.reserve(other)
    before = (service.program.state / 'targets' / f'volume-{shared}').read_text()

    with service.disk.full():
        # A volume that cannot be made says why.
        made = service.ask('POST', '/v3/volumes', {'volume': {'size': 1}}, 202)['volume']['id']
        program.wait(lambda: program.status(made) == 'error')
        told = [
            one['user_message']
            for one in service.ask('GET', '/v3/messages', None, 200)['messages']
            if one['resource_uuid'] == made
        ]
        assert any('No space left on device' in text for text in told), told
        # An initiator that cannot be written down is not admitted; what was there is as it was.
        for ident, host, volume in ((idents['d'], 'd', shared), (busy, 'e', other)):
            (fault,) = service.connect(ident, host, 503).values()
            assert 'No space left on device' in fault['message']
            shown = service.ask('GET', f'/v3/multiattach/attachments/{ident}/explain', None, 200)
            assert 'No space left on device' in json.dumps(shown)
            found = service.ask('GET', f'/v3/attachments/{ident}', None, 200)['attachment']
            assert found['status'] == 'reserved'
            assert f'volume-{volume}.new' not in ' '.join(service.files())
        assert (service.program.state / 'targets' / f'volume-{shared}').read_text() == before
        assert set(service.targets()) == {shared}
        assert len(sessions['a'].read(0)) == 512
        # Who is turned away or cut off is so now: the file that would let them in again goes.
        service.ask('DELETE', f'/v3/attachments/{idents["b"]}', None, 200)
        proof = service.ask('POST', f'/v3/multiattach/attachments/{idents["c"]}/fence', {'fence': {}}, 200)
        assert proof
        assert service.targets()[shared].initiators == [make_connector('a')['initiator']]
        assert service.targets()[shared].accounts == [account_name(shared, make_connector('a')['initiator'])]
        assert f'volume-{shared}' not in service.files()
        assert len(sessions['a'].read(0)) == 512
        # A target daemon that dies now comes back with what the rows say.
        os.kill(program.tgtd_pids()[0], 9)
        program.wait(lambda: set(look(service)) == {shared}, 60)
        service.log_in(infos['a'], 'a').close()

    for host, ident, volume in (('d', idents['d'], shared), ('e', busy, other)):
        info = service.connect(ident, host, 200)['attachment']['connection_info']
        service.log_in(info, host).close()
        assert f'volume-{volume}' in service.files()
    for volume in (shared, other, made):
        service.take_away(volume)
    service.check_empty()
    check_log(program.state, but='the killed tgtd')


def look(service: Service) -> dict[str, Any]:
    """Look at a target daemon that may be away."""
    try:
        return service.targets()
    except Exception:
        return {}


def test_a_service_without_room(tmp_path: pathlib.Path) -> None:
    """The database, the log and the locks are on the full disk, too."""
    with run(tmp_path, tmp_path / 'disk', []) as service:
        program = service.program
        volume, other = program.make_volume(), program.make_volume()
        ident, waits = service.reserve(volume), service.reserve(other)
        info = service.connect(ident, 'a', 200)['attachment']['connection_info']
        session = service.log_in(info, 'a')
        with service.disk.full():
            for method, path, body in (
                ('POST', '/v3/volumes', {'volume': {'size': 1}}),
                ('PUT', f'/v3/attachments/{waits}', {'attachment': {'connector': make_connector('b')}}),
                ('POST', f'/v3/attachments/{ident}/action', {'os-complete': {}}),
                ('DELETE', f'/v3/volumes/{other}', None),
            ):
                code, reply = program.ask(method, path, body)
                if code < 300:
                    continue
                (fault,) = reply.values()
                assert code in (400, 409, 503, 504), (method, path, reply)
                assert len(fault['message']) > 20
            assert program.ask('GET', f'/v3/volumes/{volume}')[0] in (200, 503)
            assert len(session.read(0)) == 512
        program.wait(
            lambda: service.program.ask('GET', f'/v3/attachments/{waits}')[1]['attachment']['status'] == 'reserved'
        )
        info = service.connect(waits, 'b', 200)['attachment']['connection_info']
        service.log_in(info, 'b').close()
        session.close()
        volumes = service.ask('GET', '/v3/volumes', None, 200)['volumes']
        for one in volumes:
            program.wait(lambda ident=one['id']: program.status(ident) not in ('creating', 'deleting'), 60)
            service.take_away(one['id'])
        service.check_empty()
