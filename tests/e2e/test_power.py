# SPDX-License-Identifier: Apache-2.0
"""A compute host loses its power while its guest writes, and comes back as if just installed."""

import uuid
from typing import Any

import libvirt
import pytest

from tests.deployments import two_hosts
from tests.e2e import facts
from tests.e2e.test_fences import FAR, NEAR, SPAN, check_complete, check_silence
from tests.testbed.guest import Guest
from tests.testbed.polling import wait_until

pytestmark = pytest.mark.slow  # an emulated machine boots twice

_KEPT = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE


def check_only_one(cloud: two_hosts.Deployment, volume_id: str) -> None:
    """See that the target, also the one that tgtd would restore, and the API know of the first host only."""
    first, second = cloud.hosts
    target = cloud.list_exports()[volume_id]
    assert list(target.initiators) == [first.initiator]
    assert cloud.tgtd.list_logins(target.tid) == [first.initiator]
    assert len(target.accounts) == 1
    assert len(cloud.tgtd.administer('--op', 'show', '--mode', 'account').split()) == len(
        [*target.accounts, 'Account', 'list:']
    )
    (saved,) = [path for path in (cloud.folder / 'state' / 'targets').glob('*') if volume_id in path.name]
    assert first.initiator in saved.read_text()
    assert second.initiator not in saved.read_text()
    shown = cloud.show_volume(volume_id)
    assert shown['status'] == 'in-use'
    assert [one['server_id'] for one in shown['attachments']] == [cloud.one.domain.UUIDString()]


def define_again(cloud: two_hosts.Deployment, connection: Any, server: str) -> Guest:
    """Define guest "far" as it was before it ever had a volume."""
    cloud.far = cloud.hosts[1].define_guest(connection, 'far', server_id=server)
    return cloud.far


def wait_answers(cloud: two_hosts.Deployment) -> dict[str, Any]:
    """Return what the doctor says once nobody's silence is left of the host that was away."""

    def ask() -> dict[str, Any]:
        told = cloud.doctor()[1]
        return {} if told['unanswered'] else told

    found: dict[str, Any] = wait_until(ask, 240, 'answers of all workers and agents', 1)
    return found


def test_a_host_without_power_is_fenced_and_comes_back(cloud: two_hosts.Deployment, volume: str) -> None:
    agent, host, server = cloud.agents[1], cloud.hosts[1], cloud.far.domain.UUIDString()
    one, far = (cloud.attach(guest, volume) for guest in (cloud.one, cloud.far))
    ident = cloud.find_attachment(cloud.far, volume)
    kept = cloud.far.domain.XMLDesc(_KEPT)
    with facts.Writer(cloud.one, one, NEAR, 'one').running() as near:
        writer = facts.Writer(cloud.far, far, FAR, 'far')
        writer.start()
        writer.wait_progress()
        cloud.cut_power(host)
        (fenced,) = cloud.openstack(
            'multiattach', 'host', 'fence', host.name, '--out-of-service', '--reason', 'no power', '-f', 'json'
        )
        at_answer = cloud.read_volume(volume, FAR, SPAN)
        assert facts.read_stamps(at_answer)
        assert (fenced['Attachment ID'], fenced['Fenced']) == (ident, True)
        # A host without power says no farewell: its session was still there to be cut.
        assert fenced['Cut'] == {
            'acl': True,
            'account': True,
            'sessions': [{'initiator': host.initiator, 'address': host.address}],
        }
        assert fenced['Left'] == {'acl': False, 'account': False, 'sessions': []}
        assert (
            cloud.query('SELECT id FROM attachments WHERE deleted_at IS NULL AND attached_host = %s', host.name) == []
        )
        check_only_one(cloud, volume)
        check_silence(cloud, volume, at_answer, near)
        # It has kept what its libvirt knew, and nothing else.
        connection = cloud.boot(host)
        define_again(cloud, connection, server)
        connection.defineXML(kept)
        assert facts.find_disk(cloud.far, volume, live=False) is not None
        agent.start()
        agent.wait_ready()
        # Before it was ready it has let go of what the fence took.
        assert facts.find_disk(cloud.far, volume, live=False) is None
        assert agent.process is not None
        said = agent.process.read_log()
        assert 0 < said.index('is fenced since') < said.index(' is ready'), said
        assert cloud.query('SELECT id FROM attachments WHERE id = %s AND swept_at IS NOT NULL', ident)
        cloud.far.start()
        cloud.far.wait_ready()
        assert cloud.far.find_disk(volume) is None
        with pytest.raises(two_hosts.Refused, match='is fenced since') as caught:
            cloud.request_attach(cloud.far, volume)
        assert caught.value.status == 409
        for what in (two_hosts.list_sessions, two_hosts.list_nodes, two_hosts.list_disks):
            assert what(host) == []
        check_only_one(cloud, volume)
        assert cloud.read_volume(volume, FAR, SPAN) == at_answer
        near.wait_progress()
    check_complete(cloud, volume, 'one', near.count())
    cloud.openstack('multiattach', 'host', 'unfence', host.name)
    far = cloud.attach(cloud.far, volume)
    facts.check_disk(host, cloud.far, volume)
    facts.share(cloud.far, far, cloud.one, one, 2000)
    facts.share(cloud.one, one, cloud.far, far, 2001)
    for guest in (cloud.one, cloud.far):
        cloud.detach(guest, volume)


def test_a_host_without_power_comes_back_and_nobody_fenced_it(cloud: two_hosts.Deployment, volume: str) -> None:
    """One of its servers is there again without its disk, the other one is not; their rows say "attached"."""
    agent, host, server = cloud.agents[1], cloud.hosts[1], cloud.far.domain.UUIDString()
    brief = host.define_guest(cloud.far.connection, f'brief-{uuid.uuid4()}')
    brief.start()
    brief.wait_ready()
    cloud.wait_listed(brief)
    lost = brief.domain.UUIDString()
    guests = (cloud.one, cloud.far, brief)
    for guest in guests:
        cloud.request_attach(guest, volume)
    one, _, _ = (cloud.wait_attached(guest, volume) for guest in guests)
    with facts.Writer(cloud.one, one, NEAR, 'one').running() as near:
        cloud.cut_power(host)
        define_again(cloud, cloud.boot(host), server)
        agent.start()
        agent.wait_ready()
        cloud.far.start()
        cloud.far.wait_ready()
        assert cloud.state_of(cloud.far, volume) == 'attached'
        told = wait_answers(cloud)
        found = {(one['kind'], one['about']): one['outcome'] for one in told['findings']}
        assert found.pop(('lost_disk', server)) == 'reported'
        assert set(found) <= {('domain_gone', lost)}
        # The attachment of the server that is gone goes by itself, and takes nothing else along.
        wait_until(
            lambda: (
                cloud.query('SELECT state FROM attachments WHERE deleted_at IS NULL AND instance_uuid = %s', lost) == []
            ),
            150,
            "the end of the lost server's attachment",
            0.5,
        )
        assert cloud.state_of(cloud.far, volume) == 'attached'
        status, told = cloud.doctor()
        assert (status, [one['kind'] for one in told['findings']]) == (1, ['lost_disk'])
        cloud.detach(cloud.far, volume)
        check_only_one(cloud, volume)
        assert cloud.doctor() == (0, {**told, 'left': 0, 'findings': []})
        near.wait_progress()
    check_complete(cloud, volume, 'one', near.count())
    far = cloud.attach(cloud.far, volume)
    facts.share(cloud.far, far, cloud.one, one, 2000)
    for guest in (cloud.one, cloud.far):
        cloud.detach(guest, volume)


def test_a_host_that_was_started_again_connects_to_what_its_servers_have(
    cloud: two_hosts.Deployment, volume: str
) -> None:
    """Its libvirt has kept the servers, with their disks; they could not start without a session."""
    agent, host, server = cloud.agents[1], cloud.hosts[1], cloud.far.domain.UUIDString()
    one, _far = (cloud.attach(guest, volume) for guest in (cloud.one, cloud.far))
    kept = cloud.far.domain.XMLDesc(_KEPT)
    with facts.Writer(cloud.one, one, NEAR, 'one').running() as near:
        cloud.cut_power(host)
        connection = cloud.boot(host)
        define_again(cloud, connection, server)
        connection.defineXML(kept)
        with pytest.raises(libvirt.libvirtError):
            cloud.far.start()
        assert two_hosts.list_sessions(host) == []
        agent.start()
        agent.wait_ready()
        wait_until(lambda: len(two_hosts.list_disks(host)) == 1, 60, 'the device, by itself', 0.5)
        assert len(two_hosts.list_sessions(host)) == 1
        cloud.far.start()
        cloud.far.wait_ready()
        facts.check_disk(host, cloud.far, volume)
        near.wait_progress()
    check_complete(cloud, volume, 'one', near.count())
    facts.share(cloud.one, one, cloud.far, f'/dev/{cloud.far.find_disk(volume)}', 2000)
    for guest in (cloud.one, cloud.far):
        cloud.detach(guest, volume)
