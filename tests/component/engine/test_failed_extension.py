# SPDX-License-Identifier: Apache-2.0
"""What an extension had promised is given back when it fails or is given up."""

import pytest

from multiattach.drivers.errors import StorageError

PROJECT = 'a' * 32


def promised(deployed):
    quotas = deployed.engine.quotas.show(deployed.ctx, PROJECT)
    (pool,) = deployed.engine.services.list_pools(deployed.ctx)
    return quotas.in_use['gigabytes'], pool.allocated_gb


def test_of_a_backend_that_refuses(deployed, monkeypatch):
    volume_id = deployed.make_volume()

    def refuse(*_args):
        raise StorageError('no room')

    monkeypatch.setattr('multiattach.drivers.backends.file.FileBackend.extend', refuse)
    deployed.engine.actions.extend(deployed.ctx, volume_id, 2**31 - 1, in_use_allowed=True)
    deployed.wait(lambda: deployed.status(volume_id) == 'error_extending')
    assert promised(deployed) == (1, 1)
    deployed.make_volume()


@pytest.mark.parametrize(('status', 'size'), [('available', 1), ('error', 1), ('extending', 5)])
def test_of_an_admin_who_gives_it_up(deployed, status, size):
    volume_id = deployed.make_volume()
    deployed.worker.stop()
    deployed.engine.actions.extend(deployed.ctx, volume_id, 5, in_use_allowed=True)
    assert promised(deployed) == (5, 5)
    deployed.engine.settings.reset_status(deployed.ctx, volume_id, status, None)
    assert promised(deployed) == (size, size)
