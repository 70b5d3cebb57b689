# SPDX-License-Identifier: Apache-2.0
"""What Prometheus reads after real requests."""

import datetime
import json
import os
import re
import subprocess
import sys
import time
import uuid

import pytest
import sqlalchemy as sa
from prometheus_client.parser import text_string_to_metric_families

from multiattach import signals
from multiattach.db import models
from multiattach.domain import errors, states
from multiattach.domain.gateways import State
from multiattach.drivers.targets.base import SessionState, TargetState
from multiattach.metrics import collectors
from multiattach.rpc.clients import ExportOrder, VolumeWorkers
from multiattach.steps.gateways import GatewayRows
from tests.functional.operations import openmetrics


def read(text):
    return {
        (sample.name.removeprefix('multiattach_'), frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(text, name, **labels):
    return read(text).get((name, frozenset(labels.items())))


def test_requests_rpc_stages_and_database(api, scrape):
    volume_id = api.deployed.make_volume(api.deployed.make_type('shared'))
    for ident in [api.attach(volume_id) for _ in range(3)]:
        api.ask('DELETE', f'/v3/attachments/{ident}')
    api.ask('GET', f'/v3/volumes/{uuid.uuid4()}', status=404)
    api.ask('GET', '/v3/no/such/thing', status=404)
    text = scrape()
    assert value(text, 'http_requests_total', route='/v3/attachments', method='POST', status='200') == 3
    assert value(text, 'http_requests_total', route='/v3/volumes/{volume_id}', method='GET', status='404') == 1
    assert value(text, 'http_requests_total', route='none', method='GET', status='404') == 1
    assert value(text, 'http_request_seconds_count', route='/v3/attachments', method='POST') == 3
    assert value(text, 'rpc_seconds_count', topic='multiattach-volume', method='export', outcome='ok') == 3
    for event in ('reserve', 'export', 'exported', 'complete', 'unexport', 'remove'):
        assert value(text, 'transitions_total', noun='attachment', event=event) == 3, event
    assert value(text, 'transitions_total', noun='volume', event='created') == 1
    assert value(text, 'step_seconds_count', event='exported') == 3
    # How long the caller took from connection_info to complete.
    assert value(text, 'state_seconds_count', noun='attachment', state='exported') == 3
    assert value(text, 'state_seconds_count', noun='attachment', state='attached') is None
    assert value(text, 'database_transactions_total', outcome='commit') > 10
    assert value(text, 'database_retries_total') == 0
    assert value(text, 'stuck', noun='attachment', state='exporting') == 0
    assert value(text, 'services', binary='multiattach-volume', state='up') == 1
    assert value(text, 'source_up', source='database') == 1


def test_no_label_holds_an_id(api, scrape):
    volume_id = api.deployed.make_volume()
    api.attach(volume_id)
    api.ask('GET', f'/v3/{volume_id}', status='*')
    api.ask('GET', f'/{volume_id}/x', status='*')
    api.app.request(f'/v3/volumes/{volume_id}', method='BREW', expect_errors=True)
    text = scrape()
    assert not re.search(r'[0-9a-f]{8}-[0-9a-f]{4}', text)
    assert 'BREW' not in text


def test_what_is_stuck_is_counted_by_state(api, scrape):
    deployed = api.deployed
    volume_id = deployed.make_volume()
    ident = api.attach(volume_id, complete=False)
    late = models.now() - datetime.timedelta(seconds=1000)
    deployed.worker.stop()  # nobody takes the step
    with deployed.db.writer() as session:
        session.execute(
            sa.update(models.Attachment)
            .where(models.Attachment.id == ident)
            .values(state=states.Attachment.UNEXPORTING, state_at=late)
        )
        session.execute(
            sa.update(models.Volume)
            .where(models.Volume.id == volume_id)
            .values(status=states.Volume.EXTENDING, status_at=late)
        )
        where = {'volume_id': volume_id, 'source': 'a', 'destination': 'b', 'held_status': 'available', 'marker': late}
        session.add(models.Migration(id=volume_id, state='clearing', state_at=late, **where))
    text = scrape()
    assert value(text, 'stuck', noun='attachment', state='unexporting') == 1
    assert value(text, 'stuck', noun='volume', state='extending') == 1
    assert value(text, 'stuck', noun='migration', state='clearing') == 1
    assert value(text, 'stuck', noun='migration', state='copying') == 0
    assert value(text, 'stuck', noun='attachment', state='exporting') == 0


def test_gateways_are_counted_by_backend_and_state(api, scrape):
    for number, name in enumerate(('left@fast', 'right@fast')):
        GatewayRows(api.deployed.db, 'storage@fast', name).register(f'192.0.2.{number}:3260', f'user-{number}')
    GatewayRows(api.deployed.db, 'storage@fast', 'left@fast').begin_loss('right@fast')
    text = scrape()
    counted = {state: value(text, 'gateways', backend='storage@fast', state=state) for state in State}
    assert counted == {'serving': 1, 'losing': 1, 'lost': 0}


def test_retries_are_counted(deployed, scrape):
    from oslo_db import exception as db_exc

    from multiattach.db import database

    left = [1, 1]

    @database.retry
    def call():
        if left:
            left.pop()
            raise db_exc.DBDeadlock
        return 'done'

    assert call() == 'done'
    assert value(scrape(), 'database_retries_total') == 2


def test_outcomes_of_rpc(deployed, scrape):
    with pytest.raises(errors.OutcomeUnknown):
        VolumeWorkers(deployed.rpc, 0.2).export(ExportOrder('nobody@there', 'v', 'a'), None)
    with pytest.raises(errors.MultiattachError):
        VolumeWorkers(deployed.rpc, 60).export(ExportOrder('testhost@file', str(uuid.uuid4()), str(uuid.uuid4())), None)
    text = scrape()
    labels = {'topic': 'multiattach-volume', 'method': 'export'}
    assert value(text, 'rpc_seconds_count', outcome='unknown', **labels) == 1
    assert value(text, 'rpc_seconds_count', outcome='refused', **labels) == 1


def test_a_database_that_hangs_does_not_hang_the_scrape():
    collector = collectors.Collector({'database': lambda: time.sleep(5) or []}, timeout=0.2)
    started = time.monotonic()
    for _ in range(3):
        [answered] = collector.collect()
        assert [sample.value for sample in answered.samples] == [0]
    assert time.monotonic() - started < 2


def test_targets_and_sessions():
    class Shown:
        protocol = 'iscsi'

        def list_exports(self):
            sessions = (SessionState('a'), SessionState('b'))
            return {name: TargetState(name, 'iqn', 1, (), (), (), sessions) for name in 'xyz'}

    exports, sessions = collectors.read_targets([Shown()])
    assert exports.values == {('iscsi',): 3}
    assert sessions.values == {('iscsi',): 6}


def test_nothing_is_on_by_default(api):
    assert api.deployed.conf.metrics.listen == ''
    api.deployed.make_volume()
    assert type(signals.sink) is signals.Sink
    assert api.deployed.db._observers == ()
    # Neither is the library loaded.
    code = 'import sys, multiattach.cmd.operations, multiattach.cmd.api; sys.exit("prometheus_client" in sys.modules)'
    assert subprocess.run([sys.executable, '-W', 'ignore', '-c', code], check=False).returncode == 0


@pytest.mark.parametrize('listen', ['nonsense', '127.0.0.1:x', '203.0.113.1:9776', '127.0.0.1:99999'])
def test_a_wrong_address_is_named(deployed, listen):
    from multiattach.cmd import operations

    deployed.conf.set_override('listen', listen, group='metrics')
    try:
        with pytest.raises(errors.ConfigurationError, match=r'Option listen in \[metrics\]'):
            operations.start(deployed.conf, 'test', deployed.db)
    finally:
        deployed.conf.clear_override('listen', group='metrics')
    assert type(signals.sink) is signals.Sink


_COUNTING = """
import os, sys
from multiattach.cmd import operations
from oslo_config import cfg
from multiattach import conf as configuration
conf = configuration.load(['--config-file', sys.argv[1]], program='t', description='t')
operations.share_metrics(conf)
from multiattach.metrics.prometheus import Prometheus
sink = Prometheus('multiattach-wsgi')
pid = os.fork()  # as a WSGI server does it after it has loaded the application
sink.http('/v3/volumes', 'GET', 200, 0.01)
sink._connections.inc()
if pid == 0:
    os._exit(0)
os.waitpid(pid, 0)
"""
_ASKING = """
import json, sys, webtest
from multiattach.wsgi.metrics import application
app = webtest.TestApp(application)
print(json.dumps([app.get('/metrics').text, app.get('/metrics', headers={'Accept': sys.argv[1]}).text]))
"""


def test_processes_of_a_wsgi_server_count_together(deployed, tmp_path):
    config = tmp_path / 'wsgi.conf'
    config.write_text(
        f'[metrics]\nmultiprocess_dir = {tmp_path}/metrics\n'
        f'[database]\nconnection = {deployed.db.engine.url.render_as_string(False)}\n'
    )
    env = {**os.environ, 'MULTIATTACH_CONFIG_FILES': str(config), 'PYTHONWARNINGS': 'ignore'}
    for _ in range(2):
        subprocess.run([sys.executable, '-c', _COUNTING, config], check=True, env=env, timeout=60)
    done = subprocess.run(
        [sys.executable, '-c', _ASKING, openmetrics.ACCEPT],
        check=True,
        env=env,
        timeout=60,
        stdout=subprocess.PIPE,
        text=True,
    )
    text, strict = json.loads(done.stdout.splitlines()[-1])
    openmetrics.check(text, strict)
    assert value(text, 'http_requests_total', route='/v3/volumes', method='GET', status='200') == 4
    # They are gone, and so are their connections.
    assert not value(text, 'database_connections_in_use')
    assert value(text, 'source_up', source='database') == 1
