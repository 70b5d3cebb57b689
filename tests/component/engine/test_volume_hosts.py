# SPDX-License-Identifier: Apache-2.0
"""Hosts of volumes: sums that follow what is there, and a host that takes no new volumes."""

import pytest

from multiattach.domain import errors
from multiattach.engine.volume_hosts import ProjectUse
from multiattach.engine.volumes import VolumeWish
from tests.contexts import make_context
from tests.deployments.embedded import BACKEND


def test_sums_follow_what_is_there(deployed):
    other = make_context('b' * 32)
    assert deployed.engine.volume_hosts.show(deployed.ctx, BACKEND) == []
    first = deployed.make_volume(size=2)
    deployed.make_volume(size=3)
    deployed.make_volume(size=4, ctx=other)
    assert deployed.engine.volume_hosts.show(deployed.ctx, BACKEND) == [
        ProjectUse('a' * 32, 2, 5),
        ProjectUse('b' * 32, 1, 4),
    ]
    deployed.engine.volumes.delete(deployed.ctx, first)
    deployed.wait(lambda: deployed.status(first) is None)
    assert deployed.engine.volume_hosts.show(deployed.ctx, BACKEND)[0] == ProjectUse('a' * 32, 1, 3)


def test_a_disabled_host_takes_no_new_volume(deployed):
    deployed.engine.volume_hosts.set_enabled(deployed.ctx, BACKEND, False)
    [row] = deployed.engine.volume_hosts.list_all(deployed.ctx)
    assert (row.host, row.disabled) == (BACKEND, True)
    volume = deployed.engine.volumes.create(deployed.ctx, VolumeWish(1))
    assert deployed.wait(lambda: deployed.status(volume.id) == 'error')
    deployed.engine.volume_hosts.set_enabled(deployed.ctx, BACKEND, True)
    deployed.make_volume()


def test_unknown_hosts(deployed):
    for call in (
        lambda: deployed.engine.volume_hosts.show(deployed.ctx, 'nowhere'),
        lambda: deployed.engine.volume_hosts.set_enabled(deployed.ctx, 'nowhere', False),
    ):
        with pytest.raises(errors.NotFound, match='nowhere'):
            call()


def test_who_may(deployed):
    member = make_context(admin=False, roles=('member', 'reader'))
    for call in (
        lambda: deployed.engine.volume_hosts.list_all(member),
        lambda: deployed.engine.volume_hosts.show(member, BACKEND),
        lambda: deployed.engine.volume_hosts.set_enabled(member, BACKEND, False),
    ):
        with pytest.raises(errors.NotAuthorized):
            call()
