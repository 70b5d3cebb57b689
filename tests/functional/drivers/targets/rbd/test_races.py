# SPDX-License-Identifier: Apache-2.0
"""Two workers at one volume: the lock of one that sleeps runs out, and it goes on when it wakes."""

from multiattach.coordination import connect, disconnect
from multiattach.volume.fencing import Fencer
from multiattach.volume.locks import VolumeLocks

from .cloud import make_connector


def test_a_worker_that_slept_gives_nobody_his_key_again(cloud, tmp_path, monkeypatch):
    volume_id = cloud.deployed.make_volume('multi')
    one, two = (cloud.attach(volume_id, make_connector('a')) for _ in range(2))
    deployed, ident = cloud.deployed, one['id']
    backend = deployed.exporter._backend
    coordinator = connect(f'file://{tmp_path}', 'other')
    other = Fencer(deployed.fencer._plans, deployed.target, VolumeLocks(coordinator), deployed.leases)
    path = backend.path

    def sleep(name):
        monkeypatch.undo()
        deployed.engine.fences._begin(deployed.ctx, ident, force=False)
        other.fence(volume_id, ident)
        assert list(cloud.list_users()) == [two['connection_info']['auth_username']]
        return path(name)

    monkeypatch.setattr(backend, 'path', sleep)
    deployed.exporter.supply(volume_id)
    assert list(cloud.list_users()) == [two['connection_info']['auth_username']]
    disconnect(coordinator)
