# SPDX-License-Identifier: Apache-2.0
"""A cloud with volumes on Ceph moves from a real Cinder while hosts write."""

import uuid

import pytest

from multiattach.db.transitions import Actor
from multiattach.domain.drift import Drift
from multiattach.domain.findings import Outcome
from multiattach.takeover import settings, source
from multiattach.takeover.imports import Imports
from tests.deployments import embedded
from tests.functional.drivers.conftest import ceph  # noqa: F401 - a fixture
from tests.functional.drivers.targets.rbd.cloud import SECRET_UUID, deploy_on
from tests.functional.takeover.cinder_service import CephCinder
from tests.functional.takeover.test_scene import Cloud
from tests.testbed.polling import wait_until

HOSTS = {'h1': 0, 'h2': 1 << 20}


def make_connector(host):
    """As Nova sends it; the client of Ceph is known by its address."""
    return {
        'host': host,
        'ip': f'127.0.0.{host[1:]}',
        'initiator': f'iqn.1994-05.com.example:{host}',
        'multipath': False,
    }


@pytest.mark.slow
def test_a_cloud_on_ceph_moves(ceph, tmp_path):  # noqa: F811
    with deploy_on(ceph, tmp_path) as cloud:
        conf = ceph.folder / f'client.{cloud.pool}.conf'
        folder = tmp_path / 'cinder'
        folder.mkdir()
        with CephCinder(folder, cloud.pool, str(conf), SECRET_UUID) as cinder:
            move(cloud, cinder, (ceph.folder / f'client.{cloud.pool}.keyring').read_text())


def move(cloud, cinder, keyring):
    old = Cloud(cinder.endpoint)
    old.make_type('shared')
    shared, idle, doomed = (old.make_volume('shared') for _ in range(3))
    snapshot = old.call('POST', '/snapshots', {'snapshot': {'volume_id': idle}})['snapshot']['id']
    wait_until(lambda: old.call('GET', f'/snapshots/{snapshot}')['snapshot']['status'] == 'available', 60, 'a snapshot')
    held, writers = {}, []
    for host, offset in HOSTS.items():
        body = {'volume_uuid': shared, 'instance_uuid': str(uuid.uuid4()), 'connector': make_connector(host)}
        made = old.call('POST', '/attachments', {'attachment': body})['attachment']
        old.call('POST', f'/attachments/{made["id"]}/action', {'os-complete': None})
        held[host] = made
        writers.append(cloud.write(made['connection_info'], offset, keyring))
    # What is Cinder's is told of, and left alone.
    found = {(one.kind, one.outcome) for one in cloud.deployed.reconciler.run(fix=True)}
    assert found == {(kind, Outcome.REPORTED) for kind in (Drift.STRAY_SNAPSHOT, Drift.STRAY_STORAGE)}
    cinder.halt()
    imports = Imports(cloud.deployed.db, 60, Actor('manage'))
    theirs = settings.read_conf(str(cinder.folder / 'cinder.conf'))
    named = [f'old@ceph#ceph={embedded.BACKEND}']
    found = imports.run(source.read(theirs.url), named, theirs, force=True)
    assert found.obstacles == []
    assert found.plan.count()['snapshot'] == 1
    cloud.deployed.exporter.forget()
    cloud.deployed.exporter.watch()
    # Cinder told the same addresses as this service does.
    assert cloud.deployed.reconciler.run(fix=True) == []
    for writer in writers:
        writer.go_on()
    use(cloud, held, writers, shared, doomed)
    for writer, offset in zip(writers, HOSTS.values(), strict=True):
        written = writer.read()[-1][0]
        writer.stop()
        with cloud.ceph.open_image(cloud.pool, f'volume-{shared}') as image:
            assert int(image.read(offset, 16)) >= written


def use(cloud, held, writers, shared, doomed):
    shown = cloud.ask('get', f'/v3/volumes/{shared}')['volume']
    assert {one['attachment_id'] for one in shown['attachments']} == {one['id'] for one in held.values()}
    third = cloud.attach(shared, make_connector('h3'))
    first = held['h1']['connection_info']
    told = {key: third['connection_info'][key] for key in ('name', 'hosts', 'ports', 'cluster_name', 'secret_uuid')}
    assert told == {key: first[key] for key in told}
    cloud.detach(third['id'])
    for writer in writers:
        writer.go_on()
    engine, ctx = cloud.deployed.engine, cloud.deployed.ctx
    engine.actions.extend(ctx, shared, 2, in_use_allowed=True)
    cloud.deployed.wait(lambda: cloud.deployed.status(shared) == 'in-use')
    with cloud.ceph.open_image(cloud.pool, f'volume-{shared}') as image:
        assert image.size() == 2 * 1024**3
    engine.volumes.delete(ctx, doomed)
    cloud.deployed.wait(lambda: cloud.deployed.status(doomed) is None)
    for writer in writers:
        writer.go_on()
    cloud.detach(held['h2']['id'])
    writers[0].go_on()
    assert cloud.deployed.reconciler.run(fix=True) == []
