# SPDX-License-Identifier: Apache-2.0
"""Servers on two hosts share a volume: from the REST call to the bytes."""

import uuid

import pytest

from tests.deployments import two_hosts
from tests.e2e import facts

PATTERN = 'iqn.2010-10.org.openstack:volume-{}'


def test_servers_on_two_hosts_share_bytes_both_ways(cloud: two_hosts.Deployment, volume: str) -> None:
    pairs = list(zip(cloud.hosts, (cloud.one, cloud.far), strict=True))
    for guest in (cloud.one, cloud.far):
        cloud.request_attach(guest, volume)
    one, far = (cloud.wait_attached(guest, volume) for _, guest in pairs)
    for host, guest in pairs:
        device = facts.check_disk(host, guest, volume)
        assert device.startswith(('/dev/disk/by-path/', '/dev/sd'))
        assert two_hosts.list_sessions(host) == [PATTERN.format(volume)]
    shown = cloud.show_volume(volume)
    assert (shown['status'], shown['multiattach']) == ('in-use', True)
    assert {(a['server_id'], a['host_name']) for a in shown['attachments']} == {
        (guest.domain.UUIDString(), host.name) for host, guest in pairs
    }
    target = cloud.list_exports()[volume]
    initiators = sorted(host.initiator for host in cloud.hosts)
    assert sorted(target.initiators) == initiators
    assert cloud.tgtd.list_logins(target.tid) == initiators
    assert len(target.accounts) == len(cloud.hosts)  # a secret for each, not one for all
    facts.share(cloud.one, one, cloud.far, far, 1000)
    facts.share(cloud.far, far, cloud.one, one, 1001)
    for guest in (cloud.one, cloud.far):
        cloud.detach(guest, volume)
        for live in (True, False):
            assert facts.find_disk(guest, volume, live=live) is None


def test_a_second_attach_below_2_60_is_refused(cloud: two_hosts.Deployment, volume: str) -> None:
    with pytest.raises(two_hosts.Refused) as caught:
        cloud.request_attach(cloud.one, volume, 'compute 2.59')
    assert caught.value.status == 400
    assert cloud.state_of(cloud.one, volume) is None


def test_two_servers_of_one_host_share_a_session(cloud: two_hosts.Deployment, volume: str) -> None:
    host = cloud.hosts[0]
    one = cloud.attach(cloud.one, volume)
    two = cloud.attach(cloud.two, volume)
    session = [PATTERN.format(volume)]
    assert two_hosts.list_sessions(host) == session
    assert len(two_hosts.list_disks(host)) == 1
    facts.share(cloud.one, one, cloud.two, two, 1000)
    with facts.Writer(cloud.two, two, 2000).running() as writer:
        cloud.detach(cloud.one, volume)
        writer.wait_progress()
        assert two_hosts.list_sessions(host) == session
        assert two_hosts.list_nodes(host) == session
    cloud.detach(cloud.two, volume)
    assert two_hosts.list_sessions(host) == two_hosts.list_nodes(host) == two_hosts.list_disks(host) == []


def test_the_standard_client_attaches_and_detaches(cloud: two_hosts.Deployment) -> None:
    name = f'shared-{uuid.uuid4()}'
    made = cloud.openstack('volume', 'create', '--size', '1', '--type', 'shared', name, '-f', 'json')
    cloud.wait_status(made['id'], 'available')
    guests = (cloud.one, cloud.far)
    for guest in guests:
        cloud.openstack('--os-compute-api-version', '2.60', 'server', 'add', 'volume', guest.name, name)
    one, far = (cloud.wait_attached(guest, made['id']) for guest in guests)
    shown = cloud.openstack('volume', 'show', name, '-c', 'attachments', '-c', 'status', '-f', 'json')
    assert shown['status'] == 'in-use'
    assert {a['server_id'] for a in shown['attachments']} == {g.domain.UUIDString() for g in guests}
    facts.share(cloud.one, one, cloud.far, far, 3000)
    told = cloud.openstack('multiattach', 'volume', 'explain', name, '-f', 'json')
    assert (told['status'], told['next_step_of'], len(told['attachments'])) == ('in-use', 'nobody', 2)
    target = cloud.openstack('multiattach', 'target', 'show', name, '-f', 'json')
    assert sorted(target['initiators']) == sorted(host.initiator for host in cloud.hosts)
    for guest in guests:
        cloud.openstack('server', 'remove', 'volume', guest.name, name)
    cloud.wait_status(made['id'], 'available')
    cloud.openstack('volume', 'delete', name)
    cloud.wait_deleted(made['id'])
