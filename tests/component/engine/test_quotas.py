# SPDX-License-Identifier: Apache-2.0
"""Quotas: counted in the transaction that adds, so they neither drift nor overshoot."""

import concurrent.futures
import threading

import pytest

from multiattach.domain import errors
from multiattach.engine.snapshots import SnapshotWish
from multiattach.engine.volumes import VolumeWish
from tests.contexts import make_context

PROJECT = 'a' * 32


def test_defaults_classes_and_projects(deployed):
    deployed.make_type()
    quotas = deployed.engine.quotas
    assert quotas.show(deployed.ctx, PROJECT).limits['volumes'] == -1
    assert quotas.show(deployed.ctx, PROJECT).limits['volumes_multi'] == -1
    quotas.update_class(deployed.ctx, 'default', {'volumes': 5})
    assert quotas.show(deployed.ctx, PROJECT).limits['volumes'] == 5
    quotas.update(deployed.ctx, PROJECT, {'volumes': 7, 'gigabytes_multi': 1})
    assert quotas.show(deployed.ctx, PROJECT).limits['volumes'] == 7
    assert quotas.show(deployed.ctx, 'b' * 32).limits['volumes'] == 5
    quotas.delete(deployed.ctx, PROJECT)
    assert quotas.show(deployed.ctx, PROJECT).limits['volumes'] == 5
    with pytest.raises(errors.InvalidInput, match='nonsense'):
        quotas.update(deployed.ctx, PROJECT, {'nonsense': 1})


@pytest.mark.parametrize(
    ('limits', 'size', 'text'),
    [
        ({'volumes': 1}, 1, 'VolumeLimitExceeded'),
        ({'gigabytes': 2}, 2, 'VolumeSizeExceedsAvailableQuota'),
        ({'per_volume_gigabytes': 1}, 2, 'VolumeSizeExceedsLimit'),
        ({'volumes_multi': 1}, 1, 'volumes_multi'),
        ({'gigabytes_multi': 1}, 1, 'gigabytes_multi'),
    ],
)
def test_each_limit_refuses_with_413_and_leaves_nothing(deployed, limits, size, text):
    deployed.make_type()
    deployed.make_volume('multi')
    deployed.engine.quotas.update(deployed.ctx, PROJECT, limits)
    with pytest.raises(errors.QuotaExceeded, match=text) as caught:
        deployed.engine.volumes.create(deployed.ctx, VolumeWish(size, 'multi'))
    assert caught.value.code == 413
    used = deployed.engine.quotas.show(deployed.ctx, PROJECT).in_use
    assert (used['volumes'], used['gigabytes'], used['volumes_multi']) == (1, 1, 1)


def test_a_limit_below_what_is_used_is_refused(deployed):
    deployed.make_volume()
    with pytest.raises(errors.InvalidInput, match='in use'):
        deployed.engine.quotas.update(deployed.ctx, PROJECT, {'volumes': 0})


def test_extend_and_retype_count(deployed):
    deployed.make_type()
    volume_id = deployed.make_volume()
    deployed.engine.quotas.update(deployed.ctx, PROJECT, {'gigabytes': 2, 'volumes_multi': 0})
    with pytest.raises(errors.QuotaExceeded):
        deployed.engine.actions.extend(deployed.ctx, volume_id, 3, in_use_allowed=True)
    with pytest.raises(errors.QuotaExceeded):
        deployed.engine.actions.retype(deployed.ctx, volume_id, 'multi')
    deployed.engine.actions.extend(deployed.ctx, volume_id, 2, in_use_allowed=True)


@pytest.mark.parametrize(
    ('limits', 'text'), [({'snapshots_multi': 0}, 'snapshots_multi'), ({'gigabytes_multi': 1}, 'gigabytes_multi')]
)
def test_a_retype_takes_its_snapshots_with_it(deployed, limits, text):
    deployed.make_type()
    volume_id = deployed.make_volume()
    made = deployed.engine.snapshots.create(deployed.ctx, SnapshotWish(volume_id))
    deployed.wait(lambda: deployed.engine.snapshots.show(deployed.ctx, made.id).status == 'available')
    deployed.engine.quotas.update(deployed.ctx, PROJECT, limits)
    with pytest.raises(errors.QuotaExceeded, match=text):
        deployed.engine.actions.retype(deployed.ctx, volume_id, 'multi')
    deployed.engine.quotas.update(deployed.ctx, PROJECT, {key: limit + 1 for key, limit in limits.items()})
    deployed.engine.actions.retype(deployed.ctx, volume_id, 'multi')
    used = deployed.engine.quotas.show(deployed.ctx, PROJECT).in_use
    assert (used['volumes_multi'], used['gigabytes_multi'], used['snapshots_multi']) == (1, 2, 1)


def test_snapshots_of_another_project_count_there(deployed):
    deployed.make_type()
    volume_id = deployed.make_volume()
    other = make_context(project='b' * 32)
    made = deployed.engine.snapshots.create(other, SnapshotWish(volume_id))
    deployed.wait(lambda: deployed.engine.snapshots.show(deployed.ctx, made.id).status == 'available')
    deployed.engine.quotas.update(deployed.ctx, PROJECT, {'snapshots_multi': 0})
    deployed.engine.quotas.update(deployed.ctx, other.project, {'gigabytes_multi': 0})
    with pytest.raises(errors.QuotaExceeded, match='gigabytes_multi'):
        deployed.engine.actions.retype(deployed.ctx, volume_id, 'multi')
    deployed.engine.quotas.delete(deployed.ctx, other.project)
    deployed.engine.actions.retype(deployed.ctx, volume_id, 'multi')


def test_a_race_for_the_last_place_has_as_many_winners_as_there_are_places(deployed):
    deployed.engine.quotas.update(deployed.ctx, PROJECT, {'volumes': 3})
    barrier = threading.Barrier(12)

    def create(_index):
        barrier.wait()
        try:
            return deployed.engine.volumes.create(deployed.ctx, VolumeWish(1))
        except errors.QuotaExceeded:
            return None

    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        made = [v for v in pool.map(create, range(12)) if v is not None]
    assert len(made) == 3
    for volume in made:
        deployed.wait(lambda v=volume: deployed.status(v.id) == 'available')
        deployed.engine.volumes.delete(deployed.ctx, volume.id)
        deployed.wait(lambda v=volume: deployed.status(v.id) is None)
    assert deployed.engine.quotas.show(deployed.ctx, PROJECT).in_use['volumes'] == 0


def test_who_may(deployed):
    member = make_context(admin=False, roles=('member', 'reader'))
    deployed.engine.quotas.show(member, PROJECT)
    with pytest.raises(errors.NotAuthorized):
        deployed.engine.quotas.show(member, 'b' * 32)
    with pytest.raises(errors.NotAuthorized):
        deployed.engine.quotas.update(member, PROJECT, {'volumes': 99})
