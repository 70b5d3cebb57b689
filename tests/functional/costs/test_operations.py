# SPDX-License-Identifier: Apache-2.0
"""SQL statements and RPC calls of what workers do with volumes, until it is done: what costs.rst says."""

import collections
import functools
import json
import re
import time

import pytest
import sqlalchemy as sa
import webtest

from multiattach.api import deploy
from multiattach.api.settings import ApiSettings
from multiattach.db import models
from multiattach.domain.leases import LeaseRules
from multiattach.drivers.backends.file import FileBackend
from multiattach.rpc.clients import VolumeWorkers
from tests.deployments import embedded
from tests.functional.costs.test_attachment_calls import DOC, HEADERS, Meter

CALLS = [name for name in vars(VolumeWorkers) if name.split('_')[0] in ('create', 'delete', 'extend', 'revert')]
CALLS += ['migrate_volume', 'manage_volume', 'unmanage_volume', 'find_manageable']
QUIET = 0.2  # s without a statement


class Bench:
    """A service with two backends, and what it pays for each request."""

    def __init__(self, deployed, monkeypatch):
        self.deployed = deployed
        self.app = webtest.TestApp(deploy.make_application(deployed.engine, ApiSettings()))
        self.meter = Meter(deployed)
        self.calls = collections.Counter()
        # Looks that cost nothing.
        self._beside = sa.create_engine(deployed.conf.database.connection)
        self.costs = {}
        for name in CALLS:
            monkeypatch.setattr(VolumeWorkers, name, self._count(getattr(VolumeWorkers, name)))

    def _count(self, call):
        @functools.wraps(call)
        def counted(*args):
            self.calls['rpc'] += 1
            return call(*args)

        return counted

    def close(self):
        self._beside.dispose()

    def look(self, query):
        with self._beside.connect() as connection:
            return connection.execute(query).scalar()

    def ask(self, name, method, path, body=None, done=None):
        """Make a request, and note what was paid until it is done and nothing more happens.

        :param done: a query, and what it gives in the end
        """
        self.settle()
        self.meter.read()
        self.calls.clear()
        reply = self.app.request(f'/v3{path}', method=method, headers=HEADERS, **_encode(body))
        found = reply.json if reply.body else {}
        if done is not None:
            query, wanted = done(found)
            self.deployed.wait(lambda: self.look(query) == wanted)
        self.settle()
        self.costs[name] = self.meter.read()[0], self.calls['rpc']
        return found

    def settle(self):
        before = None
        while before != sum(self.meter.counts.values()):
            before = sum(self.meter.counts.values())
            time.sleep(QUIET)


def _encode(body):
    if body is None:
        return {}
    return {'body': json.dumps(body).encode(), 'content_type': 'application/json'}


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


V, S, M = models.Volume, models.Snapshot, models.Migration


def has_status(model, ident, status='available'):
    return sa.select(model.status).where(model.id == ident), status


def is_gone(model, ident):
    return sa.select(sa.func.count()).where(model.id == ident, model.deleted_at.is_(None)), 0


def has_moved(volume_id):
    """Nothing of its migrations is left to do, and it is elsewhere."""
    query = sa.select(sa.func.count()).where(M.volume_id == volume_id, M.state == 'done')
    return query, 1


def test_the_costs_are_those_of_the_documentation(bench):
    ask = bench.ask
    body = {'volume': {'size': 1, 'volume_type': 'here'}}
    volume = ask('create volume', 'POST', '/volumes', body, lambda r: has_status(V, r['volume']['id']))['volume']['id']
    act = f'/volumes/{volume}/action'
    available = has_status(V, volume)
    ask('extend volume', 'POST', act, {'os-extend': {'new_size': 2}}, lambda _: available)
    ask('retype', 'POST', act, {'os-retype': {'new_type': 'same', 'migration_policy': 'never'}})
    body = {'snapshot': {'volume_id': volume}}
    snapshot = ask('create snapshot', 'POST', '/snapshots', body, lambda r: has_status(S, r['snapshot']['id']))
    ident = snapshot['snapshot']['id']
    ask('show snapshot', 'GET', f'/snapshots/{ident}')
    ask('list snapshots in detail', 'GET', '/snapshots/detail')
    ask('revert', 'POST', act, {'revert': {'snapshot_id': ident}}, lambda _: available)
    body = {'volume': {'snapshot_id': ident}}
    clone = ask('volume of a snapshot', 'POST', '/volumes', body, lambda r: has_status(V, r['volume']['id']))
    clone = clone['volume']['id']
    ask('delete snapshot', 'DELETE', f'/snapshots/{ident}', None, lambda _: is_gone(S, ident))
    body = {'os-retype': {'new_type': '__DEFAULT__', 'migration_policy': 'never'}}
    ask('retype', 'POST', act, body)
    body = {'os-migrate_volume': {'host': 'testhost@other'}}
    ask('migrate', 'POST', act, body, lambda _: has_moved(volume))
    made = ask('offer transfer', 'POST', '/volume-transfers', {'transfer': {'volume_id': volume}})['transfer']
    body = {'accept': {'auth_key': made['auth_key']}}
    ask('accept transfer', 'POST', f'/volume-transfers/{made["id"]}/accept', body)
    ask('unmanage', 'POST', act, {'os-unmanage': None}, lambda _: is_gone(V, volume))
    body = {'volume': {'host': 'testhost@other', 'ref': {'source-name': f'volume-{volume}'}}}
    ask('manage', 'POST', '/manageable_volumes', body, lambda r: has_status(V, r['volume']['id']))
    ask('delete volume', 'DELETE', f'/volumes/{clone}', None, lambda _: is_gone(V, clone))

    rows = re.findall(r'^   \* - ([a-z ]+)\n     - (\d+) / (\d+) / (\d+)\n     - (\d+)$', DOC.read_text(), re.MULTILINE)
    place = ('sqlite', 'mysql', 'postgresql').index(bench.deployed.db.engine.dialect.name)
    expected = {name: (int(found[place]), int(found[3])) for name, *found in rows}
    assert bench.costs == expected
