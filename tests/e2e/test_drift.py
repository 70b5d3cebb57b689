# SPDX-License-Identifier: Apache-2.0
"""Things changed behind the service's back; and the doctor, a process that asks over the broker."""

import contextlib
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from multiattach.domain.drift import TABLE, Drift
from tests.deployments import two_hosts
from tests.e2e import facts
from tests.testbed.polling import wait_until
from tests.testbed.vm import ComputeHost

INTERVAL = 60  # s; [reconcile] interval as it is
_PARTS = 4  # the cluster of two workers, the worker of the volume group, two agents
_CALM = {'fix': False, 'answered': _PARTS, 'left': 0, 'findings': [], 'unanswered': []}
_SLACK = 25  # s; a look every 5 s, and emulated processors


@pytest.fixture
def deleted(cloud: two_hosts.Deployment) -> Iterator[Callable[[], str]]:
    """Deletes guest "far" behind the service's back and tells its id; it is there again afterwards."""
    connection, server = cloud.far.connection, cloud.far.domain.UUIDString()

    def delete() -> str:
        cloud.far.destroy()
        return server

    yield delete
    cloud.far = cloud.hosts[1].define_guest(connection, 'far', server_id=server)
    cloud.far.start()
    cloud.far.wait_ready()
    cloud.wait_listed(cloud.far)


@contextlib.contextmanager
def elsewhere(cloud: two_hosts.Deployment, volume_id: str, host: ComputeHost) -> Iterator[dict[str, Any]]:
    """Let an initiator have a volume by an attachment that no agent knows of.

    :returns: connection_info.
    """
    made = cloud.ask(
        'POST',
        '/v3/attachments',
        {
            'attachment': {
                'volume_uuid': volume_id,
                'instance_uuid': str(uuid.uuid4()),
                'connector': {
                    'host': 'elsewhere',
                    'ip': '10.99.0.200',
                    'platform': 'x86_64',
                    'os_type': 'linux',
                    'initiator': host.initiator,
                },
            }
        },
    )['attachment']
    cloud.ask('POST', f'/v3/attachments/{made["id"]}/action', {'os-complete': {}})
    yield made['connection_info']
    cloud.ask('DELETE', f'/v3/attachments/{made["id"]}')


def log_in(host: ComputeHost, info: dict[str, Any]) -> None:
    """Log a host in to a target by hand, as a person with iscsiadm does."""
    node = f'iscsiadm -m node -T {info["target_iqn"]} -p {info["target_portal"]}'
    words = {'authmethod': 'CHAP', 'username': info['auth_username'], 'password': info['auth_password']}
    updates = ''.join(f'{node} -o update -n node.session.auth.{key} -v {word}\n' for key, word in words.items())
    host.check(f'set -e\n{node} -o new\n{updates}{node} --login')
    link = f'/dev/disk/by-path/*{info["target_iqn"]}*'
    wait_until(lambda: host.run(f'ls {link}')[0] == 0, 60, 'the device', 0.2)


def look(cloud: two_hosts.Deployment, *words: str) -> tuple[int, dict[tuple[str, str], str]]:
    """Run the doctor; everybody has to answer.

    :returns: its exit status; outcomes by kind and what they are about.
    """
    status, told = cloud.doctor(*words)
    assert (told['answered'], told['unanswered']) == (_PARTS, [])
    return status, {(one['kind'], one['about']): one['outcome'] for one in told['findings']}


def look_past_name(cloud: two_hosts.Deployment, *words: str) -> dict[tuple[str, str], str]:
    """Look, where another host presents the name of this one: that is told, and stays."""
    status, found = look(cloud, *words)
    told = {key: outcome for key, outcome in found.items() if key[0] == 'shared_name'}
    assert (status, set(told.values())) == (1, {'reported'})
    return {key: outcome for key, outcome in found.items() if key not in told}


def spoil_and_look(
    cloud: two_hosts.Deployment, spoil: Callable[[], None], kind: str
) -> tuple[int, dict[tuple[str, str], str]]:
    """Make a drift that a worker may have repaired before the doctor asks, and look."""
    for _ in range(2):  # the worker's next round is a minute away then
        spoil()
        status, found = look(cloud)
        if any(one == kind for one, _about in found):
            break
    return status, found


def shut_out(cloud: two_hosts.Deployment, volume_id: str, host: ComputeHost) -> None:
    target = cloud.list_exports()[volume_id]
    cloud.tgtd.administer(
        '--op', 'unbind', '--mode', 'target', '--tid', str(target.tid), '--initiator-name', host.initiator
    )


def check_only(host: ComputeHost, volume_id: str) -> None:
    """See that a host has one volume and nothing else."""
    name = [f'iqn.2010-10.org.openstack:volume-{volume_id}']
    assert (two_hosts.list_sessions(host), two_hosts.list_nodes(host)) == (name, name)
    assert len(two_hosts.list_disks(host)) == 1


def list_attachments(cloud: two_hosts.Deployment, server: str) -> list[tuple[Any, ...]]:
    return cloud.query('SELECT id FROM attachments WHERE deleted_at IS NULL AND instance_uuid = %s', server)


def check_gone(cloud: two_hosts.Deployment, host: ComputeHost, server: str) -> None:
    """See that nothing of a server that was deleted is left: no row, no right, nothing on its host."""
    assert list_attachments(cloud, server) == []
    for what in (two_hosts.list_sessions, two_hosts.list_nodes, two_hosts.list_disks):
        assert what(host) == []
    assert all(host.initiator not in target.initiators for target in cloud.list_exports().values())


def test_the_doctor_finds_and_repairs(cloud: two_hosts.Deployment, volume: str, deleted: Callable[[], str]) -> None:
    near, away = cloud.hosts
    cloud.lvm_worker.wait_ready()
    other = cloud.make_volume('shared')
    for guest in (cloud.one, cloud.far):
        cloud.request_attach(guest, volume)
    one, _ = (cloud.wait_attached(guest, volume) for guest in (cloud.one, cloud.far))
    with facts.Writer(cloud.one, one, 0).running() as writer, elsewhere(cloud, other, near) as info:
        wait_until(lambda: look_past_name(cloud) == {}, 120, 'that all are well', 1)
        log_in(near, info)
        server = deleted()
        status, found = spoil_and_look(cloud, lambda: shut_out(cloud, volume, near), 'shut_out')
        assert status == 1
        assert {key: outcome for key, outcome in found.items() if key[0] != 'shared_name'} == {
            ('shut_out', near.initiator): 'found',
            ('domain_gone', server): 'waiting',
            ('stray_session', f'volume-{other}'): 'waiting',
        }
        assert set(look_past_name(cloud, '--fix').values()) == {'repaired'}
        check_gone(cloud, away, server)
        # The other server of the host with the stray session has kept its own.
        check_only(near, volume)
        target = cloud.list_exports()[volume]
        assert list(target.initiators) == [near.initiator]
        assert cloud.tgtd.list_logins(target.tid) == [near.initiator]
        assert cloud.show_volume(volume)['status'] == 'in-use'
        writer.wait_progress()
        assert look_past_name(cloud) == {}
    wait_until(lambda: cloud.doctor() == (0, _CALM), 60, 'that all are well', 1)
    cloud.detach(cloud.one, volume)
    cloud.delete_volume(other)


@pytest.mark.slow  # a period and a grace
def test_it_goes_by_itself(cloud: two_hosts.Deployment, volume: str, deleted: Callable[[], str]) -> None:
    near, away = cloud.hosts
    other = cloud.make_volume('shared')
    for guest in (cloud.one, cloud.far):
        cloud.request_attach(guest, volume)
    one, _ = (cloud.wait_attached(guest, volume) for guest in (cloud.one, cloud.far))
    with facts.Writer(cloud.one, one, 0).running() as writer, elsewhere(cloud, other, near) as info:
        log_in(near, info)
        start = {Drift.STRAY_SESSION: time.monotonic()}
        server = deleted()
        start[Drift.DOMAIN_GONE] = time.monotonic()
        checks: dict[Drift, Callable[[], bool]] = {
            Drift.DOMAIN_GONE: lambda: not list_attachments(cloud, server),
            Drift.STRAY_SESSION: lambda: len(two_hosts.list_nodes(near)) == 1,
        }
        took = {}
        for kind, check in checks.items():
            wait_until(check, 2 * INTERVAL + TABLE[kind].grace, f'end of {kind}', 0.5)
            took[kind] = time.monotonic() - start[kind]
        print({str(kind): round(seconds) for kind, seconds in took.items()})
        assert all(seconds < INTERVAL + TABLE[kind].grace + _SLACK for kind, seconds in took.items()), took
        wait_until(lambda: len(two_hosts.list_disks(near)) == 1, 30, 'the end of the device', 0.2)
        check_gone(cloud, away, server)
        check_only(near, volume)
        writer.wait_progress()
    cloud.detach(cloud.one, volume)
    cloud.delete_volume(other)


@pytest.mark.slow  # the kernel gives a session up that the target has ended
def test_a_row_that_was_deleted_by_hand(cloud: two_hosts.Deployment, volume: str, impatient: ComputeHost) -> None:
    one, _ = (cloud.attach(guest, volume) for guest in (cloud.one, cloud.far))
    with facts.Writer(cloud.one, one, 0).running() as writer:
        cloud.query(
            'UPDATE attachments SET deleted_at = updated_at WHERE id = %s', cloud.find_attachment(cloud.far, volume)
        )
        status, found = look(cloud)
        assert (status, found['stray_disk', cloud.far.domain.UUIDString()]) == (1, 'waiting')
        # The target ends the session first; QEMU lets go of the disk when the kernel gives the session up.
        wait_until(lambda: cloud.doctor('--fix') == (0, {**_CALM, 'fix': True}), 240, 'that all are well', 1)
        assert facts.find_disk(cloud.far, volume, live=True) is None
        for what in (two_hosts.list_sessions, two_hosts.list_nodes, two_hosts.list_disks):
            assert what(impatient) == []
        assert list(cloud.list_exports()[volume].initiators) == [cloud.hosts[0].initiator]
        writer.wait_progress()
    far = cloud.attach(cloud.far, volume)
    facts.share(cloud.far, far, cloud.one, one, 2000)
    for guest in (cloud.one, cloud.far):
        cloud.detach(guest, volume)
