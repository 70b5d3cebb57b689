# SPDX-License-Identifier: Apache-2.0
"""kill -9 of a worker in the middle of granting, revoking and fencing: it carries on, and nothing is left over."""

import pathlib
import uuid

import pytest

from multiattach import failpoints
from tests.deployments.standalone import Standalone

from .cloud import Writer, make_connector, make_options, write_environment


class Service:
    """multiattach-standalone with a pool of Ceph; it may be killed and started again."""

    def __init__(self, ceph, folder: pathlib.Path, name: str) -> None:
        options = make_options(ceph, name)
        self.ceph, self.folder, self.pool = ceph, folder, name
        self.standalone = Standalone(folder / 'state')
        self.standalone.environment = write_environment(folder)
        with (folder / 'state' / 'multiattach.conf').open('a') as file:
            file.write(
                '[leases]\nduration = 2\nretry_pause = 0.1\n[volume]\nenabled_backends = fast\n'
                f'[fast]\ndriver = rbd\ntarget_driver = rbd\nrbd_pool = {name}\nrbd_user = {name}\n'
                f'rbd_ceph_conf = {options.rbd_ceph_conf}\n'
            )

    def start(self, *rules: str) -> None:
        self.standalone.environment[failpoints.VARIABLE] = ','.join(rules)
        self.standalone.start()

    def ask(self, method: str, path: str, body=None):
        code, reply = self.standalone.ask(method, path, body)
        assert code < 300, reply
        return reply

    def attach(self, volume_id: str):
        wish = {'volume_uuid': volume_id, 'instance_uuid': str(uuid.uuid4()), 'connector': make_connector('a')}
        return self.ask('POST', '/v3/attachments', {'attachment': wish})['attachment']

    def is_killed_by(self, method: str, path: str, body=None) -> None:
        with pytest.raises(OSError):
            self.standalone.ask(method, path, body)
        assert self.standalone.child.wait(30) == -9

    def list_users(self) -> list[str]:
        return [
            one['entity'].removeprefix('client.')
            for one in self.ceph.ask('auth ls')['auth_dump']
            if f'pool={self.pool} ' in one['caps'].get('osd', '') and 'multiattach-' in one['entity']
        ]

    def show(self, volume_id: str):
        return self.ask('GET', f'/v3/attachments/detail?volume_id={volume_id}')['attachments']

    def check_agreement(self) -> None:
        found = self.ask('POST', '/v3/multiattach/doctor', {'doctor': {'fix': False}})
        (found,) = found.values()
        assert (found['findings'], found['unanswered']) == ([], [])


@pytest.fixture
def service(ceph, tmp_path):
    name = f'k{uuid.uuid4().hex[:8]}'
    made = Service(ceph, tmp_path, name)
    yield made
    if made.standalone.child is not None and made.standalone.child.poll() is None:
        assert made.standalone.stop() == 0
    ceph.remove_pool(name)


def slow(*names: str):
    return [pytest.param(name, marks=pytest.mark.slow) for name in names]


@pytest.mark.parametrize('point', ['volume.export.granted', *slow('volume.export.planned', 'volume.export.finished')])
def test_a_grant_that_was_killed_is_carried_on(service, point):
    service.start(f'{point}=kill')
    volume_id = service.standalone.make_volume()
    wish = {'volume_uuid': volume_id, 'instance_uuid': str(uuid.uuid4()), 'connector': make_connector('a')}
    service.is_killed_by('POST', '/v3/attachments', {'attachment': wish})
    service.start()
    service.standalone.wait(lambda: service.show(volume_id)[0]['connection_info'])
    (found,) = service.show(volume_id)
    assert service.list_users() == [f'multiattach-{found["id"]}']
    writer = Writer(service.ceph.conf, service.folder, found['connection_info'], 0)
    writer.stop()
    service.check_agreement()


@pytest.mark.parametrize('point', ['volume.unexport.turned_away', *slow('volume.unexport.planned')])
def test_a_user_that_was_to_be_removed_is_removed(service, point):
    service.start(f'{point}=kill')
    volume_id = service.standalone.make_volume()
    found = service.attach(volume_id)
    service.is_killed_by('DELETE', f'/v3/attachments/{found["id"]}')
    service.start()
    service.standalone.wait(lambda: service.show(volume_id) == [])
    assert service.list_users() == []
    service.check_agreement()


@pytest.mark.parametrize(
    'point', ['volume.fence.begun', *slow('volume.fence.planned', 'volume.fence.cut', 'volume.fence.finished')]
)
def test_a_fence_that_was_killed_is_kept(service, point):
    service.start(f'{point}=kill')
    volume_id = service.standalone.make_volume()
    one, two = service.attach(volume_id), service.attach(volume_id)
    fenced = Writer(service.ceph.conf, service.folder, one['connection_info'], 0)
    other = Writer(service.ceph.conf, service.folder, two['connection_info'], 1 << 20)
    try:
        path = f'/v3/multiattach/attachments/{one["id"]}/fence'
        service.is_killed_by('POST', path, {'fence': {}})
        service.start()
        (answer,) = service.ask('POST', path, {'fence': {}})['fence']['attachments']
        assert answer['fenced']
        service.standalone.wait(lambda: fenced.process.poll() is not None, 60)
        assert fenced.error
        other.go_on()
        assert service.list_users() == [f'multiattach-{two["id"]}']
        service.check_agreement()
    finally:
        for writer in (fenced, other):
            writer.stop()
