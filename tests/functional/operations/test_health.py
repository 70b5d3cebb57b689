# SPDX-License-Identifier: Apache-2.0
"""/healthcheck when parts are missing."""

import copy
import socket
import threading
import time

import pytest
import webtest

from multiattach.api import health
from multiattach.cmd import parts
from multiattach.cmd.application import make_application
from multiattach.db import migration
from multiattach.domain import errors
from multiattach.probe import Probe
from multiattach.rpc import broker, transport


@pytest.fixture(autouse=True)
def _fresh(monkeypatch):
    monkeypatch.setattr(health, 'KEEP', 0.0)


@pytest.fixture
def ask(deployed):
    app = webtest.TestApp(make_application(deployed.conf, deployed.engine, deployed.rpc))

    def call(status):
        return app.get('/healthcheck', headers={'Accept': 'application/json'}, status=status)

    return call


def test_all_is_well_and_nobody_needs_a_token(ask):
    reply = ask(200)
    assert reply.json == {'detailed': False, 'reasons': ['OK'] * 4}


def test_an_old_schema(ask, deployed, monkeypatch):
    monkeypatch.setattr(migration, 'head', lambda: '9999')
    [reason] = [text for text in ask(503).json['reasons'] if text != 'OK']
    assert 'connection in [database]' in reason
    assert 'multiattach-manage db sync' in reason


def test_a_database_that_is_away(ask, deployed, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError('cannot connect with password s3cret')

    monkeypatch.setattr(deployed.db.engine, 'connect', refuse)
    text = ask(503).text
    assert 'option connection in [database]' in text
    assert 's3cret' not in text


def test_a_database_that_hangs(ask, deployed, monkeypatch):
    monkeypatch.setattr(health, 'TIMEOUT', 0.3)
    gate = threading.Event()
    app = webtest.TestApp(make_application(deployed.conf, deployed.engine, deployed.rpc))
    monkeypatch.setattr(deployed.db.engine, 'connect', lambda: gate.wait(10))
    before = threading.active_count()
    started = time.monotonic()
    for _ in range(5):
        assert 'no answer within' in app.get('/healthcheck', status=503).text
    assert time.monotonic() - started < 5
    assert threading.active_count() <= before + 1
    gate.set()


def test_a_broken_policy_file(ask, deployed, tmp_path):
    path = tmp_path / 'policy.yaml'
    path.write_text('"volume:get": "role:reader"\n')
    deployed.conf.set_override('policy_file', str(path), group='oslo_policy')
    try:
        app = webtest.TestApp(make_application(deployed.conf, _with_policy(deployed), deployed.rpc))
        assert app.get('/healthcheck', status=200)
        path.write_text('"volume:get": [\n')
        assert 'Option policy_file in [oslo_policy]' in app.get('/healthcheck', status=503).text
    finally:
        deployed.conf.clear_override('policy_file', group='oslo_policy')


def _with_policy(deployed):
    engine = copy.copy(deployed.engine)
    engine.policy = parts.make_policy(deployed.conf)
    return engine


def rpc_to(deployed, url):
    deployed.conf.set_override('transport_url', url)
    try:
        return transport.make_transport(deployed.conf)
    finally:
        deployed.conf.clear_override('transport_url')


def test_a_broker_that_is_away(deployed):
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]  # nobody listens
        rpc = rpc_to(deployed, f'rabbit://guest:s3cret@127.0.0.1:{port}/')
        app = webtest.TestApp(make_application(deployed.conf, deployed.engine, rpc))
        text = app.get('/healthcheck', status=503).text
    assert 'Option transport_url in [DEFAULT]' in text
    assert f'127.0.0.1:{port}' in text
    assert 's3cret' not in text


def test_a_broker_that_says_nothing(deployed, monkeypatch):
    monkeypatch.setattr(health, 'TIMEOUT', 0.5)
    with socket.socket() as silent:
        silent.bind(('127.0.0.1', 0))
        silent.listen()
        rpc = rpc_to(deployed, f'rabbit://guest:s3cret@127.0.0.1:{silent.getsockname()[1]}/')
        app = webtest.TestApp(make_application(deployed.conf, deployed.engine, rpc))
        started = time.monotonic()
        assert 'option transport_url in [DEFAULT]' in app.get('/healthcheck', status=503).text
        assert time.monotonic() - started < 3
        with pytest.raises(errors.ConfigurationError, match='transport_url'):
            broker.check_in_time(rpc, 0.3)


def test_it_costs_the_same_however_often_it_is_asked():
    calls = []
    probe = Probe(lambda: calls.append(1), 1.0, 60.0)
    for _ in range(50):
        probe.ask()
    assert len(calls) == 1
