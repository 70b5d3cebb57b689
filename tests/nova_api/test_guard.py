# SPDX-License-Identifier: Apache-2.0
"""Nobody takes a volume away under a server that uses it; a real Nova says which does (contract 7.3)."""

import dataclasses
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.deployments.noauth import make_connector
from tests.functional.keystone.conftest import Cloud, Reply
from tests.nova.clouds import opens
from tests.nova_api.conftest import Compute

HOST = 'one'
# Each call that could take an attachment away, and the least who may make it.
WAYS = {'delete': 'member', 'os-detach': 'member', 'os-terminate_connection': 'member', 'os-force_detach': 'admin'}
every_way = pytest.mark.parametrize('way', list(WAYS))


@dataclasses.dataclass
class Use:
    """A server's use of a volume, on both sides.

    :param cloud: this service.
    :param server: UUID.
    :param volume: UUID.
    :param attachment: UUID.
    :param connection: what opens the target.
    """

    cloud: Cloud
    server: str
    volume: str
    attachment: str
    connection: dict[str, Any]

    def take_away(self, way: str, persona: str = '', **more: Any) -> Reply:
        """Try to take the attachment away."""
        persona = persona or WAYS[way]
        if way == 'delete':
            return self.cloud(persona, 'DELETE', f'/v3/attachments/{self.attachment}', **more)
        named, to = {'attachment_id': self.attachment}, {'connector': make_connector(HOST)}
        value = {'os-terminate_connection': to, 'os-detach': named, 'os-force_detach': {**named, **to}}[way]
        return self.cloud(persona, 'POST', f'/v3/volumes/{self.volume}/action', {way: value}, **more)

    @property
    def opens(self) -> bool:
        """Whether the host of the server reads from the target."""
        return opens({'data': self.connection}, str(make_connector(HOST)['initiator']))

    @property
    def status(self) -> str | None:
        """The attachment's status, None if it is gone."""
        reply = self.cloud('member', 'GET', f'/v3/attachments/{self.attachment}')
        return str(reply.json['attachment']['status']) if reply.status == 200 else None

    def assert_kept(self) -> None:
        """Nothing was taken away."""
        assert self.status == 'attached'
        assert self.opens

    def assert_taken_away(self, reply: Reply, way: str = 'delete') -> None:
        """The host is locked out; os-terminate_connection leaves the record to os-detach, as ever."""
        assert reply.status in (200, 202), reply
        self.cloud.service.wait(lambda: not self.opens)
        assert (self.status is None) is (way != 'os-terminate_connection')


def attach(cloud: Cloud, compute: Compute, volume: str, server: str, host: str = HOST) -> Use:
    """As Nova does."""
    ident = cloud.reserve(volume, server)
    compute.use(server, volume, ident)
    connection = cloud.connect(ident, host)['connection_info']
    cloud.complete(ident)
    return Use(cloud, server, volume, ident, connection)


@pytest.fixture
def use(cloud: Cloud, compute: Compute, volume: str, server: str) -> Use:
    return attach(cloud, compute, volume, server)


def assert_conflict(reply: Reply, use: Use) -> None:
    assert reply.status == 409, reply
    text = reply.json['conflictingRequest']['message']
    assert text.startswith('ConflictNovaUsingAttachment: ')
    assert use.server in text


def assert_asked(compute: Compute, use: Use, status: int) -> None:
    """What Nova logged of the last request."""
    line = compute.find_requests(f'/servers/{use.server}/os-volume_attachments/{use.volume}"')[-1]
    assert f'status: {status} ' in line
    assert 'microversion: 2.89 ' in line


@every_way
@pytest.mark.parametrize('persona', ['', 'root'])
def test_what_a_server_uses_stays(compute: Compute, use: Use, way: str, persona: str) -> None:
    """Contract 7.3 step 8: not even an admin."""
    assert_conflict(use.take_away(way, persona), use)
    assert_asked(compute, use, 200)
    use.assert_kept()


@every_way
def test_a_service_token_passes_and_nova_is_not_asked(compute: Compute, use: Use, way: str) -> None:
    """Contract 7.3 step 1."""
    use.assert_taken_away(use.take_away(way, service='nova'), way)
    assert compute.find_requests(use.server) == []


@every_way
def test_the_server_is_gone(compute: Compute, use: Use, way: str) -> None:
    """Contract 7.3 step 6."""
    compute.delete_server(use.server)
    use.assert_taken_away(use.take_away(way), way)
    assert_asked(compute, use, 404)


@every_way
def test_the_server_no_longer_uses_it(compute: Compute, use: Use, way: str) -> None:
    """Contract 7.3 step 6, after a detach whose last call was lost."""
    compute.forget(use.server, use.volume)
    use.assert_taken_away(use.take_away(way), way)
    assert_asked(compute, use, 404)


@every_way
def test_the_server_uses_another_attachment(compute: Compute, use: Use, way: str) -> None:
    """Contract 7.3 step 7, after a migration whose last call was lost."""
    compute.forget(use.server, use.volume)
    compute.use(use.server, use.volume, str(uuid.uuid4()))
    use.assert_taken_away(use.take_away(way), way)
    assert_asked(compute, use, 200)


def test_only_the_deleted_one_of_two_servers_loses_it(cloud: Cloud, compute: Compute, use: Use) -> None:
    other = attach(cloud, compute, use.volume, compute.make_server('db'), 'two')
    compute.delete_server(other.server)
    assert other.take_away('delete').status == 200
    assert other.status is None
    use.assert_kept()
    assert_conflict(use.take_away('delete'), use)


def test_a_half_made_attachment_is_guarded_too(cloud: Cloud, compute: Compute, volume: str, server: str) -> None:
    """Contract 7.3 step 8: between connector and os-complete the host logs in."""
    ident = cloud.reserve(volume, server)
    compute.use(server, volume, ident)
    use = Use(cloud, server, volume, ident, cloud.connect(ident, HOST)['connection_info'])
    assert_conflict(use.take_away('delete'), use)
    assert use.status == 'attaching'
    assert use.opens


def test_a_reservation_is_not_asked_about(cloud: Cloud, compute: Compute, volume: str, server: str) -> None:
    """Contract 7.3 step 5."""
    ident = cloud.reserve(volume, server)
    compute.use(server, volume, ident)
    assert cloud('member', 'DELETE', f'/v3/attachments/{ident}').status == 200
    assert compute.find_requests(server) == []


def test_a_user_nova_does_not_know(cloud: Cloud, compute: Compute, use: Use) -> None:
    """Who sees neither volume nor server learns nothing of either."""
    assert use.take_away('delete', 'foreign-member').status == 404
    assert use.take_away('delete', 'reader').status == 403
    assert compute.find_requests(use.server) == []
    use.assert_kept()


class TestWithoutNova:
    """Contract 7.3 step 9: nobody answers."""

    @pytest.fixture(scope='class', autouse=True)
    def _no_nova(self, compute: Compute) -> Iterator[None]:
        compute.api.halt()
        yield
        compute.api.start()

    @every_way
    def test_nothing_is_lost_and_the_error_says_why(self, use: Use, way: str) -> None:
        reply = use.take_away(way)
        assert reply.status == 503
        assert 'The Compute API does not say whether the server uses the volume' in str(reply.json)
        use.assert_kept()

    @every_way
    def test_a_service_token_passes(self, use: Use, way: str) -> None:
        use.assert_taken_away(use.take_away(way, service='nova'), way)


def test_nova_is_back(compute: Compute, use: Use) -> None:
    assert_conflict(use.take_away('delete'), use)
    compute.forget(use.server, use.volume)
    use.assert_taken_away(use.take_away('delete'))
