# SPDX-License-Identifier: Apache-2.0
"""A volume whose image is named after another id, as one that Cinder migrated in use."""

import uuid

import pytest

from multiattach.db import models
from multiattach.engine.snapshots import SnapshotWish
from tests.deployments import embedded

from .cloud import deploy_on, make_connector
from .test_fences import fence, read_block

OWN, NAME = str(uuid.uuid4()), str(uuid.uuid4())
GIB = 1024**3


@pytest.fixture
def cloud(ceph, tmp_path):
    """The volume was there before the worker started."""
    folder = tmp_path / 'before'
    folder.mkdir()
    with embedded.deploy(folder, start_worker=False) as before:
        values = {'project_id': before.ctx.project, 'size': 1, 'status': 'available', 'host': embedded.BACKEND}
        kind, url = before.make_type('migrated'), before.conf.database.connection
        with before.db.writer() as session:
            session.add(models.Volume(id=OWN, name_id=NAME, volume_type_id=kind, multiattach=True, **values))
    with deploy_on(ceph, tmp_path, url=url) as made:
        with ceph.open_pool(made.pool) as io:
            made.rbd.RBD().create(io, f'volume-{NAME}', GIB, old_format=False, features=1)
        yield made


def list_images(cloud):
    with cloud.ceph.open_pool(cloud.pool) as io:
        return set(cloud.rbd.RBD().list(io))


@pytest.mark.slow
def test_hosts_open_the_image_and_are_cut_off_it(cloud):
    one, two = (cloud.attach(OWN, make_connector('a')) for _ in range(2))
    for attachment in (one, two):
        cloud.deployed.engine.attachments.complete(cloud.deployed.ctx, attachment['id'])
    info = one['connection_info']
    assert (info['name'], info['volume_id'], info['name_id']) == (f'{cloud.pool}/volume-{NAME}', OWN, NAME)
    fenced, other = cloud.write(info), cloud.write(two['connection_info'], 1 << 20)
    assert cloud.deployed.target.list_exports().keys() == {OWN}
    assert cloud.deployed.reconciler.run(fix=True) == []
    proof = fence(cloud, one['id'])
    assert proof['left'] == {'acl': False, 'account': False, 'sessions': []}
    last = read_block(cloud, NAME, 0)
    cloud.deployed.wait(lambda: fenced.process.poll() is not None, 60)
    assert read_block(cloud, NAME, 0) == last
    # The entry is this volume's: as long as its fence is in force it is needed.
    (entry,) = cloud.deployed.worker._blocklist._rows.list_entries()
    assert (entry.reason.volume_id, entry.is_needed) == (OWN, True)
    other.go_on()
    assert cloud.deployed.reconciler.run(fix=True) == []
    engine, ctx, deployed = cloud.deployed.engine, cloud.deployed.ctx, cloud.deployed
    snapshot = engine.snapshots.create(ctx, SnapshotWish(OWN, in_use_allowed=True)).id
    deployed.wait(lambda: engine.snapshots.show(ctx, snapshot).status == 'available')
    assert deployed.worker._offer.backend.list_snapshots() == {snapshot: OWN}
    engine.actions.extend(ctx, OWN, 2, in_use_allowed=True)
    deployed.wait(lambda: deployed.status(OWN) == 'in-use')
    with cloud.ceph.open_image(cloud.pool, f'volume-{NAME}') as image:
        assert image.size() == 2 * GIB
    other.stop()
    for attachment in (one, two):
        cloud.detach(attachment['id'])
    engine.volumes.delete(ctx, OWN, cascade=True)
    deployed.wait(lambda: deployed.status(OWN) is None, 60)
    assert list_images(cloud) == set()
