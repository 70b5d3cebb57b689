# SPDX-License-Identifier: Apache-2.0
"""A deployment whose Ceph is in trouble, over REST: what users and operators see, and that nothing is lost."""

import contextlib
import re
import urllib.request

import pytest

from tests.deployments.noauth import make_connector
from tests.deployments.standalone import Standalone
from tests.functional.drivers.stores import RbdStore, wait_for_capacity
from tests.functional.drivers.targets.tgt.initiator import BLOCK, Session
from tests.functional.standalone.test_life import attach
from tests.initiators.wire import Claim
from tests.initiators.writer import Writer
from tests.testbed.polling import wait_until
from tests.testbed.servers import pick_port

from .waiting import SHORT


@pytest.fixture(scope='module')
def service(ceph, tmp_path_factory):
    """One for all tests: each leaves Ceph as it was."""
    folder = tmp_path_factory.mktemp('outages')
    store = RbdStore.open_pool(ceph, folder, rados_connect_timeout=SHORT)
    wait_for_capacity(store.backend)  # else there is no room for a volume
    made = Standalone(folder / 'state')
    made.store, made.metrics = store, f'127.0.0.1:{pick_port()}'
    with (made.state / 'multiattach.conf').open('a') as file:
        file.write(f'[metrics]\nlisten = {made.metrics}\n[volume]\nenabled_backends = fast\n[fast]\ndriver = rbd\n')
        file.write(''.join(f'{name} = {value}\n' for name, value in store.options.items()))
    made.start()
    yield made
    if made.child.poll() is None:
        assert made.stop() == 0
    ceph.remove_pool(store.pool)


def make(service, **wish):
    code, reply = service.ask('POST', '/v3/volumes', {'volume': {'size': 1, **wish}})
    assert code == 202
    return reply['volume']['id']


def find_error(service, volume_id):
    """What the last attempt at a volume's step ended with."""
    _, reply = service.ask('GET', f'/v3/multiattach/volumes/{volume_id}/explain')
    return (next(iter(reply.values()))['lease'] or {}).get('error') or ''


def find_message(service, volume_id):
    """What the volume's user is told."""
    _, reply = service.ask('GET', f'/v3/messages?resource_uuid={volume_id}')
    return ' '.join(one['user_message'] for one in reply['messages'])


def find_state(service):
    _, reply = service.ask('GET', '/v3/os-services?binary=cinder-volume')
    return [one['backend_state'] for one in reply['services']]


def find_attachment(service, ident):
    _, reply = service.ask('GET', f'/v3/attachments/{ident}')
    return reply['attachment']


def scrape(service):
    """Read the metrics of Ceph and of backends, by name with labels."""
    with urllib.request.urlopen(f'http://{service.metrics}/metrics', timeout=10) as reply:
        lines = reply.read().decode().splitlines()
    found = (re.fullmatch(r'multiattach_((?:ceph|backend)_\w+\{.*\}) (\S+)', line) for line in lines)
    return {one[1]: float(one[2]) for one in found if one}


@contextlib.contextmanager
def dead_osd(ceph):
    ceph.kill_daemon('osd.0')
    try:
        yield
    finally:
        ceph.start_daemon('osd.0')


def start_writer(service, volume_id, host):
    """Attach a volume, and write to it all the time."""
    code, reply = attach(service, volume_id, host)
    assert code == 200
    info = reply['attachment']['connection_info']
    return Writer(Claim.of(info, make_connector(host)['initiator'], timeout=120), count=64, give_up=120).start()


def finish(service, writer, volume_id):
    """See that a writer goes on, and that the image has all that it was told is written."""
    writer.await_more(50, 90)
    writer.stop(90)
    assert writer.error is None
    assert writer.verify() == []
    assert writer.verify(lambda number: service.store.read(volume_id, number * 4096, 4096)) == []


def test_a_deployment_with_volumes_on_ceph(service):
    store, volume_id = service.store, service.make_volume()
    sessions = []
    for host in ('a', 'b'):
        code, reply = attach(service, volume_id, host)
        assert code == 200
        info = reply['attachment']['connection_info']
        words = (info['target_portal'], info['target_iqn'], make_connector(host)['initiator'])
        sessions.append(Session(*words, info['auth_username'], info['auth_password']))
    sessions[0].write(11, b'shared'.ljust(BLOCK))
    assert sessions[1].read(11) == store.read(volume_id, 11 * BLOCK, BLOCK) == b'shared'.ljust(BLOCK)
    for session in sessions:
        session.close()
    _, reply = service.ask('GET', f'/v3/attachments?volume_id={volume_id}')
    for one in reply['attachments']:
        assert service.ask('DELETE', f'/v3/attachments/{one["id"]}')[0] == 200
    # What Ceph does not answer is begun again when it does.
    doomed = make(service)
    service.wait(lambda: service.status(doomed) == 'available')
    with store.ceph.frozen('osd.0'):
        new, clone = make(service), make(service, size=2, source_volid=volume_id)
        assert service.ask('DELETE', f'/v3/volumes/{doomed}')[0] == 202
        for ident in (new, clone, doomed):
            service.wait(lambda ident=ident: 'The storage does not answer: Ceph' in find_error(service, ident), 60)
        assert [service.status(ident) for ident in (new, clone, doomed)] == ['creating', 'creating', 'deleting']
    service.wait(lambda: service.status(new) == service.status(clone) == 'available', 90)
    assert store.read(clone, 11 * BLOCK, 6) == b'shared'
    for ident in (volume_id, clone, new):
        assert service.ask('DELETE', f'/v3/volumes/{ident}')[0] == 202
    service.wait(lambda: not {volume_id, clone, new, doomed} & {name[7:] for name in store.names()}, 90)


def test_a_monitor_that_hangs(service):
    volume_id = service.make_volume()
    writer = start_writer(service, volume_id, 'a')
    assert find_state(service) == ['up']
    with service.store.ceph.frozen('mon.a'):
        service.wait(lambda: find_state(service) == ['down'])
        assert [value for name, value in scrape(service).items() if name.startswith('backend_up')] == [0]
        refused = make(service)
        service.wait(lambda: service.status(refused) == 'error')
        assert 'No volume backend has storage that answers.' in find_message(service, refused)
        writer.await_more(50)  # what is open needs no monitor
    service.wait(lambda: find_state(service) == ['up'], 90)
    finish(service, writer, volume_id)
    numbers = scrape(service)
    assert [value for name, value in numbers.items() if name.startswith('backend_up')] == [1]
    assert numbers['ceph_seconds_count{call="make",outcome="ok"}'] >= 1
    assert numbers['ceph_seconds_count{call="tell",outcome="unknown"}'] >= 1
    # Once when it begins and once when it is over, and not with each heartbeat.
    log = (service.state / 'multiattach.log').read_text()
    assert log.count('The storage of') < 3 * log.count('works again') <= 9


@pytest.mark.slow
def test_an_osd_that_is_killed(service):
    volume_id, ceph = service.make_volume(), service.store.ceph
    writer = start_writer(service, volume_id, 'a')
    writer.await_more(50)
    with dead_osd(ceph):
        new = make(service)
        service.wait(lambda: 'The storage does not answer: Ceph' in find_error(service, new), 60)
        code, reply = attach(service, volume_id, 'b')
        assert code == 504
        text = reply['computeFault']['message']
        assert f'The storage does not answer: Ceph did not open image volume-{volume_id}' in text
        assert service.status(new) == 'creating'
        assert writer.is_alive()
    # The writer of whom nobody was told is admitted, as it was asked for, by the same attachment.
    ident = re.search(r'Attachment: ([0-9a-f-]+)', text)[1]
    service.wait(lambda: find_attachment(service, ident)['connection_info'].get('target_iqn'), 120)
    service.wait(lambda: service.status(new) == 'available', 120)
    finish(service, writer, volume_id)


def test_a_pool_that_fills_up(service):
    volume_id, store = service.make_volume(), service.store
    writer = start_writer(service, volume_id, 'a')
    writer.await_more(50)
    doomed = make(service)
    service.wait(lambda: service.status(doomed) == 'available')
    store.limit(1)
    refused = make(service)
    service.wait(lambda: service.status(refused) == 'error', 60)
    assert find_message(service, refused)
    assert service.ask('DELETE', f'/v3/volumes/{doomed}')[0] == 202
    service.wait(lambda: f'volume-{doomed}' not in str(store.names()), 60)
    store.limit(0)
    finish(service, writer, volume_id)
    made = []

    def is_made():
        made.append(make(service))
        service.wait(lambda: service.status(made[-1]) != 'creating')
        return service.status(made[-1]) == 'available'

    wait_until(is_made, 60, 'room', 1)


def test_a_key_that_is_another_one_now(service):
    volume_id, store = service.make_volume(), service.store
    assert service.stop() == 0
    entity = f'client.{store.options["rbd_user"]}'
    right = store.ceph.ask('auth get', entity=entity)[0]['key']
    keyring = store.ceph.folder / f'{entity}.keyring'
    keyring.write_text(f'[{entity}]\nkey = AQDn0YBm8UjbHhAAyhxx0000000000000000zw==\n')
    service.spawn()
    said = service.child.communicate(timeout=60)[0]
    assert service.child.returncode == 2
    assert f'The monitors refuse {entity}' in said
    assert 'AQDn0' not in said + (service.state / 'multiattach.log').read_text()
    keyring.write_text(f'[{entity}]\nkey = {right}\n')
    service.start()
    assert service.status(volume_id) == 'available'
