# SPDX-License-Identifier: Apache-2.0
"""A real Nova is told that the volumes of its servers have grown."""

import logging
import uuid
from typing import Any

import pytest
from keystoneauth1 import adapter, session
from keystoneauth1.identity import v3

from multiattach.drivers.nova.events import NovaEvents
from tests.functional.keystone.conftest import Cloud
from tests.nova_api.conftest import Compute
from tests.nova_api.test_guard import attach
from tests.testbed.keystone import Keystone

EVENTS = '"POST /v2.1/os-server-external-events"'


def extend(cloud: Cloud, volume: str) -> None:
    reply = cloud('member', 'POST', f'/v3/volumes/{volume}/action', {'os-extend': {'new_size': 2}})
    assert reply.status == 202, reply

    def is_extended() -> bool:
        shown = cloud('member', 'GET', f'/v3/volumes/{volume}').json['volume']
        return bool((shown['size'], shown['status']) == (2, 'in-use'))

    cloud.service.wait(is_extended)


def read_log(cloud: Cloud) -> str:
    return (cloud.service.state / 'multiattach.log').read_text()


def test_every_server_of_a_shared_volume_is_told(cloud: Cloud, compute: Compute, volume: str) -> None:
    servers = [compute.make_server(name) for name in ('web', 'db')]
    for number, server in enumerate(servers):
        attach(cloud, compute, volume, server, f'host{number}')
    known = len(compute.find_requests(EVENTS))
    extend(cloud, volume)
    cloud.service.wait(lambda: len(compute.find_requests(EVENTS)) > known)
    [line] = compute.find_requests(EVENTS)[known:]
    assert 'status: 200 ' in line
    assert 'microversion: 2.51 ' in line
    for server in servers:
        # Nova writes the action down when it takes the event, before it tells the host.
        assert compute.list_actions(server) == ['extend_volume']
    assert f'volume {volume} has grown: Nova' not in read_log(cloud)


def test_an_event_that_nova_drops_keeps_nobody_from_being_told(
    cloud: Cloud, compute: Compute, volume: str, server: str
) -> None:
    attach(cloud, compute, volume, server)
    unknown, offloaded = str(uuid.uuid4()), compute.make_server('offloaded', offloaded=True)
    attach(cloud, compute, volume, offloaded, 'two')
    stray = cloud.reserve(volume, unknown)
    cloud.connect(stray, 'three')
    cloud.complete(stray)
    extend(cloud, volume)
    told = {
        f'{gone} was not told that volume {volume} has grown: Nova answers {code}'
        for gone, code in ((unknown, 404), (offloaded, 422))
    }
    cloud.service.wait(lambda: all(text in read_log(cloud) for text in told))
    assert 'status: 207 ' in compute.find_requests(EVENTS)[-1]
    assert compute.list_actions(server) == ['extend_volume']
    assert compute.list_actions(offloaded) == []


def test_a_volume_that_no_server_has(cloud: Cloud, compute: Compute, volume: str) -> None:
    known = len(compute.find_requests(EVENTS))
    path = f'/v3/volumes/{volume}'
    assert cloud('member', 'POST', f'{path}/action', {'os-extend': {'new_size': 2}}).status == 202
    cloud.service.wait(lambda: cloud('member', 'GET', path).json['volume']['size'] == 2)
    assert len(compute.find_requests(EVENTS)) == known


def test_the_volume_grows_while_nova_is_down(cloud: Cloud, compute: Compute, volume: str, server: str) -> None:
    attach(cloud, compute, volume, server)
    compute.api.halt()
    try:
        extend(cloud, volume)
        cloud.service.wait(lambda: f'Nova was not told that volume {volume} has grown' in read_log(cloud))
    finally:
        compute.api.start()
    assert compute.list_actions(server) == []


def test_an_account_without_the_role_admin_is_told_of_no_server(
    keystone: Keystone, compute: Compute, server: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Why the documentation asks for that role: Nova takes the call and drops each event."""
    login: dict[str, Any] = {**keystone.list_credentials('multiattach')}
    login.pop('auth_type')
    client = adapter.Adapter(session.Session(v3.Password(**login)), service_type='compute')
    volume = str(uuid.uuid4())
    with caplog.at_level(logging.WARNING):
        NovaEvents(client).tell_extended(volume, [server])
    assert f'{server} was not told that volume {volume} has grown: Nova answers 404' in caplog.text
    assert compute.list_actions(server) == []
