# SPDX-License-Identifier: Apache-2.0
"""What the target driver ``rbd`` decides without asking Ceph."""

import pathlib
import types

import pytest

from multiattach.conf import plugins
from multiattach.domain import errors
from multiattach.drivers.ceph.addresses import find_host
from multiattach.drivers.ceph.pool import Cluster, Pool
from multiattach.drivers.errors import TargetError
from multiattach.drivers.targets.base import Grant
from multiattach.drivers.targets.rbd.service import RbdTarget

VOLUME, SECRET = '9d1e3f52-8a47-4a0b-9c1d-5e6f70819203', '457eb676-33da-42ec-9a8c-9293d545c337'


@pytest.fixture
def target() -> RbdTarget:
    return RbdTarget(Pool((None, None), Cluster('/nowhere', 'cinder', 'ceph', 'volumes'), 1), SECRET)


def test_it_is_for_images_of_ceph_only() -> None:
    options = types.SimpleNamespace(driver='lvm')
    around = plugins.Surroundings('fast', 'host', pathlib.Path('/nowhere'))
    with pytest.raises(errors.ConfigurationError, match=r'^Option target_driver in \[fast\]: .* driver is lvm'):
        RbdTarget.from_options(options, around)


def test_a_host_without_users_of_its_own_is_told_whom_the_operator_named(target: RbdTarget) -> None:
    grant = target.make_grant(VOLUME, 'address:192.0.2.7', 'rw', None)
    assert (grant.username, grant.secret) == ('', '')
    told = target.grant(VOLUME, '', grant).tell(grant, {})
    assert (told['name'], told['auth_username'], told['secret_uuid']) == (f'volumes/volume-{VOLUME}', 'cinder', SECRET)
    assert 'keyring' not in told
    # Nothing can be taken away from it, and nothing is asked.
    target.revoke(VOLUME, 'address:192.0.2.7', '')


def test_a_user_keeps_the_key_that_its_host_was_told(target: RbdTarget) -> None:
    info = {'keyring': '[client.multiattach-a]\n\tkey = AQA+b/c==\n'}
    grant = target.make_grant(VOLUME, 'multiattach-a', 'ro', info)
    assert grant == Grant('multiattach-a', 'multiattach-a', 'AQA+b/c==', 'ro')
    assert 'AQA' not in repr(grant)
    assert target.make_grant(VOLUME, 'multiattach-a', 'rw', None).secret == ''


def test_a_name_of_iscsi_is_refused(target: RbdTarget) -> None:
    name = 'iqn.1994-05.com.redhat:a'
    for step in (
        lambda: target.grant(VOLUME, '', target.make_grant(VOLUME, name, 'rw', None)),
        lambda: target.fence(VOLUME, name, ''),
    ):
        with pytest.raises(TargetError, match='no initiator of a backend with target_driver rbd'):
            step()


def test_the_host_in_an_address() -> None:
    assert find_host('192.0.2.7:0/123') == '192.0.2.7'
    assert find_host('[2001:db8::7]:0/123') == '2001:db8::7'
