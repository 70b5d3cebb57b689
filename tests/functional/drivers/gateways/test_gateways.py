# SPDX-License-Identifier: Apache-2.0
"""Two gateways export one image: both know the same, a fence is true at both, and one may die or hang."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from multiattach.domain.connection import wwn
from tests.deployments.gateways import NAMES, Deployment, Gateway
from tests.functional.cluster.client import Client, Place
from tests.functional.drivers.gateways.paths import SPAN, PathWriter, login
from tests.functional.drivers.targets.tgt.initiator import BLOCK, IoFailed, LoginRefused
from tests.testbed.polling import wait_until

GIB = 1 << 30
FAR = 1000  # first block of another writer


@contextlib.contextmanager
def attached(client: Client, volume: str, *hosts: str) -> Iterator[list[Place]]:
    """Have a volume attached to servers of some hosts."""
    places = [Place(volume, host) for host in hosts]
    for place in places:
        client.attach(place)
    yield places
    for place in places:
        client.detach(place)
    assert client.ask('DELETE', f'/v3/volumes/{volume}')[0] == 202


def portals(cloud: Deployment) -> list[str]:
    return sorted(one.portal for one in cloud.gateways)


def wait_told(client: Client, place: Place, wanted: list[str]) -> None:
    """Wait until the API tells of an attachment that it is found at some portals; that comes after the export."""

    def told() -> list[str]:
        info = client.get(f'/v3/attachments/{place.ident}')['attachment']['connection_info']
        return sorted(info['target_portals'])

    wait_until(lambda: told() == sorted(wanted), 30, lambda: f'{wanted}, not {told()}', 0.1)


def list_findings(client: Client) -> list[tuple[str, str]]:
    code, reply = client.ask('POST', '/v3/multiattach/doctor', {'doctor': {}})
    assert code == 200, reply
    return [(one['kind'], one['about']) for one in reply['doctor']['findings']]


def test_both_export_what_is_attached(cloud: Deployment, client: Client, volume: str) -> None:
    with attached(client, volume, 'a', 'b') as places:
        for place in places:
            info = place.info
            assert sorted(info['target_portals']) == portals(cloud)
            assert info['target_portal'] == info['target_portals'][0]
            assert info['target_iqns'] == [info['target_iqn']] * 2
            assert info['target_luns'] == [info['target_lun']] * 2
        assert cloud.exports(volume) == dict.fromkeys(NAMES, 'exported')
        names = sorted(place.connector['initiator'] for place in places)
        assert [one.list_targets() for one in cloud.gateways] == [{volume: names}] * 2
        with login(places[0], cloud.left.portal) as left, login(places[1], cloud.right.portal) as right:
            data = os.urandom(BLOCK)
            left.write(7, data)
            assert right.read(7) == cloud.read(volume, 7 * BLOCK, BLOCK) == data
            # One name by which a host knows that both paths lead to one volume.
            assert all(bytes.fromhex(wwn(volume)) in one.vital_page(0x83) for one in (left, right))
        assert client.ask('POST', f'/v3/volumes/{volume}/action', {'os-extend': {'new_size': 2}})[0] == 202
        wait_until(lambda: client.status(volume) == 'in-use', 30, 'the new size')
        for gateway in cloud.gateways:
            with login(places[0], gateway.portal) as session:
                assert session.capacity() == 2 * GIB
        client.detach(places[0])
        assert [one.list_targets() for one in cloud.gateways] == [{volume: [names[1]]}] * 2
        client.attach(places[0])
    assert cloud.exports(volume) == {}
    wait_until(lambda: client.ask('GET', f'/v3/volumes/{volume}')[0] == 404, 30, 'the end of the volume')


def fence(client: Client, place: Place) -> dict[str, Any]:
    code, reply = client.ask('POST', f'/v3/multiattach/attachments/{place.ident}/fence', {'fence': {}})
    assert code == 200, reply
    proof: dict[str, Any] = reply['fence']['attachments'][0]['proof']
    return proof


def test_a_fence_cuts_at_both(cloud: Deployment, client: Client, volume: str) -> None:
    """While the one that is cut off writes through both, and another one as well."""
    with attached(client, volume, 'a', 'b') as (one, other), contextlib.ExitStack() as writing:
        cut = [
            writing.enter_context(PathWriter(one, [gateway.portal], number * SPAN))
            for number, gateway in enumerate(cloud.gateways)
        ]
        near = writing.enter_context(PathWriter(other, portals(cloud), FAR))
        proof = fence(client, one)
        at_answer = cloud.read(volume, 0, 2 * SPAN * BLOCK)
        acknowledged = [writer.acknowledged for writer in cut]
        assert proof['scope'] == 'target'
        assert sorted(proof['gateways']) == [f'{name}@fast' for name in NAMES]
        for gateway in cloud.gateways:
            its = proof['gateways'][f'{gateway.name}@fast']
            assert its['portal'] == gateway.portal
            assert its['cut']['acl'], its
            assert one.connector['initiator'] in [session['initiator'] for session in its['cut']['sessions']]
            assert its['left'] == {'acl': False, 'account': False, 'sessions': []}
        near.wait_progress(50)
        for writer, before, gateway in zip(cut, acknowledged, cloud.gateways, strict=True):
            assert writer.acknowledged == before
            with contextlib.suppress(LoginRefused):
                login(one, gateway.portal)
                raise AssertionError
        assert cloud.read(volume, 0, 2 * SPAN * BLOCK) == at_answer
        assert near.failure is None
        near.check(lambda: cloud.read(volume, FAR * BLOCK, SPAN * BLOCK))
        assert set(cloud.states().values()) == {'serving'}


def test_a_gateway_that_hangs_is_shut_out_by_a_fence(cloud: Deployment, client: Client, volume: str) -> None:
    """All of its host stands still; what its tgtd had in hand does not land when it goes on."""
    right = cloud.right
    assert right.process is not None
    with attached(client, volume, 'a', 'b') as (one, other):
        far = login(one, right.portal, 120)
        far.write(0, b'first'.ljust(BLOCK))
        with PathWriter(other, [cloud.left.portal], FAR) as near:
            pids = [right.process.pid, right.tgtd]
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            ended: list[object] = []

            def write() -> None:
                try:
                    far.write(0, b'late'.ljust(BLOCK))
                except IoFailed as exc:
                    ended.append(exc)

            writing = threading.Thread(target=write)
            writing.start()
            time.sleep(0.5)  # it is in the tgtd's hands, which stand still
            try:
                proof = fence(client, one)
                its = proof['gateways']['right@fast']
                assert its['blocklisted'], proof
                assert its['osdmap_epoch'] > 0
                assert proof['gateways']['left@fast']['left']['sessions'] == []
                assert cloud.states() == {'left': 'serving', 'right': 'lost'}
                assert cloud.exports(volume) == {'left': 'exported', 'right': 'lost'}

                def explain() -> dict[str, Any] | None:  # a busy machine does not read a target in seven seconds
                    found = client.get(f'/v3/multiattach/volumes/{volume}/explain?live=true')['explanation']
                    return found if found['live'] and found['live']['target'] else None

                explained = wait_until(explain, 60, 'a target that is read')
                assert explained is not None
                assert explained['live']['target']['initiators'] == [other.connector['initiator']]
                assert [(one['gateway'], one['gateway_state'], one['state']) for one in explained['gateways']] == [
                    ('left@fast', 'serving', 'exported'),
                    ('right@fast', 'lost', 'lost'),
                ]
                near.wait_progress()
                with login(other, cloud.left.portal) as session:
                    session.write(0, b'after'.ljust(BLOCK))
            finally:
                os.kill(pids[1], signal.SIGCONT)
            writing.join(60)
            assert ended, 'the late write was acknowledged'
            near.wait_progress(50)
            assert cloud.read(volume, 0, 5) == b'after'
            wait_told(client, other, [cloud.left.portal])
            # The worker goes on as if nothing had been; it finds that it was shut out, and begins anew.
            os.kill(pids[0], signal.SIGCONT)
            cloud.wait_exported(volume)
            assert right.tgtd != pids[1]
            assert right.list_targets() == {volume: [other.connector['initiator']]}
            with login(other, right.portal) as session:
                assert session.read(0)[:5] == b'after'
                session.write(1, b'again'.ljust(BLOCK))
        near.check(lambda: cloud.read(volume, FAR * BLOCK, SPAN * BLOCK))
        assert cloud.read(volume, BLOCK, 5) == b'again'
        wait_told(client, other, portals(cloud))
        # What it sent last may be on its way; what it runs now is served.
        assert set(its['blocklisted']) <= cloud.list_blocked()


@pytest.mark.slow
def test_a_tgtd_that_is_killed_comes_back(cloud: Deployment, client: Client, volume: str) -> None:
    with attached(client, volume, 'a') as (place,), PathWriter(place, portals(cloud), 0) as writer:
        for gateway in cloud.gateways:
            before, opened = gateway.tgtd, cloud.list_watchers(volume)
            os.kill(before, signal.SIGKILL)
            wait_until(lambda gateway=gateway: has_target(gateway, volume), 30, 'the export', 0.1)
            assert gateway.tgtd != before
            # What the killed one had sent, and is on its way, is refused by now; the other one is served.
            (dead,) = opened & cloud.list_blocked()
            assert dead not in cloud.list_watchers(volume)
            writer.wait_progress()
        assert set(cloud.states().values()) == {'serving'}
    writer.check(lambda: cloud.read(volume, 0, SPAN * BLOCK))


def has_target(gateway: Gateway, volume: str) -> bool:
    """Tell whether a gateway lets anybody in."""
    try:
        return bool(gateway.list_targets().get(volume))
    except Exception:  # it is not up yet
        return False


@pytest.mark.slow
def test_a_worker_that_is_killed_is_lost_and_comes_back(cloud: Deployment, client: Client, volume: str) -> None:
    right = cloud.right
    with attached(client, volume, 'a', 'b') as (place, other):
        with PathWriter(place, [right.portal, cloud.left.portal], 0) as writer:
            right.kill()  # its tgtd dies with it
            cloud.wait_state(right, 'lost')
            writer.wait_progress()
            # What is asked for now does not wait for it, and says where the volume is.
            client.detach(other)
            client.attach(other)
            assert other.info['target_portals'] == [cloud.left.portal]
            wait_told(client, place, [cloud.left.portal])
            lost = ('lost_gateway', f'right@fast at {right.portal}')
            wait_until(lambda: lost in list_findings(client), 60, 'the finding', 0.2)
            right.restart()
            cloud.wait_exported(volume)
            assert right.list_targets() == cloud.left.list_targets()
            writer.wait_progress()
        writer.check(lambda: cloud.read(volume, 0, SPAN * BLOCK))
        for one in (place, other):
            wait_told(client, one, portals(cloud))
        assert not cloud.list_watchers(volume) & cloud.list_blocked()
