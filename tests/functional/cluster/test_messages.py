# SPDX-License-Identifier: Apache-2.0
"""Messages that come twice, late, or never."""

import concurrent.futures
import contextlib
from collections.abc import Iterator

import kombu
import pytest

from multiattach import conf as configuration
from multiattach.domain import errors
from multiattach.rpc import transport
from multiattach.rpc.clients import VOLUME_TOPIC, ExportOrder, VolumeWorkers
from tests.deployments.distributed import BACKEND, Deployment
from tests.functional.cluster import facts
from tests.functional.cluster.client import Client, Place
from tests.testbed.polling import wait_until

GONE = '00000000-0000-4000-8000-000000000000'
QUEUE = f'{VOLUME_TOPIC}.{BACKEND}'


@pytest.fixture
def workers(cloud: Deployment) -> Iterator[VolumeWorkers]:
    """What the API sends with."""
    conf = configuration.load(['--config-file', str(cloud.apis[0].config)], program='t', description='t')
    rpc = transport.make_transport(conf)
    yield VolumeWorkers(rpc, 20, 5)
    rpc.cleanup()


@pytest.fixture
def attached(cloud: Deployment, client: Client, volumes: dict[str, list[str]]) -> Iterator[list[Place]]:
    """Two sharers of one volume."""
    found = [Place(volumes['shared'][0], host) for host in ('a', 'b')]
    for place in found:
        client.attach(place)
    yield found
    for place in found:
        if place.ident is not None:
            client.detach(place)


def read(cloud: Deployment) -> list[tuple[object, ...]]:
    return cloud.query(
        'SELECT id, state, connection_info, updated_at FROM attachments WHERE deleted_at IS NULL ORDER BY id'
    )


def order(place: Place) -> ExportOrder:
    assert place.ident is not None
    return ExportOrder(BACKEND, place.volume, place.ident)


def test_what_is_done_is_not_done_again(cloud: Deployment, workers: VolumeWorkers, attached: list[Place]) -> None:
    before = read(cloud)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(workers.export, order(place), None) for place in attached * 4]
        assert [call.result() for call in calls] == [None] * 8
    for place in attached:
        with pytest.raises(errors.Conflict):
            workers.unexport(order(place), None)
    for call in (workers.create_volume, workers.delete_volume, workers.extend_volume):
        call(BACKEND, attached[0].volume, None)
        call(BACKEND, GONE, None)
    workers.export(order(attached[0]), None)  # calls are answered after the casts before them began
    assert read(cloud) == before
    facts.check_agreement(cloud)
    facts.check_logins(attached)


def test_an_order_for_what_is_gone(
    cloud: Deployment, client: Client, workers: VolumeWorkers, attached: list[Place]
) -> None:
    late = [order(place) for place in attached]
    for place in attached:
        client.detach(place)
    for one in late:
        with pytest.raises(errors.AttachmentNotFound):
            workers.export(one, None)
        workers.unexport(one, None)
    facts.check_agreement(cloud)
    assert facts.list_under_way(cloud) == []


def test_an_order_for_a_reservation(
    cloud: Deployment, client: Client, workers: VolumeWorkers, volumes: dict[str, list[str]]
) -> None:
    """Late by a whole round: exported, taken back and reserved again."""
    place = Place(volumes['shared'][1], 'a')
    code, reply = client.ask(
        'POST', '/v3/attachments', {'attachment': {'volume_uuid': place.volume, 'instance_uuid': place.server}}
    )
    assert code == 200
    place.ident = reply['attachment']['id']
    for call in (workers.export, workers.unexport):
        with pytest.raises(errors.Conflict):
            call(order(place), None)
    facts.check_agreement(cloud)
    client.detach(place)


@contextlib.contextmanager
def opened(cloud: Deployment) -> Iterator[kombu.Queue]:
    """The workers' queue."""
    url = cloud.broker.url.replace('rabbit://', 'amqp://')
    with kombu.Connection(url) as connection:
        yield kombu.Queue(QUEUE, channel=connection.channel(), durable=True, queue_arguments={'x-queue-type': 'quorum'})


def test_an_order_that_no_worker_reads(cloud: Deployment, client: Client, volumes: dict[str, list[str]]) -> None:
    """The broker loses an order while no worker is there; the next one that comes finds the row."""
    place = Place(volumes['shared'][2], 'a')
    for worker in cloud.workers:
        worker.kill()
    with concurrent.futures.ThreadPoolExecutor() as pool, opened(cloud) as queue:
        try:
            job = pool.submit(client.attach, place)
            wait_until(lambda: queue.queue_declare(passive=True).message_count > 0, 30, 'the order', 0.1)
            assert queue.purge() > 0
        finally:
            for worker in cloud.workers:
                worker.start()
            for worker in cloud.workers:
                worker.wait_ready()
        job.result(60)
        assert queue.queue_declare(passive=True).message_count == 0
    assert client.refusals in ({}, {('update', 504): client.refusals['update', 504]})
    facts.check_agreement(cloud)
    facts.check_logins([place])
    client.detach(place)
