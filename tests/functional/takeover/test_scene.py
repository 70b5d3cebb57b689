# SPDX-License-Identifier: Apache-2.0
"""A cloud moves from a real Cinder while hosts write: there, back, and there again for good."""

import contextlib
import json
import os
import time
import uuid

import pytest

from tests.benchmarks.wire import Endpoint, RequestError, Wire
from tests.deployments.programs import BIN, Program, make_environment
from tests.functional.takeover.cinder_service import PROJECT, FileCinder
from tests.initiators.ledger import BLOCK
from tests.initiators.wire import Claim, LoginRefused
from tests.initiators.writer import Writer
from tests.testbed import processes
from tests.testbed.polling import wait_until
from tests.testbed.servers import pick_port
from tests.testbed.tgtd import Tgtd

OURS = 'new@files'
_PAUSE = 0.02  # s between two stamps of one writer


class Cloud:
    """An endpoint, and what clients such as Nova do there.

    :param network: where the endpoint is, None for here.
    :param patience: s that something may take.
    """

    def __init__(self, endpoint, network=None, patience=60):
        self._endpoint = endpoint
        self._inside = network.inside if network else contextlib.nullcontext
        self._patience = patience

    def call(self, method, path, body=None, **more):
        with self._inside(), contextlib.closing(Wire(self._endpoint, self._patience)) as wire:
            return wire.call(method, path, body, **more)

    def show(self, volume):
        return self.call('GET', f'/volumes/{volume}')['volume']

    def make_type(self, name):
        specs = {'multiattach': '<is> True'}
        return self.call('POST', '/types', {'volume_type': {'name': name, 'extra_specs': specs}})['volume_type']['id']

    def make_volume(self, kind, **more):
        body = {'volume': {'size': 1, 'volume_type': kind, 'name': 'data', 'metadata': {'colour': 'blue'}, **more}}
        ident = self.call('POST', '/volumes', body)['volume']['id']
        self.wait(ident, 'available')
        return ident

    def wait(self, volume, status):
        wait_until(lambda: self.show(volume)['status'] == status, self._patience, lambda: str(self.show(volume)), 0.2)

    def make_snapshot(self, volume, **more):
        body = {'snapshot': {'volume_id': volume, **more}}
        ident = self.call('POST', '/snapshots', body)['snapshot']['id']

        def is_there():
            return self.call('GET', f'/snapshots/{ident}')['snapshot']['status'] == 'available'

        wait_until(is_there, self._patience, 'the snapshot', 0.2)
        return ident

    def delete(self, path):
        """Delete something, and wait until it is gone."""
        self.call('DELETE', path)
        wait_until(lambda: not self.has(path), self._patience, f'the end of {path}', 0.2)

    def has(self, path):
        try:
            self.call('GET', path)
        except RequestError as exc:
            return exc.status != 404
        return True

    def attach(self, volume, host):
        """As Nova and its host do; return the attachment and what the host logs in with."""
        connector = {
            'host': host,
            'initiator': f'iqn.1994-05.com.example:{host}',
            'ip': '127.0.0.1',
            'mountpoint': '/dev/vdb',
        }
        body = {'attachment': {'volume_uuid': volume, 'instance_uuid': str(uuid.uuid4()), 'connector': connector}}
        made = self.call('POST', '/attachments', body)['attachment']
        self.call('POST', f'/attachments/{made["id"]}/action', {'os-complete': None})
        return made['id'], Claim.of(made['connection_info'], connector['initiator'])

    def detach(self, attachment):
        self.call('DELETE', f'/attachments/{attachment}')

    def act(self, volume, **action):
        self.call('POST', f'/volumes/{volume}/action', action)


class Service:
    """This service: an API and a volume worker, with the tgtd and the files that Cinder had."""

    mapping = f'old@files#files={OURS}'
    wrap = staticmethod(list)  # makes a command run where the service does

    def __init__(self, folder, cinder, tgtd):
        folder.mkdir()
        self.folder = folder
        self.port = pick_port()
        conf = folder / 'multiattach.conf'
        conf.touch(0o600)
        conf.write_text(
            f'[DEFAULT]\nhost = new\nreport_interval = 1\nservice_down_time = 8\nstate_path = {folder}/state\n'
            f'transport_url = {cinder.transport_url}\n'
            f'[database]\nconnection = {cinder.make_database("multiattach")}\n'
            '[oslo_messaging_rabbit]\nrabbit_quorum_queue = true\namqp_durable_queues = true\n'
            '[volume]\nenabled_backends = files\n'
            f'[files]\ndriver = file\ndirectory = {cinder.folder}/state/volumes\n'
            f'[tgt]\nportal = {tgtd.portal}\ncontrol_port = {tgtd.control_port}\n'
            f'[coordination]\nbackend_url = file://{folder}/locks\n'
            f'[api]\nauth_strategy = noauth\nlisten_port = {self.port}\n'
            '[reconcile]\ninterval = 2\n'
        )
        self.conf = conf
        self.api = Program('multiattach-api', conf, 'multiattach-api is ready')
        worker = folder / 'worker.conf'
        worker.touch(0o600)
        worker.write_text('')
        self.worker = Program('multiattach-volume', worker, ' is ready', common=conf)
        self.cloud = Cloud(
            Endpoint(f'http://127.0.0.1:{self.port}/v3', f'admin:{PROJECT}', 60, {'X-Service-Roles': 'service'})
        )
        (folder / 'url').write_text(cinder.database_url)
        self.manage('db', 'sync')

    def manage(self, *words, status=0):
        """Call multiattach-manage; return what it prints."""
        done = processes.subprocess.run(
            self.wrap([str(BIN / 'multiattach-manage'), '--config-file', str(self.conf), *words]),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env=make_environment(),
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    def cinder(self, verb, *words, status=0):
        there = ('--cinder-connection-file', str(self.folder / 'url'), '--backend', self.mapping)
        return self.manage('cinder', verb, *(there if verb in ('check', 'import') else ()), *words, status=status)

    def start(self):
        for program in (self.api, self.worker):
            program.start()
        for program in (self.api, self.worker):
            program.wait_ready()

    def stop(self):
        for program in (self.worker, self.api):
            program.stop()

    def wait_down(self):
        """Wait until nobody takes the worker for alive."""
        wait_until(
            lambda: {one['state'] for one in json.loads(self.manage('service', 'list', '-f', 'json'))} == {'down'},
            60,
            'workers that are down',
            1,
        )


def check_clean(service):
    """There is no drift: the doctor says so, and the reconciler has had time for several rounds."""
    time.sleep(5)
    assert json.loads(service.manage('doctor', '-f', 'json'))['left'] == 0


def check_calm(writers):
    """Nobody has lost a session, nor seen an error; and each goes on."""
    for writer in writers:
        writer.await_more(20)
        assert (writer.error, writer.logins, writer.refusals) == (None, 1, 0)


@pytest.mark.slow
def test_a_cloud_moves(tmp_path):
    with contextlib.ExitStack() as stack:
        tgtd = stack.enter_context(Tgtd(tmp_path / 'tgtd', port=pick_port()))
        cinder = stack.enter_context(FileCinder(_make(tmp_path / 'cinder'), tgtd))
        try:
            _move(stack, tmp_path, cinder, tgtd)
        except BaseException:
            for log in sorted(tmp_path.glob('*/*.log')):
                print(f'== {log}\n{processes.tail(log, 3000)}')
            raise


def _make(folder):
    folder.mkdir()
    return folder


def _move(stack, tmp_path, cinder, tgtd):
    old = Cloud(cinder.endpoint)
    kind = old.make_type('shared')
    shared, single, idle, doomed = (old.make_volume('shared') for _ in range(4))
    name = str(uuid.uuid4())
    cinder.name_storage(single, name)  # it was migrated
    held = {host: old.attach(volume, host) for host, volume in (('h1', shared), ('h2', shared), ('h3', single))}
    writers = {}
    for number, (host, (_attachment, claim)) in enumerate(held.items()):
        writers[host] = Writer(claim, first=number * 256, depth=4, pause=_PAUSE).start()
        stack.callback(writers[host].stop)

    # -- beside Cinder: this service starts, looks, and touches nothing --------------------------
    service = Service(tmp_path / 'service', cinder, tgtd)
    stack.callback(service.stop)
    service.start()
    told = service.cinder('check')
    assert 'volume               4: 4 new' in told
    assert 'cannot be imported' not in told
    assert 'migrated 1 volumes in use' in told
    assert 'Cinder runs' in service.cinder('import', status=1)
    time.sleep(6)
    check_calm(writers.values())

    # -- there -----------------------------------------------------------------------------------
    service.stop()
    cinder.halt()
    time.sleep(61)  # Cinder is known to be stopped
    service.cinder('import')
    service.start()
    new = service.cloud
    assert new.show(shared)['status'] == 'in-use'
    assert {one['attachment_id'] for one in new.show(shared)['attachments']} == {held['h1'][0], held['h2'][0]}
    assert new.show(idle)['metadata'] == {'colour': 'blue'}
    assert new.show(single)['os-vol-mig-status-attr:name_id'] == name
    check_clean(service)
    check_calm(writers.values())

    # -- back ------------------------------------------------------------------------------------
    assert 'stop multiattach-volume there first' in service.cinder('undo', status=1)
    service.stop()
    service.wait_down()
    service.cinder('undo')
    cinder.resume()
    assert {one['attachment_id'] for one in old.show(shared)['attachments']} == {held['h1'][0], held['h2'][0]}
    again, claim = old.attach(shared, 'h4')
    back = Writer(claim, first=3 * 256, depth=4, pause=_PAUSE).start()
    back.await_more(20)
    assert back.stop().verify() == []
    old.detach(again)
    check_calm(writers.values())

    # -- there for good --------------------------------------------------------------------------
    cinder.halt()
    service.cinder('import', '--force')
    service.start()
    check_clean(service)
    check_calm(writers.values())
    _use(stack, service, new, held, writers, (shared, idle, doomed), kind)
    for writer in writers.values():
        assert writer.stop().error is None
        volume = name if writer is writers['h3'] else shared
        path = cinder.folder / f'state/volumes/volume-{volume}'
        with path.open('rb') as file:
            assert writer.verify(lambda number, file=file: os.pread(file.fileno(), BLOCK, number * BLOCK)) == []
    print('longest pauses', {host: round(writer.longest_pause, 3) for host, writer in writers.items()})


def _use(stack, service, new, held, writers, volumes, kind):
    """Attach, detach, extend, retype, delete: what was imported is as what was made here."""
    shared, idle, doomed = volumes
    attachment, claim = new.attach(shared, 'h5')
    writers['h5'] = Writer(claim, first=4 * 256, depth=4, pause=_PAUSE).start()
    stack.callback(writers['h5'].stop)
    check_calm(writers.values())
    assert claim.user != held['h1'][1].user
    # One sharer goes; nobody else notices.
    writers['h2'].stop()
    new.detach(held['h2'][0])
    check_calm([writers['h1'], writers['h3'], writers['h5']])
    with pytest.raises(LoginRefused):
        Writer(held['h2'][1], comes_back=False).start()
    check_clean(service)
    # What nobody uses.
    other = new.make_type('other')
    new.act(idle, **{'os-retype': {'new_type': 'other', 'migration_policy': 'never'}})
    wait_until(lambda: new.show(idle)['volume_type'] == 'other', 30, 'the retype')
    new.act(idle, **{'os-extend': {'new_size': 2}})
    new.wait(idle, 'available')
    assert new.show(idle)['size'] == 2
    new.delete(f'/volumes/{doomed}')
    lone, claim = new.attach(idle, 'h6')
    Writer(claim).start().stop()
    new.detach(lone)
    assert other != kind
    # The last step, while hosts write.
    assert 'no way back' in service.cinder('finish')
    service.manage('doctor', '--fix')
    check_clean(service)
    check_calm([writers['h1'], writers['h3'], writers['h5']])
    # Online: tgtd ends sessions for that, and they come back with what Nova has stored.
    new.act(shared, **{'os-extend': {'new_size': 2}})
    new.wait(shared, 'in-use')
    for writer in (writers['h1'], writers['h5']):
        writer.await_more(50)
        assert writer.error is None
    check_clean(service)
    new.detach(attachment) if not writers['h5'].stop().error else None
    check_clean(service)
