# SPDX-License-Identifier: Apache-2.0
"""Calls over RabbitMQ: with connections that break, callers that wait long, and programs of the release before."""

import concurrent.futures
import contextlib
import socket
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import oslo_messaging as messaging
import pytest
from oslo_messaging._drivers import impl_rabbit

from multiattach import conf as configuration
from multiattach.domain import errors
from multiattach.rpc import clients, rabbit, transport
from tests.testbed.polling import wait_until
from tests.testbed.relay import PortRelay
from tests.testbed.servers import RabbitMQ, pick_port

MONITOR = 4  # s


class Endpoint:
    target = messaging.Target(version=clients.VERSION)

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.gate = threading.Event()
        self.inside = threading.Semaphore(0)

    @messaging.expose
    def create_volume(self, context: Any, volume_id: str) -> None:
        self.seen.append(volume_id)

    @messaging.expose
    @messaging.expected_exceptions(errors.MultiattachError)
    def export(self, context: Any, volume_id: str, attachment_id: str) -> None:
        self.seen.append(attachment_id)
        if volume_id == 'refused':
            raise errors.InvalidConnector(f'no initiator for {attachment_id}')
        if volume_id == 'slow':
            self.inside.release()
            self.gate.wait(20)

    @messaging.expose
    def list_targets(self, context: Any, marker: str | None, limit: int) -> list[dict[str, Any]]:
        return [{'volume_id': f'{number:036}', 'initiators': [marker]} for number in range(limit)]


@pytest.fixture(scope='module')
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    with RabbitMQ(tmp_path_factory.mktemp('calls')) as server:
        yield server


@pytest.fixture(scope='module')
def relay(broker: RabbitMQ) -> Iterator[PortRelay]:
    made = PortRelay(pick_port(), lambda: socket.create_connection(('127.0.0.1', broker.port)))
    yield made
    made.close()


@contextlib.contextmanager
def opened(url: str, *, older: bool = False) -> Iterator[messaging.Transport]:
    """A transport as programs of this release have it, or of the release before."""
    conf = configuration.load([], program='t', description='t', defaults={('DEFAULT', 'transport_url'): url})
    made = messaging.get_rpc_transport(conf, allowed_remote_exmods=transport.ALLOWED_REMOTE) if older else None
    made = made or transport.make_transport(conf)
    assert isinstance(made._driver, rabbit.RabbitDriver) is not older
    made._driver.conf.set_override('rabbit_quorum_queue', True, 'oslo_messaging_rabbit')
    try:
        yield made
    finally:
        made.cleanup()


class Pair:
    """An API and a worker, as far as they talk to each other."""

    def __init__(self, rpc: messaging.Transport, other: messaging.Transport) -> None:
        self.host = f'{uuid.uuid4().hex}@file'
        self.endpoint = Endpoint()
        self.server = transport.make_server(other, clients.VOLUME_TOPIC, self.host, self.endpoint)
        self.rpc = rpc
        self.workers = clients.VolumeWorkers(rpc, 30.0)
        self.watched = clients.VolumeWorkers(rpc, 30.0, MONITOR)

    def export(self, volume_id: str, attachment_id: str, *, watched: bool = False) -> None:
        (self.watched if watched else self.workers).export(
            clients.ExportOrder(self.host, volume_id, attachment_id), 'req-1'
        )

    def __enter__(self) -> 'Pair':
        self.server.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.endpoint.gate.set()
        self.server.stop()
        self.server.wait()


@pytest.fixture
def pair(broker: RabbitMQ, relay: PortRelay) -> Iterator[Pair]:
    """Both reach the broker through the relay."""
    url = broker.url.replace(f':{broker.port}/', f':{relay._server.getsockname()[1]}/')
    with opened(url) as rpc, Pair(rpc, rpc) as made:
        yield made


@pytest.mark.parametrize(('old_caller', 'old_worker'), [(False, False), (True, False), (False, True)])
def test_calls_and_casts(broker: RabbitMQ, old_caller: bool, old_worker: bool) -> None:
    with (
        opened(broker.url, older=old_caller) as rpc,
        opened(broker.url, older=old_worker) as other,
        Pair(rpc, other) as pair,
        concurrent.futures.ThreadPoolExecutor(8) as pool,
    ):
        names = [f'a{number}' for number in range(50)]
        calls = [pool.submit(pair.export, 'taken', name) for name in names]
        refused = [pool.submit(pair.export, 'refused', name) for name in names]
        for call in calls:
            call.result()
        for name, call in zip(names, refused, strict=True):
            with pytest.raises(errors.InvalidConnector, match=f'no initiator for {name}$'):
                call.result()
        assert sorted(pair.endpoint.seen) == sorted(names * 2)
        pair.workers.create_volume(pair.host, 'ä', None)
        wait_until(lambda: 'ä' in pair.endpoint.seen, 10, 'the cast', 0.01)
        # More than a frame holds, both ways.
        marker = 'ö' * 200_000
        [shown] = pair.workers.list_targets(pair.host, marker, 1, None)
        assert shown['initiators'] == [marker]
        assert len(pair.workers.list_targets(pair.host, None, 5000, None)) == 5000


def test_a_cut_between_calls(pair: Pair, relay: PortRelay) -> None:
    for number in range(3):
        pair.export('taken', f'before-{number}')
        relay.cut()
        pair.export('taken', f'after-{number}')
    assert set(pair.endpoint.seen) == {f'{when}-{number}' for when in ('before', 'after') for number in range(3)}


def test_a_cut_while_a_call_is_answered(pair: Pair, relay: PortRelay) -> None:
    with concurrent.futures.ThreadPoolExecutor() as pool:
        call = pool.submit(pair.export, 'slow', 'held')
        assert pair.endpoint.inside.acquire(timeout=10)
        relay.cut()
        pair.endpoint.gate.set()
        call.result(30)
    assert pair.endpoint.seen == ['held']


def test_a_worker_that_takes_long_is_waited_for(pair: Pair) -> None:
    with concurrent.futures.ThreadPoolExecutor() as pool:
        calls = [pool.submit(pair.export, 'slow', f'a{number}', watched=True) for number in range(3)]
        for _ in calls:
            assert pair.endpoint.inside.acquire(timeout=10)
        done, _ = concurrent.futures.wait(calls, 1.5 * MONITOR)
        assert not done
        pair.endpoint.gate.set()
        for call in calls:
            call.result(10)


def test_a_worker_that_is_gone_is_not(pair: Pair) -> None:
    driver = pair.rpc._driver
    with concurrent.futures.ThreadPoolExecutor() as pool:
        call = pool.submit(pair.export, 'slow', 'a', watched=True)
        assert pair.endpoint.inside.acquire(timeout=10)
        with driver.pulse._lock:
            driver.pulse._due.clear()  # as if it had been killed
        with pytest.raises(errors.Unanswered):
            call.result(3 * MONITOR)


def test_a_reply_that_nobody_waits_for(pair: Pair) -> None:
    """A queue that is not there is told of, and what is sent afterwards is not taken for it."""
    pair.export('taken', 'a')
    with pair.rpc._driver._get_connection() as connection:
        before = connection.channel._published
        for _ in range(3):
            with pytest.raises(messaging.MessageUndeliverable):
                connection.direct_send('reply_nobody', {'oslo.message': '{}'})
        connection.topic_send('openstack', 'nobody', {'oslo.message': '{}'})
        channel = connection.channel
        assert channel._published == channel._confirmed == before + 4
    pair.export('taken', 'b')


def test_the_library_s_connections_are_those_of_other_uses(broker: RabbitMQ) -> None:
    with opened(broker.url) as rpc:
        assert type(rpc._driver) is rabbit.RabbitDriver
        made = transport.make_notification_transport(rpc.conf)
        assert type(made._driver) is impl_rabbit.RabbitDriver
