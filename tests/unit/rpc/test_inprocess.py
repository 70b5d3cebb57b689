# SPDX-License-Identifier: Apache-2.0
import concurrent.futures
import threading
import time

import oslo_messaging as messaging
import pytest
from oslo_config import cfg

from multiattach import conf as configuration
from multiattach.domain import errors
from multiattach.rpc import clients, transport
from tests.testbed.polling import wait_until


def order(attachment_id, host='h@b'):
    return clients.ExportOrder(host, 'volume', attachment_id)


class Endpoint:
    target = messaging.Target(version='1.0')

    def __init__(self):
        self.seen = []
        self.gate = threading.Event()

    @messaging.expose
    def create_volume(self, context, volume_id):
        self.seen.append((context['request_id'], volume_id))

    @messaging.expose
    @messaging.expected_exceptions(errors.MultiattachError)
    def export(self, context, volume_id, attachment_id):
        if attachment_id == 'bad':
            raise errors.InvalidConnector('no initiator')
        if attachment_id == 'slow':
            self.gate.wait(10)
        if attachment_id == 'crash':
            raise KeyError('secret of the worker')


@pytest.fixture
def served():
    conf = configuration.load([], program='t', description='t', defaults={('DEFAULT', 'transport_url'): 'inproc://'})
    rpc = transport.make_transport(conf)
    endpoint = Endpoint()
    server = transport.make_server(rpc, clients.VOLUME_TOPIC, 'h@b', endpoint)
    server.start()
    yield clients.VolumeWorkers(rpc, 1.0), endpoint
    endpoint.gate.set()
    server.stop()
    server.wait()
    rpc.cleanup()


def test_a_call_returns_and_is_fast(served):
    workers, _ = served
    workers.export(order('good', 'h@b'), None)
    started = time.monotonic()
    for _ in range(20):
        workers.export(order('good', 'h@b'), None)
    assert time.monotonic() - started < 0.9  # a driver that polls every 50 ms needs a second


def count_threads():
    return len([one for one in threading.enumerate() if one.name.startswith('calls')])


def test_a_server_has_threads_for_calls_at_once(served):
    workers, _ = served
    before = count_threads()
    for _ in range(40):
        workers.export(order('good'), None)
    assert count_threads() - before < 20  # one that is about to be idle is not used yet


def test_an_error_keeps_its_class_and_text(served):
    with pytest.raises(errors.InvalidConnector, match='no initiator'):
        served[0].export(order('bad', 'h@b'), None)


def test_no_answer_is_unknown_and_others_go_on(served):
    workers, endpoint = served
    with concurrent.futures.ThreadPoolExecutor() as pool:
        slow = pool.submit(workers.export, order('slow'), None)
        workers.export(order('good', 'h@b'), None)
        with pytest.raises(errors.OutcomeUnknown) as caught:
            slow.result()
    assert caught.value.code == 504
    endpoint.gate.set()


def test_a_cast_waits_for_a_server_that_comes_later(served):
    workers, endpoint = served
    workers.create_volume('h@b', 'v1', 'req-1')
    wait_until(lambda: endpoint.seen, 5, 'the cast', 0.01)
    assert endpoint.seen == [('req-1', 'v1')]


def test_a_server_that_is_not_there_is_unknown(served):
    with pytest.raises(errors.OutcomeUnknown):
        served[0].export(order('good', 'nobody@b'), None)


def test_a_url_of_no_driver_names_the_option():
    conf = configuration.load(
        [], program='t', description='t', defaults={('DEFAULT', 'transport_url'): 'pigeon://coop/'}
    )
    with pytest.raises(errors.ConfigurationError, match='transport_url'):
        transport.make_transport(conf)
    assert isinstance(conf, cfg.ConfigOpts)
