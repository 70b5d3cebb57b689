# SPDX-License-Identifier: Apache-2.0
"""SQL statements, commits and RPC calls per request: what doc/source/reference/costs.rst says, with any attachments."""

import collections
import pathlib
import re
import uuid

import pytest
import sqlalchemy as sa
import webtest

from multiattach.api import deploy
from multiattach.api.settings import ApiSettings
from multiattach.domain.leases import LeaseRules
from tests import contexts
from tests.deployments import embedded
from tests.deployments.noauth import make_connector

HEADERS = {'OpenStack-API-Version': 'volume 3.71'}
DOC = pathlib.Path(__file__).resolve().parents[3] / 'doc' / 'source' / 'reference' / 'costs.rst'


class Meter:
    """Counts what reaches the database and the workers."""

    def __init__(self, deployed):
        self.counts = collections.Counter()
        readers, writers = deployed.db.read_engine, deployed.db.engine  # of SQLite one pool
        for engine in {readers.pool: readers, writers.pool: writers}.values():
            sa.event.listen(engine, 'before_cursor_execute', self._statement)
        sa.event.listen(deployed.db.engine, 'commit', self._commit)
        self._deployed = deployed
        workers = deployed.engine.attachments._orders._workers
        for name in ('export', 'unexport'):
            setattr(workers, name, self._wrap(getattr(workers, name)))

    def _statement(self, _conn, _cursor, statement, *_rest):
        if not statement.startswith('BEGIN'):
            self.counts['sql'] += 1

    def _commit(self, _conn):
        self.counts['commits'] += 1

    def _wrap(self, call):
        def counted(*args):
            self.counts['rpc'] += 1
            return call(*args)

        return counted

    def read(self):
        taken = tuple(self.counts[key] for key in ('sql', 'commits', 'rpc'))
        self.counts.clear()
        return taken


@pytest.fixture
def metered(tmp_path):
    # No heartbeat and no lease of a step that takes a second may be written while we count.
    with embedded.deploy(tmp_path, report_interval=3600, lease_rules=LeaseRules()) as deployed:
        deployed.make_type()
        with deployed.db.rows() as rows:  # which each process asks once a minute
            deployed.engine.orders._protocols.find(rows, embedded.BACKEND)
        app = webtest.TestApp(deploy.make_application(deployed.engine, ApiSettings()))
        yield deployed, app, Meter(deployed)


def cycle(deployed, app, meter, volume_id, host, keep=False):
    """One attachment from create to delete; counts by call."""
    taken = {}
    meter.read()
    reply = app.post_json(
        '/v3/attachments',
        {'attachment': {'volume_uuid': volume_id, 'instance_uuid': str(uuid.uuid4())}},
        headers=HEADERS,
    )
    ident = reply.json['attachment']['id']
    taken['create'] = meter.read()
    app.put_json(f'/v3/attachments/{ident}', {'attachment': {'connector': make_connector(host)}}, headers=HEADERS)
    taken['update'] = meter.read()
    app.post_json(f'/v3/attachments/{ident}/action', {'os-complete': None}, headers=HEADERS)
    taken['complete'] = meter.read()
    app.get(f'/v3/attachments/{ident}', headers=HEADERS)
    taken['show'] = meter.read()
    app.get(f'/v3/volumes/{volume_id}', headers=HEADERS)
    taken['show volume'] = meter.read()
    app.get('/v3/volumes/detail', headers=HEADERS)
    taken['list volumes in detail'] = meter.read()
    app.get(f'/v3/attachments/detail?volume_id={volume_id}', headers=HEADERS)
    taken['list attachments in detail'] = meter.read()
    app.get(f'/v3/multiattach/attachments/{ident}/explain', headers=HEADERS)
    taken['explain attachment'] = meter.read()
    app.get(f'/v3/multiattach/volumes/{volume_id}/explain', headers=HEADERS)
    taken['explain volume'] = meter.read()
    if not keep:
        app.delete(f'/v3/attachments/{ident}', headers=HEADERS)
        taken['delete'] = meter.read()
    return taken


def test_no_call_costs_more_with_more_attachments(metered):
    deployed, app, meter = metered
    volume_id = deployed.make_volume('multi', ctx=contexts.make_context(project='0' * 32))
    alone = cycle(deployed, app, meter, volume_id, 'first')
    for index in range(20):
        cycle(deployed, app, meter, volume_id, f'h{index}', keep=True)
    shared = cycle(deployed, app, meter, volume_id, 'last')
    # The volume's status stays; who remains is read, and not told by the worker.
    fewer = {
        'sqlite': {'create': 1, 'update': 1, 'complete': 1},
        'mysql': {'create': 1, 'delete': -1},
        'postgresql': {'delete': -1},
    }[deployed.db.engine.dialect.name]
    assert shared == {name: (cost[0] - fewer.get(name, 0), *cost[1:]) for name, cost in alone.items()}


def test_the_costs_are_those_of_the_documentation(metered):
    deployed, app, meter = metered
    volume_id = deployed.make_volume('multi', ctx=contexts.make_context(project='0' * 32))
    measured = cycle(deployed, app, meter, volume_id, 'h')
    rows = re.findall(
        r'^   \* - ([a-z ]+)\n     - (\d+) / (\d+) / (\d+)\n     - (\d+) / (\d+) / (\d+)\n     - (\d+)$',
        DOC.read_text(),
        re.MULTILINE,
    )
    place = ('sqlite', 'mysql', 'postgresql').index(deployed.db.engine.dialect.name)
    expected = {name: (int(found[place]), int(found[place + 3]), int(found[6])) for name, *found in rows}
    assert expected == measured
    if deployed.db.engine.dialect.name != 'sqlite':
        steps = [measured[name] for name in ('create', 'update', 'complete', 'delete')]
        assert sum(sql for sql, _, _ in steps) <= 14
        assert sum(commits for _, commits, _ in steps) <= 5
