# SPDX-License-Identifier: Apache-2.0
"""Clients whose broker is away: with RabbitMQ's driver, at a port where nobody listens."""

import concurrent.futures
import socket

import pytest

from multiattach import conf as configuration
from multiattach.domain import errors
from multiattach.rpc import broker, clients, transport


@pytest.fixture
def workers():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))  # it does not listen
        url = f'rabbit://user:s3cretword@127.0.0.1:{probe.getsockname()[1]}/'
        conf = configuration.load([], program='t', description='t', defaults={('DEFAULT', 'transport_url'): url})
        rpc = transport.make_transport(conf)
        yield clients.VolumeWorkers(rpc, 2.0)
        broker.close(rpc)


def test_a_call_is_unknown_and_a_cast_is_left_to_the_row(workers):
    order = clients.ExportOrder('h@b', 'volume', 'attachment')
    with concurrent.futures.ThreadPoolExecutor() as pool:
        cast = pool.submit(workers.create_volume, 'h@b', 'volume', None)
        with pytest.raises(errors.OutcomeUnknown, match='safe to repeat') as caught:
            workers.export(order, None)
        cast.result()
    assert 's3cretword' not in str(caught.value)
