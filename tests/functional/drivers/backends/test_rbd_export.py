# SPDX-License-Identifier: Apache-2.0
"""Images of Ceph, exported by a real tgtd to real initiators."""

import contextlib
import os
import signal
import uuid

import pytest

from multiattach.drivers.backends.base import GIB
from multiattach.drivers.errors import ClearAborted, StorageError, StorageUnavailable, TargetError
from multiattach.drivers.targets.base import Export, Grant, account_name, generate_secret
from multiattach.drivers.targets.tgt.process import PrivateTgtd
from multiattach.drivers.targets.tgt.store import Store
from multiattach.drivers.targets.tgt.target import TgtTarget
from tests.deployments.noauth import make_connector
from tests.deployments.standalone import Standalone
from tests.functional.drivers.targets.tgt.initiator import BLOCK, Session
from tests.functional.standalone.test_life import attach
from tests.testbed import processes
from tests.testbed.polling import wait_until
from tests.testbed.servers import pick_port

from .conftest import SHORT, make_hasty, wait_for_capacity


def go_on():
    return True


@pytest.fixture
def tgtd():
    made = PrivateTgtd(portal=f'127.0.0.1:{pick_port()}', threads=2)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def target(tgtd, tmp_path):
    return TgtTarget(tgtd.daemon, portal=tgtd.portal, volumes_dir=tmp_path / 'targets')


@pytest.fixture
def volume_id(rbd):
    ident = str(uuid.uuid4())
    rbd.backend.create(ident, 1)
    return ident


def make_grant(volume_id, number):
    initiator = f'iqn.2010-10.org.openstack.test:host-{number}'
    return Grant(initiator, account_name(volume_id, initiator), generate_secret())


@contextlib.contextmanager
def login(target, rbd, volume_id, number):
    grant = make_grant(volume_id, number)
    info = target.grant(volume_id, rbd.backend.path(volume_id), grant)
    with Session(info.portal, info.iqn, grant.initiator, grant.username, grant.secret) as session:
        yield session


def test_what_an_initiator_writes_is_in_the_image_at_once(rbd, target, volume_id):
    with login(target, rbd, volume_id, 1) as one, login(target, rbd, volume_id, 2) as two:
        assert one.capacity() == GIB
        for number in range(100):
            data = os.urandom(BLOCK)
            one.write(number * 5000, data)
            assert rbd.read(volume_id, number * 5000 * BLOCK, BLOCK) == data
            assert two.read(number * 5000) == data
        rbd.write(volume_id, 7 * BLOCK, b'x' * BLOCK)  # as another gateway would
        assert two.read(7) == b'x' * BLOCK
    [lun] = target.list_exports()[volume_id].luns
    assert (lun.device, lun.online) == (f'{rbd.pool}/volume-{volume_id}', True)


def test_an_image_grows_under_its_initiators(rbd, target, volume_id):
    with login(target, rbd, volume_id, 1) as session:
        session.write(0, b'before'.ljust(BLOCK))
    rbd.backend.extend(volume_id, 2)
    target.extend(volume_id, rbd.backend.path(volume_id))
    with login(target, rbd, volume_id, 1) as session:
        assert session.capacity() == 2 * GIB
        session.write(GIB // BLOCK, b'beyond'.ljust(BLOCK))
        assert session.read(0) == b'before'.ljust(BLOCK)
    assert rbd.read(volume_id, GIB, 6) == b'beyond'


def test_an_image_is_open_as_long_as_it_is_exported(rbd, target, volume_id):
    target.grant(volume_id, rbd.backend.path(volume_id), make_grant(volume_id, 1))
    with pytest.raises(ClearAborted, match=f'volume-{volume_id} is still open at 127.0.0.1:'):
        rbd.backend.discard(volume_id)
    target.remove_export(volume_id)
    rbd.backend.discard(volume_id)
    rbd.backend.clear(volume_id, go_on)
    assert rbd.names() == []


def test_what_cannot_be_opened_is_an_error_and_tgtd_lives(rbd, target, tgtd, volume_id):
    missing = str(uuid.uuid4())
    with pytest.raises(StorageError, match=f'Ceph did not open image volume-{missing}'):
        rbd.backend.path(missing)
    pid, path = tgtd.pid, rbd.backend.path(volume_id)
    for wrong in (path.replace(volume_id, missing), path.replace('id=', 'id=x'), path.replace('.conf', '.nothing')):
        with pytest.raises(TargetError):
            target.ensure_export(Export(missing, wrong, (make_grant(missing, 1),)))
        target.remove_export(missing)
    with login(target, rbd, volume_id, 1) as session:
        session.write(0, bytes(BLOCK))
    assert tgtd.pid == pid


def test_a_tgtd_without_ceph_names_the_package(target, tgtd):
    tgtd.daemon.new_target(7, 'iqn.2010-10.org.openstack:x')
    with pytest.raises(TargetError, match='tgtd has no backing store other: install the package tgt-other'):
        target._new_lun(7, Store('pool/image', 'other'))


@pytest.mark.slow  # a watcher that died is one for 30 s
def test_an_image_whose_tgtd_was_killed_is_deleted_a_little_later(rbd, target, tgtd, volume_id):
    target.grant(volume_id, rbd.backend.path(volume_id), make_grant(volume_id, 1))
    os.kill(tgtd.pid, signal.SIGKILL)

    def delete():
        try:
            rbd.backend.discard(volume_id)
        except ClearAborted:
            return False
        return True

    assert not delete()
    wait_until(delete, 60, 'the end of the watcher', 1)
    rbd.backend.clear(volume_id, go_on)
    assert rbd.names() == []


def test_tgt_admin_restores_an_image(rbd, target, tgtd, volume_id, tmp_path):
    grant = make_grant(volume_id, 1)
    info = target.grant(volume_id, rbd.backend.path(volume_id), grant)
    before = target.list_exports()[volume_id]
    os.kill(tgtd.pid, signal.SIGKILL)
    wait_until(lambda: not tgtd.alive(), 10, 'the end of tgtd', 0.01)
    tgtd.start()
    main = tmp_path / 'targets.conf'
    main.write_text(f'default-driver iscsi\ninclude {tmp_path / "targets"}/*\n')
    processes.run(['tgt-admin', '-C', str(tgtd.daemon.control_port), '-c', str(main), '-e'])
    assert target.list_exports()[volume_id].luns == before.luns
    with Session(info.portal, info.iqn, grant.initiator, grant.username, grant.secret) as session:
        session.write(3, b'restored'.ljust(BLOCK))
    assert rbd.read(volume_id, 3 * BLOCK, 8) == b'restored'


def test_a_ceph_that_hangs_is_not_opened(rbd, target, volume_id, tmp_path):
    """tgtd would wait for it, and serve nobody meanwhile."""
    hasty, file, other = make_hasty(rbd, tmp_path), tmp_path / 'file', str(uuid.uuid4())
    file.write_bytes(bytes(1 << 20))
    grant = make_grant(other, 1)
    info = target.grant(other, str(file), grant)
    with Session(info.portal, info.iqn, grant.initiator, grant.username, grant.secret) as session:
        with rbd.ceph.frozen('osd.0'):
            with pytest.raises(StorageUnavailable, match='Ceph did not open image'):
                hasty.path(volume_id)
            with pytest.raises(StorageUnavailable, match='did not answer a moment ago'):
                hasty.path(volume_id)
            session.write(0, b'served'.ljust(BLOCK))
        assert session.read(0) == b'served'.ljust(BLOCK)


@pytest.fixture
def service(make_rbd, tmp_path):
    store = make_rbd(rados_connect_timeout=SHORT)
    wait_for_capacity(store.backend)  # else there is no room for a volume
    made = Standalone(tmp_path / 'state')
    made.store = store
    with (made.state / 'multiattach.conf').open('a') as file:
        file.write('[volume]\nenabled_backends = fast\n[fast]\ndriver = rbd\n')
        file.write(''.join(f'{name} = {value}\n' for name, value in store.options.items()))
    made.start()
    yield made
    assert made.stop() == 0


def make(service, **wish):
    code, reply = service.ask('POST', '/v3/volumes', {'volume': {'size': 1, **wish}})
    assert code == 202
    return reply['volume']['id']


def find_error(service, volume_id):
    """What the last attempt at a volume's step ended with."""
    _, reply = service.ask('GET', f'/v3/multiattach/volumes/{volume_id}/explain')
    return (next(iter(reply.values()))['lease'] or {}).get('error') or ''


def test_a_deployment_with_volumes_on_ceph(service):
    store, volume_id = service.store, service.make_volume()
    sessions = []
    for host in ('a', 'b'):
        code, reply = attach(service, volume_id, host)
        assert code == 200
        info = reply['attachment']['connection_info']
        words = (info['target_portal'], info['target_iqn'], make_connector(host)['initiator'])
        sessions.append(Session(*words, info['auth_username'], info['auth_password']))
    sessions[0].write(11, b'shared'.ljust(BLOCK))
    assert sessions[1].read(11) == store.read(volume_id, 11 * BLOCK, BLOCK) == b'shared'.ljust(BLOCK)
    for session in sessions:
        session.close()
    _, reply = service.ask('GET', f'/v3/attachments?volume_id={volume_id}')
    for one in reply['attachments']:
        assert service.ask('DELETE', f'/v3/attachments/{one["id"]}')[0] == 200
    # What Ceph does not answer is begun again when it does.
    doomed = make(service)
    service.wait(lambda: service.status(doomed) == 'available')
    with store.ceph.frozen('osd.0'):
        new, clone = make(service), make(service, size=2, source_volid=volume_id)
        assert service.ask('DELETE', f'/v3/volumes/{doomed}')[0] == 202
        for ident in (new, clone, doomed):
            service.wait(lambda ident=ident: 'The storage does not answer: Ceph' in find_error(service, ident), 60)
        assert [service.status(ident) for ident in (new, clone, doomed)] == ['creating', 'creating', 'deleting']
    service.wait(lambda: service.status(new) == service.status(clone) == 'available', 90)
    assert store.read(clone, 11 * BLOCK, 6) == b'shared'
    for ident in (volume_id, clone, new):
        assert service.ask('DELETE', f'/v3/volumes/{ident}')[0] == 202
    service.wait(lambda: store.names() == [], 90)
