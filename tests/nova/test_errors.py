# SPDX-License-Identifier: Apache-2.0
"""What Nova raises for each error that the service answers with (its callers catch exactly these)."""

import uuid
from typing import Any

import pytest

from tests.nova.client import Nova, NovaError
from tests.nova.clouds import Cloud
from tests.nova.conftest import make_connector

_NOVA, _CLIENT = 'nova.exception', 'cinderclient.exceptions'
_UNKNOWN = '12345678-0000-4000-8000-123456789abc'


def catch(nova: Nova, name: str, *args: Any, **kwargs: Any) -> NovaError:
    with pytest.raises(NovaError) as caught:
        nova.call(name, *args, **kwargs)
    return caught.value


def check(error: NovaError, module: str, name: str, code: int | None = None) -> None:
    assert (error.module, error.name) == (module, name), error
    if code is not None:
        assert error.code == code


@pytest.mark.parametrize(
    ('name', 'args', 'raised'),
    [
        ('get', [], 'VolumeNotFound'),
        ('delete', [], 'VolumeNotFound'),
        ('reserve_volume', [], 'VolumeNotFound'),
        ('unreserve_volume', [], 'VolumeNotFound'),
        ('begin_detaching', [], 'VolumeNotFound'),
        ('roll_detaching', [], 'VolumeNotFound'),
        ('attach', ['10000000-0000-4000-8000-000000000001', '/dev/vdb'], 'VolumeNotFound'),
        ('detach', [], 'VolumeNotFound'),
        ('initialize_connection', [make_connector('one')], 'VolumeNotFound'),
        ('terminate_connection', [make_connector('one')], 'VolumeNotFound'),
        ('attachment_create', ['10000000-0000-4000-8000-000000000001'], 'VolumeNotFound'),
        ('reimage_volume', ['20000000-0000-4000-8000-000000000001'], 'VolumeNotFound'),
        ('get_snapshot', [], 'SnapshotNotFound'),
        ('delete_snapshot', [], 'SnapshotNotFound'),
        ('attachment_get', [], 'VolumeAttachmentNotFound'),
        ('attachment_update', [make_connector('one'), '/dev/vdb'], 'VolumeAttachmentNotFound'),
        ('attachment_complete', [], 'VolumeAttachmentNotFound'),
    ],
)
def test_nothing_is_there(nova: Nova, name: str, args: list[Any], raised: str) -> None:
    check(catch(nova, name, _UNKNOWN, *args), _NOVA, raised)


def test_deleting_an_attachment_that_is_gone_is_fine(nova: Nova) -> None:
    assert nova.call('attachment_delete', _UNKNOWN) is None


def test_attachments_of_an_unknown_server_are_none(nova: Nova) -> None:
    assert nova.call('attachment_get_all', instance_id=_UNKNOWN) == []


def test_encryption_of_an_unknown_volume(nova: Nova) -> None:
    """Nova maps no 404 here."""
    check(catch(nova, 'get_volume_encryption_metadata', _UNKNOWN), _CLIENT, 'NotFound', 404)


def test_create_with_an_unknown_type(nova: Nova) -> None:
    check(catch(nova, 'create', 1, 'v', '', volume_type='nosuch'), _NOVA, 'NotFound')


@pytest.mark.parametrize('words', [{'availability_zone': 'nosuch'}, {'image_id': _UNKNOWN}])
def test_create_with_what_is_not_served(nova: Nova, words: dict[str, Any]) -> None:
    check(catch(nova, 'create', 1, 'v', '', **words), _NOVA, 'InvalidInput')


def test_create_more_than_the_quota(nova: Nova) -> None:
    """413."""
    check(catch(nova, 'create', 1001, 'v', ''), _NOVA, 'OverQuota')


@pytest.mark.parametrize('size', [0, -1, 'many'])
def test_create_with_a_wrong_size(nova: Nova, size: Any) -> None:
    check(catch(nova, 'create', size, 'v', ''), _NOVA, 'InvalidInput')


def test_create_from_a_snapshot(nova: Nova) -> None:
    check(catch(nova, 'create', 1, 'v', '', snapshot={'id': _UNKNOWN}), _NOVA, 'NotFound')


def test_a_volume_of_another_server_is_refused(nova: Nova, single: str, server: str) -> None:
    ident = nova.call('attachment_create', single, server)['id']
    check(catch(nova, 'attachment_create', single, str(uuid.uuid4())), _NOVA, 'InvalidInput')
    check(catch(nova, 'reserve_volume', single), _NOVA, 'InvalidInput')
    check(catch(nova, 'begin_detaching', single), _NOVA, 'InvalidInput')
    nova.call('attachment_delete', ident)


def test_a_used_volume_is_not_deleted(nova: Nova, single: str, server: str) -> None:
    ident = nova.call('attachment_create', single, server, connector=make_connector('one'))['id']
    check(catch(nova, 'delete', single), _NOVA, 'InvalidInput')
    nova.call('attachment_delete', ident)


@pytest.mark.parametrize('missing', ['initiator', 'host'])
def test_a_connector_without_what_iscsi_needs(nova: Nova, single: str, server: str, missing: str) -> None:
    wrong = {key: value for key, value in make_connector('one').items() if key != missing}
    ident = nova.call('attachment_create', single, server)['id']
    check(catch(nova, 'attachment_update', ident, wrong, '/dev/vdb'), _NOVA, 'InvalidInput')
    nova.call('attachment_delete', ident)
    check(catch(nova, 'attachment_create', single, server, connector=wrong), _NOVA, 'InvalidInput')
    assert nova.call('get', single)['status'] == 'available'


def test_a_second_connection_of_one_server_from_one_host(nova: Nova, single: str, server: str) -> None:
    """409: Nova leaves cinderclient's own exception as it is."""
    first = nova.call('attachment_create', single, server, connector=make_connector('one'))['id']
    nova.call('attachment_complete', first)
    second = nova.call('attachment_create', single, server)['id']
    error = catch(nova, 'attachment_update', second, make_connector('one'), '/dev/vdb')
    check(error, _CLIENT, 'ClientException', 409)
    nova.call('attachment_delete', second)
    assert nova.call('get', single)['status'] == 'in-use'
    nova.call('attachment_delete', first)


def test_a_backend_that_fails(cloud: Cloud, nova: Nova, single: str, server: str) -> None:
    """500: Nova tries five times; the reservation is still good afterwards."""
    ident = nova.call('attachment_create', single, server)['id']
    [disk] = (cloud.service.state / 'volumes').rglob(f'*{single}*')
    aside = disk.with_name('aside')
    disk.rename(aside)
    error = catch(nova, 'attachment_update', ident, make_connector('one'), '/dev/vdb')
    check(error, _CLIENT, 'ClientException', 500)
    assert [line['event'] for line in cloud.read_timeline(ident)].count('export_failed') == 5
    assert nova.call('attachment_get', ident)['status'] == 'reserved'
    aside.rename(disk)
    assert nova.call('attachment_update', ident, make_connector('one'), '/dev/vdb')['connection_info']
    nova.call('attachment_delete', ident)


def test_an_image_where_there_is_no_image_service(nova: Nova, single: str) -> None:
    check(
        catch(nova, 'reimage_volume', single, '20000000-0000-4000-8000-000000000001', who='user'), _NOVA, 'InvalidInput'
    )


def test_a_migration_that_nova_would_end(nova: Nova, single: str) -> None:
    """Volumes in use are not migrated, so that Nova has nothing to end."""
    check(catch(nova, 'migrate_volume_completion', single, single, who='admin'), _NOVA, 'InvalidInput')


def test_an_older_service_is_told_from_a_newer(nova: Nova, single: str) -> None:
    """Nova reads what there is from ``GET /`` before it asks for a microversion."""
    check(catch(nova, 'get', single, microversion='3.99'), _NOVA, 'CinderAPIVersionNotAvailable')


def test_another_project(cloud: Cloud, nova: Nova, single: str, server: str) -> None:
    """A foreign project's volume does not exist; with noauth everybody is an admin and sees all."""
    if cloud.keystone is None:
        assert nova.call('get', single, who='foreign')['id'] == single
        return
    ident = nova.call('attachment_create', single, server)['id']
    for name, args, raised in (
        ('get', [single], 'VolumeNotFound'),
        ('delete', [single], 'VolumeNotFound'),
        ('attachment_create', [single, server], 'VolumeNotFound'),
        ('begin_detaching', [single], 'VolumeNotFound'),
        ('attachment_get', [ident], 'VolumeAttachmentNotFound'),
        ('attachment_complete', [ident], 'VolumeAttachmentNotFound'),
        ('attachment_update', [ident, make_connector('one'), '/dev/vdb'], 'VolumeAttachmentNotFound'),
    ):
        check(catch(nova, name, *args, who='foreign'), _NOVA, raised)
    assert nova.call('attachment_delete', ident, who='foreign') is None
    assert nova.call('attachment_get_all', instance_id=server, who='foreign') == []
    assert nova.call('attachment_get', ident)['status'] == 'reserved'
    nova.call('attachment_delete', ident)
