# SPDX-License-Identifier: Apache-2.0
"""Fences, with writers in guests: after the answer the fenced one writes nothing; the others lose nothing."""

import time
from typing import Any

import pytest

from tests.deployments import two_hosts
from tests.e2e import facts
from tests.testbed.guest import Guest
from tests.testbed.polling import wait_until
from tests.testbed.vm import ComputeHost

NEAR, FAR, SPAN = 0, 1000, facts.Writer.SPAN
_WATCHED = 5  # s; a write that was on its way would have arrived long before


def fence(cloud: two_hosts.Deployment, guest: Guest, volume_id: str) -> dict[str, Any]:
    ident = cloud.find_attachment(guest, volume_id)
    found: dict[str, Any] = cloud.ask('POST', f'/v3/multiattach/attachments/{ident}/fence', {'fence': {}})['fence'][
        'attachments'
    ][0]
    return found


def fence_host(cloud: two_hosts.Deployment, host: ComputeHost, **words: Any) -> dict[str, Any]:
    found: dict[str, Any] = cloud.ask('POST', f'/v3/multiattach/hosts/{host.name}/fence', {'fence': words})['fence']
    return found


def check_silence(cloud: two_hosts.Deployment, volume_id: str, at_answer: bytes, other: facts.Writer) -> None:
    """See that a region stays what it was when the fence was answered, while the other one writes."""
    end = time.monotonic() + _WATCHED
    while time.monotonic() < end:
        other.wait_progress()
        assert cloud.read_volume(volume_id, FAR, SPAN) == at_answer


def check_complete(cloud: two_hosts.Deployment, volume_id: str, stamp: str, writes: int) -> None:
    """See that the volume holds each of the last writes that were answered."""
    found = set(facts.read_stamps(cloud.read_volume(volume_id, NEAR, SPAN)))
    assert {(stamp, number) for number in range(max(0, writes - SPAN), writes)} <= found


def wait_swept(cloud: two_hosts.Deployment, host: ComputeHost, guest: Guest, volume_id: str) -> None:
    wait_until(lambda: facts.find_disk(guest, volume_id, live=True) is None, 120, 'the disk is gone', 0.5)
    for what in (two_hosts.list_sessions, two_hosts.list_nodes, two_hosts.list_disks):
        wait_until(lambda what=what: what(host) == [], 120, f'{what.__name__} of {host.name}: none', 0.5)


def test_a_fenced_server_writes_no_more(cloud: two_hosts.Deployment, volume: str, impatient: ComputeHost) -> None:
    one, far = (cloud.attach(guest, volume) for guest in (cloud.one, cloud.far))
    with facts.Writer(cloud.one, one, NEAR, 'one').running() as near:
        with facts.Writer(cloud.far, far, FAR, 'far').running(fails=True):
            told = fence(cloud, cloud.far, volume)
            at_answer = cloud.read_volume(volume, FAR, SPAN)
            assert told['proof']['left'] == {'acl': False, 'account': False, 'sessions': []}
            assert [one['initiator'] for one in told['proof']['cut']['sessions']] == [impatient.initiator]
            assert list(cloud.list_exports()[volume].initiators) == [cloud.hosts[0].initiator]
            check_silence(cloud, volume, at_answer, near)
        # Its agent lives: it lets go by itself, though nothing can be written back.
        wait_swept(cloud, impatient, cloud.far, volume)
        assert cloud.read_volume(volume, FAR, SPAN) == at_answer
        # Its host was logged out with the fenced one, and has logged in again by itself.
        assert near.longest_pause() < 20, near.longest_pause()
    check_complete(cloud, volume, 'one', near.count())
    ident = cloud.find_attachment(cloud.far, volume)
    cloud.ask('DELETE', f'/v3/attachments/{ident}')
    # With an attachment made anew it has the volume as before.
    far = cloud.attach(cloud.far, volume)
    facts.share(cloud.far, far, cloud.one, one, 2000)
    for guest in (cloud.one, cloud.far):
        cloud.detach(guest, volume)


def test_a_host_that_was_cut_off_comes_back(cloud: two_hosts.Deployment, volume: str, impatient: ComputeHost) -> None:
    """Nobody reaches the host while it is fenced; what it finds when it is back is its own fence."""
    one, far = (cloud.attach(guest, volume) for guest in (cloud.one, cloud.far))
    with facts.Writer(cloud.one, one, NEAR, 'one').running() as near:
        with facts.Writer(cloud.far, far, FAR, 'far').running(fails=True):
            impatient.set_link(up=False)
            try:
                told = fence_host(cloud, impatient, reason='its cable was pulled')
                at_answer = cloud.read_volume(volume, FAR, SPAN)
                assert told['complete'], told
                check_silence(cloud, volume, at_answer, near)
            finally:
                impatient.set_link(up=True)
            check_silence(cloud, volume, at_answer, near)
        wait_swept(cloud, impatient, cloud.far, volume)
        with pytest.raises(two_hosts.Refused, match='is fenced since'):
            cloud.request_attach(cloud.far, volume)
    check_complete(cloud, volume, 'one', near.count())
    assert cloud.read_volume(volume, FAR, SPAN) == at_answer
    cloud.ask('POST', f'/v3/multiattach/hosts/{impatient.name}/unfence', {'unfence': {}})
    cloud.ask('DELETE', f'/v3/attachments/{cloud.find_attachment(cloud.far, volume)}')
    far = cloud.attach(cloud.far, volume)
    facts.share(cloud.far, far, cloud.one, one, 2000)
    for guest in (cloud.one, cloud.far):
        cloud.detach(guest, volume)
