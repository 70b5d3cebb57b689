# SPDX-License-Identifier: Apache-2.0
"""Retypes that take time: what they begin counts at once."""

import pytest

from multiattach.domain import errors
from multiattach.drivers.backends.file import FileBackend
from multiattach.engine.volumes import VolumeWish
from tests.deployments import embedded
from tests.functional.races.test_attachments import at_once, split


@pytest.fixture
def two(tmp_path, monkeypatch):
    """Two backends, whose workers are told of no migration."""
    with embedded.deploy(tmp_path, others={'other': FileBackend(tmp_path / 'other')}) as deployed:
        deployed.wait(lambda: len(deployed.engine.services.list_backends()) == 2)
        deployed.engine.types.create(deployed.ctx, 'there', None, True, {'volume_backend_name': 'other'})
        monkeypatch.setattr(deployed.engine.actions._workers, 'migrate_volume', lambda *_args: None)
        for worker in (deployed.worker, *deployed.others.values()):
            monkeypatch.setattr(worker._migrations, 'resume', lambda *_args: None)
        yield deployed


@pytest.mark.parametrize('limit', ['volumes_there', 'gigabytes_there'])
def test_of_8_retypes_to_another_backend_as_many_begin_as_there_are_places(two, limit):
    project = two.ctx.project
    two.engine.quotas.update(two.ctx, project, {limit: 3})
    volumes = [two.make_volume() for _ in range(8)]
    results = at_once(8, lambda n: two.engine.actions.retype(two.ctx, volumes[n], 'there', may_migrate=True))
    won, failed = split(results)
    assert (len(won), {type(one) for one in failed}) == (3, {errors.QuotaExceeded})
    assert sorted(map(two.status, volumes)) == ['available'] * 5 + ['retyping'] * 3
    found = two.engine.quotas.show(two.ctx, project)
    assert (found.in_use[limit], found.reserved[limit], found.in_use['volumes']) == (0, 3, 8)
    # What is on its way has its place; nobody else gets it, nor takes the place away.
    with pytest.raises(errors.QuotaExceeded):
        two.engine.volumes.create(two.ctx, VolumeWish(1, 'there'))
    with pytest.raises(errors.InvalidInput, match='in use'):
        two.engine.quotas.update(two.ctx, project, {limit: 2})
    # Broken off, it gives its place back.
    broken = next(ident for ident in volumes if two.status(ident) == 'retyping')
    two.engine.settings.reset_status(two.ctx, broken, 'available', None, None)
    assert two.engine.quotas.show(two.ctx, project).reserved[limit] == 2
