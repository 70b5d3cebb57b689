# SPDX-License-Identifier: Apache-2.0
"""Sessions of python-cinderclient: what it asks and what it prints (contract 10.1)."""

from tests.functional.clients.cloud import Cloud
from tests.functional.compute import compute_host


def parse(printed: str) -> list[dict[str, str]]:
    """Parse a table."""
    rows = [
        [cell.strip() for cell in line.strip('|').split('|')] for line in printed.splitlines() if line.startswith('|')
    ]
    return [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]


def parse_properties(printed: str) -> dict[str, str]:
    """Parse a table of properties and values."""
    return {row['Property']: row['Value'] for row in parse(printed)}


def test_discovery(cloud: Cloud) -> None:
    cloud.cinder('list')
    assert [exchange.line for exchange in cloud.recorder.exchanges][-2:] == ['GET /', 'GET /volumes/detail']


def test_list_and_show(cloud: Cloud, volume: str) -> None:
    listed = cloud.cinder('list')
    assert listed.lines == ['GET /volumes/detail']
    [row] = [row for row in parse(listed.printed) if row['Name'] == volume]
    assert (row['Status'], row['Size'], row['Bootable']) == ('available', '1', 'false')
    shown = cloud.cinder('show', volume)
    assert f'GET /volumes/detail?all_tenants=1&name={volume}' in shown.lines
    properties = parse_properties(shown.printed)
    assert (properties['id'], properties['name'], properties['multiattach'], properties['status']) == (
        row['ID'],
        volume,
        'True',
        'available',
    )


def test_attachments(cloud: Cloud, volume: str) -> None:
    ident = cloud.show(volume)['id']
    created = cloud.cinder(
        'attachment-create',
        ident,
        compute_host.WEB,
        '--connect',
        'True',
        '--host',
        'one',
        '--initiator',
        'iqn.1994-05.com.example:one',
        '--ip',
        '192.0.2.1',
        version='3.44',
    )
    assert created.lines[-1] == 'POST /attachments'
    assert created.exchanges[-1].version == 'volume 3.44'
    properties = parse_properties(created.printed)
    assert (properties['volume_id'], properties['instance'], properties['status']) == (
        ident,
        compute_host.WEB,
        'attaching',
    )
    attachment = properties['id']
    done = cloud.cinder('attachment-complete', attachment, version='3.44')
    assert done.lines == [f'POST /attachments/{attachment}/action']
    assert done.exchanges[0].body == {'os-complete': None}
    listed = cloud.cinder('attachment-list', version='3.44')
    assert listed.lines == ['GET /attachments']
    assert parse(listed.printed) == [
        {'ID': attachment, 'Volume ID': ident, 'Status': 'attached', 'Server ID': compute_host.WEB}
    ]
    shown = cloud.cinder('attachment-show', attachment, version='3.44')
    assert shown.lines == [f'GET /attachments/{attachment}']
    assert parse_properties(shown.printed)['attach_mode'] == 'rw'
    done = cloud.cinder('attachment-delete', attachment, version='3.44')
    assert done.lines == [f'DELETE /attachments/{attachment}']


def test_manage_and_unmanage(cloud: Cloud, volume: str) -> None:
    ident = cloud.show(volume)['id']
    cloud.cinder('unmanage', volume)
    found = cloud.cinder('manageable-list', 'testhost@file', '--detailed', 'True')
    assert f'volume-{ident}' in found.printed
    made = cloud.cinder('manage', '--name', volume, 'testhost@file', f'volume-{ident}')
    assert 'POST /os-volume-manage' in made.lines
    cloud.wait(volume, 'available')


def test_types_quotas_services_limits(cloud: Cloud, shared: str) -> None:
    types = cloud.cinder('type-list')
    assert types.lines == ['GET /types?is_public=None']
    assert shared in {row['Name'] for row in parse(types.printed)}
    specs = cloud.cinder('extra-specs-list')
    assert "{'multiattach': '<is> True'}" in specs.printed
    project = 'd' * 32
    quotas = cloud.cinder('quota-show', project)
    assert quotas.lines == [f'GET /os-quota-sets/{project}?usage=False']
    assert parse_properties(quotas.printed)['per_volume_gigabytes'] == '-1'
    done = cloud.cinder('quota-update', '--volumes', '7', project)
    assert done.exchanges[-1].body['quota_set']['volumes'] == 7
    assert parse_properties(cloud.cinder('quota-show', project).printed)['volumes'] == '7'
    usage = cloud.cinder('quota-usage', project)
    assert usage.lines == [f'GET /os-quota-sets/{project}?usage=True']
    assert {row['Type']: row['Limit'] for row in parse(usage.printed)}['volumes'] == '7'
    services = cloud.cinder('service-list')
    assert services.lines == ['GET /os-services']
    assert 'cinder-volume' in {row['Binary'] for row in parse(services.printed)}
    limits = cloud.cinder('absolute-limits')
    assert limits.exchanges[-1].path == '/limits'
    assert {row['Name']: row['Value'] for row in parse(limits.printed)}['maxTotalVolumes'] == '-1'


def test_what_it_finds_out(cloud: Cloud) -> None:
    filters = cloud.cinder('list-filters', '--resource', 'volume')
    assert filters.lines == ['GET /resource_filters?resource=volume']
    assert {row['Resource'] for row in parse(filters.printed)} == {'volume'}
    pools = cloud.cinder('get-pools', '--detail')
    assert 'testhost@file#file' in pools.printed
    capabilities = cloud.cinder('get-capabilities', 'testhost@file')
    assert 'OS::Storage::Capabilities::testhost@file' in capabilities.printed
    assert parse(cloud.cinder('message-list').printed) == []
    assert parse(cloud.cinder('snapshot-list').printed) == []
    assert parse(cloud.cinder('backup-list').printed) == []
    assert parse(cloud.cinder('transfer-list').printed) == []
    assert parse(cloud.cinder('group-list').printed) == []
