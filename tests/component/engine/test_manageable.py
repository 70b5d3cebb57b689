# SPDX-License-Identifier: Apache-2.0
"""Storage that could not be taken over is left alone, whatever becomes of its volume."""

import os

import pytest

from multiattach.db import messages as db_messages, models, paging
from multiattach.domain import errors
from multiattach.engine.manageable import Takeover
from tests.deployments import embedded


@pytest.fixture
def quiet(tmp_path):
    with embedded.deploy(tmp_path, report_interval=3600) as deployed:
        yield deployed


@pytest.fixture
def there(quiet):
    path = quiet.directory / 'volumes' / 'there'
    with path.open('wb') as file:
        file.truncate((1 << 30) + 512)
    return path


def manage(deployed, **more):
    return deployed.engine.manageable.manage(deployed.ctx, Takeover((embedded.BACKEND, None), 'there', **more))


def messages(deployed, volume_id):
    with deployed.db.reader() as session:
        rows = db_messages.list_page(session, [models.Message.resource_uuid == volume_id], paging.Page())
        return [row.user_message for row in rows]


def test_storage_of_a_volume_that_is_on_another_backend_is_nobody_elses(quiet, there):
    """It is on its way here, or was left behind by a migration."""
    quiet.make_type()
    ident = quiet.make_volume('multi')
    with quiet.db.writer() as session:
        session.get(models.Volume, ident).host = 'elsewhere@file'
    with pytest.raises(errors.InvalidInput, match='already managed'):
        quiet.engine.manageable.manage(quiet.ctx, Takeover((embedded.BACKEND, None), f'volume-{ident}'))


def test_the_size_is_rounded_up_and_the_storage_stays_as_it_is(quiet, there):
    volume = manage(quiet)
    assert (volume.size, volume.status) == (2, 'managing')
    quiet.wait(lambda: quiet.status(volume.id) == 'available')
    [path] = there.parent.iterdir()
    assert (path.name, path.stat().st_size) == (f'volume-{volume.id}', (1 << 30) + 512)


def test_what_is_gone_meanwhile_ends_in_error_managing(quiet, there, monkeypatch):
    workers = quiet.engine.manageable._workers
    tell = workers.manage_volume
    monkeypatch.setattr(workers, 'manage_volume', lambda *_args: None)
    volume = manage(quiet)
    with pytest.raises(errors.InvalidInput, match='already managed'):
        manage(quiet)
    os.link(there, there.with_name('twice'))
    tell(embedded.BACKEND, volume.id, None)
    quiet.wait(lambda: quiet.status(volume.id) == 'error_managing')
    assert 'hard links' in messages(quiet, volume.id)[0]
    with pytest.raises(errors.InvalidVolume):
        quiet.engine.attachments.create(quiet.ctx, volume.id, None, None, None)
    quiet.engine.volumes.delete(quiet.ctx, volume.id)
    quiet.wait(lambda: quiet.status(volume.id) is None)
    assert {path.name for path in there.parent.iterdir()} == {'there', 'twice'}


def test_by_force_a_volume_goes_whose_storage_was_taken_over_already(quiet, there, monkeypatch):
    monkeypatch.setattr(quiet.engine.manageable._workers, 'manage_volume', lambda *_args: None)
    volume = manage(quiet)
    there.rename(there.with_name(f'volume-{volume.id}'))  # and the worker died
    quiet.engine.volumes.delete(quiet.ctx, volume.id, force=True)
    quiet.wait(lambda: quiet.status(volume.id) is None)
    assert [path.name for path in there.parent.iterdir()] == [f'volume-{volume.id}']


def test_a_quota(quiet, there):
    quiet.engine.quotas.update(quiet.ctx, quiet.ctx.project, {'gigabytes': 1})
    with pytest.raises(errors.QuotaExceeded):
        manage(quiet)
    assert there.exists()
