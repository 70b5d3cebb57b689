# SPDX-License-Identifier: Apache-2.0
"""Who calls makes a difference with Keystone: roles, and the service token that Nova sends."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.nova.client import Nova, NovaError
from tests.nova.clouds import Cloud, opens, render_nova
from tests.nova.conftest import initiator, make_connector
from tests.nova.test_flows import attach, detach

pytestmark = pytest.mark.parametrize('cloud', ['keystone'], indirect=True)
_SECRETS = {'auth_username', 'auth_password'}


@pytest.fixture
def bare_nova(cloud: Cloud) -> Iterator[Nova]:
    """A Nova whose operator forgot the service token."""
    assert cloud.keystone is not None
    with cloud.run_nova('bare', render_nova(cloud.keystone, send_service_token=False)) as running:
        yield running


def test_only_a_service_token_lets_nova_take_away_what_a_server_uses(
    cloud: Cloud, nova: Nova, bare_nova: Nova, shared: str, server: str
) -> None:
    """CVE-2023-2088, contract 7.3: without one Nova itself would be asked, and none is in the catalogue."""
    mapping = attach(nova, shared, server)
    for who in ('user', 'admin'):
        with pytest.raises(NovaError) as caught:
            bare_nova.call('attachment_delete', mapping['attachment'], who=who)
        assert (caught.value.name, caught.value.code) == ('ClientException', 409)
    assert opens(mapping['connection_info'], initiator('one'))
    [attachment] = cloud.list_attachments(shared)
    assert attachment['status'] == 'attached'
    detach(nova, mapping)


def test_a_reservation_needs_no_service_token(bare_nova: Nova, shared: str, server: str) -> None:
    bare_nova.call('attachment_delete', bare_nova.call('attachment_create', shared, server)['id'])
    assert bare_nova.call('get', shared)['status'] == 'available'


def test_only_a_service_token_shows_what_opens_the_target(
    nova: Nova, bare_nova: Nova, shared: str, server: str
) -> None:
    """Whoever supplies a connector sees it once; Nova reads it again before a hard reboot."""
    ident = bare_nova.call('attachment_create', shared, server)['id']
    given = bare_nova.call('attachment_update', ident, make_connector('one'), '/dev/vdb')['connection_info']
    assert set(given['data']) >= _SECRETS
    seen = bare_nova.call('attachment_get', ident)['connection_info']
    assert not _SECRETS & set(seen['data'])
    assert nova.call('attachment_get', ident)['connection_info']['data'] == given['data']
    nova.call('attachment_delete', ident)


@pytest.mark.parametrize(
    ('name', 'args'),
    [
        ('create', [1, 'v', '']),
        ('delete', ['VOLUME']),
        ('reserve_volume', ['VOLUME']),
        ('unreserve_volume', ['VOLUME']),
        ('begin_detaching', ['VOLUME']),
        ('roll_detaching', ['VOLUME']),
        ('attach', ['VOLUME', '10000000-0000-4000-8000-000000000001', '/dev/vdb']),
        ('detach', ['VOLUME']),
        ('initialize_connection', ['VOLUME', make_connector('one')]),
        ('terminate_connection', ['VOLUME', make_connector('one')]),
        ('attachment_create', ['VOLUME', '10000000-0000-4000-8000-000000000001']),
        ('attachment_update', ['ATTACHMENT', make_connector('one'), '/dev/vdb']),
        ('attachment_complete', ['ATTACHMENT']),
        ('attachment_delete', ['ATTACHMENT']),
    ],
)
def test_a_reader_may_not(nova: Nova, single: str, server: str, name: str, args: list[Any]) -> None:
    """403; the service token takes nothing from what the user may not do."""
    ident = nova.call('attachment_create', single, server)['id']
    args = [{'VOLUME': single, 'ATTACHMENT': ident}.get(str(arg), arg) for arg in args]
    with pytest.raises(NovaError) as caught:
        nova.call(name, *args, who='reader')
    assert (caught.value.module, caught.value.name) == ('nova.exception', 'Forbidden')
    nova.call('attachment_delete', ident)


def test_a_reader_may_read(nova: Nova, single: str, server: str) -> None:
    ident = nova.call('attachment_create', single, server)['id']
    assert nova.call('get', single, who='reader')['id'] == single
    assert nova.call('attachment_get', ident, who='reader')['status'] == 'reserved'
    [found] = nova.call('attachment_get_all', volume_id=single, who='reader')
    assert found['id'] == ident
    assert nova.call('get_absolute_limits', who='reader')['totalVolumesUsed'] >= 1
    nova.call('attachment_delete', ident)


def test_a_token_that_is_none(nova: Nova, single: str) -> None:
    with pytest.raises(NovaError) as caught:
        nova.call('get', single, who='expired')
    assert (caught.value.name, caught.value.code) == ('Unauthorized', 401)


def test_only_an_admin_completes_a_migration(nova: Nova, single: str) -> None:
    with pytest.raises(NovaError) as caught:
        nova.call('migrate_volume_completion', single, '20000000-0000-4000-8000-000000000001')
    assert caught.value.name in ('Forbidden', 'InvalidInput')
