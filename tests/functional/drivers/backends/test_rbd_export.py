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
from tests.functional.drivers.targets.tgt.initiator import BLOCK, Session
from tests.testbed.polling import wait_until
from tests.testbed.servers import pick_port

from .waiting import make_hasty


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
