# SPDX-License-Identifier: Apache-2.0
"""SQL statements and RPC calls of what workers do with volumes, until it is done: what costs.rst says."""

import pytest

from multiattach.domain.leases import LeaseRules
from multiattach.drivers.backends.file import FileBackend
from tests import contexts
from tests.deployments import embedded
from tests.deployments.keeping import KeepingTarget
from tests.functional.costs.bench import Bench, S, V, has_moved, has_status, is_gone, is_made

# Tables of the page.
VOLUMES, SNAPSHOTS, RESERVATIONS = 1, 2, 3


@pytest.fixture
def bench(tmp_path, monkeypatch):
    others = {'other': FileBackend(tmp_path / 'other')}
    with embedded.deploy(tmp_path, others=others, report_interval=3600, lease_rules=LeaseRules()) as deployed:
        deployed.wait(lambda: len(deployed.engine.services.list_backends()) == 2)
        deployed.engine.types.create(deployed.ctx, 'here', None, True, {'volume_backend_name': 'file'})
        deployed.engine.types.create(deployed.ctx, 'same', None, True, {'volume_backend_name': 'file'})
        made = Bench(deployed, monkeypatch)
        yield made
        made.close()


def test_volumes(bench):
    ask = bench.ask
    body = {'volume': {'size': 1, 'volume_type': 'here'}}
    volume = ask('create volume', 'POST', '/volumes', body, is_made(V, 'volume'))['volume']['id']
    act, available = f'/volumes/{volume}/action', has_status(V, volume)
    ask('extend volume', 'POST', act, {'os-extend': {'new_size': 2}}, lambda _: available)
    ask('volume of a volume', 'POST', '/volumes', {'volume': {'source_volid': volume}}, is_made(V, 'volume'))
    ask('retype', 'POST', act, {'os-retype': {'new_type': 'same', 'migration_policy': 'never'}})
    ask('retype', 'POST', act, {'os-retype': {'new_type': '__DEFAULT__', 'migration_policy': 'never'}})
    body = {'os-migrate_volume': {'host': 'testhost@other'}}
    ask('migrate', 'POST', act, body, lambda _: has_moved(volume, 1))
    body = {'os-retype': {'new_type': 'here', 'migration_policy': 'on-demand'}}
    ask('retype with migration', 'POST', act, body, lambda _: has_moved(volume, 2))
    ask('reset volume', 'POST', act, {'os-reset_status': {'status': 'available'}})
    offer = {'transfer': {'volume_id': volume}}
    made = ask('offer transfer', 'POST', '/volume-transfers', offer)['transfer']
    path = f'/volume-transfers/{made["id"]}'
    ask('show transfer', 'GET', path)
    ask('list transfers in detail', 'GET', '/volume-transfers/detail')
    ask('withdraw transfer', 'DELETE', path)
    made = ask('offer transfer', 'POST', '/volume-transfers', offer)['transfer']
    ask('accept transfer', 'POST', f'/volume-transfers/{made["id"]}/accept', {'accept': {'auth_key': made['auth_key']}})
    ask('unmanage', 'POST', act, {'os-unmanage': None}, lambda _: is_gone(V, volume))
    ask('list manageable volumes', 'GET', '/manageable_volumes/detail?host=testhost@file')
    body = {'volume': {'host': 'testhost@file', 'ref': {'source-name': f'volume-{volume}'}}}
    volume = ask('manage', 'POST', '/manageable_volumes', body, is_made(V, 'volume'))['volume']['id']
    ask('delete volume', 'DELETE', f'/volumes/{volume}', None, lambda _: is_gone(V, volume))
    bench.check(VOLUMES)


def test_snapshots(bench):
    ask, volume = bench.ask, bench.deployed.make_volume('here', ctx=contexts.make_context(project='0' * 32))
    snapshot = ask(
        'create snapshot', 'POST', '/snapshots', {'snapshot': {'volume_id': volume}}, is_made(S, 'snapshot')
    )['snapshot']['id']
    path, act = f'/snapshots/{snapshot}', f'/snapshots/{snapshot}/action'
    ask('show snapshot', 'GET', path)
    ask('list snapshots in detail', 'GET', '/snapshots/detail')
    ask('update snapshot', 'PUT', path, {'snapshot': {'name': 'new'}})
    ask('set metadata of snapshot', 'POST', f'{path}/metadata', {'metadata': {'a': 'b'}})
    ask('show metadata of snapshot', 'GET', f'{path}/metadata')
    ask('delete metadata of snapshot', 'DELETE', f'{path}/metadata/a')
    ask('reset snapshot', 'POST', act, {'os-reset_status': {'status': 'available'}})
    ask(
        'revert',
        'POST',
        f'/volumes/{volume}/action',
        {'revert': {'snapshot_id': snapshot}},
        lambda _: has_status(V, volume),
    )
    ask('volume of a snapshot', 'POST', '/volumes', {'volume': {'snapshot_id': snapshot}}, is_made(V, 'volume'))
    ask('unmanage snapshot', 'POST', act, {'os-unmanage': None})
    ask('list manageable snapshots', 'GET', '/manageable_snapshots/detail?host=testhost@file')
    body = {'snapshot': {'volume_id': volume, 'ref': {'source-name': f'snapshot-{snapshot}'}}}
    snapshot = ask('manage snapshot', 'POST', '/manageable_snapshots', body, is_made(S, 'snapshot'))['snapshot']['id']
    ask('delete snapshot', 'DELETE', f'/snapshots/{snapshot}', None, lambda _: is_gone(S, snapshot))
    bench.check(SNAPSHOTS)


def test_reservations(tmp_path, monkeypatch):
    with embedded.deploy(tmp_path, KeepingTarget(), report_interval=3600, lease_rules=LeaseRules()) as deployed:
        specs = {'multiattach': '<is> True', 'multiattach:reservations': '<is> True'}
        deployed.engine.types.create(deployed.ctx, 'kept', None, True, specs)
        volume = deployed.make_volume('kept', ctx=contexts.make_context(project='0' * 32))
        bench = Bench(deployed, monkeypatch)
        path = f'/multiattach/volumes/{volume}/reservations'
        bench.ask('show reservations', 'GET', path)
        bench.ask('clear reservations', 'POST', f'{path}/clear', {'reservations': {}})
        bench.close()
    bench.check(RESERVATIONS)
