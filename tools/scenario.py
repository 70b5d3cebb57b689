# SPDX-License-Identifier: Apache-2.0
"""One volume, two servers: from the REST call to shared bytes, with real parts and the standard client.

It starts multiattach-standalone and two small guests under a private libvirtd, attaches one volume to
both with the ``openstack`` client, lets them write and read, detaches, and leaves nothing behind.
With ``--backend rbd`` the volume is an image of a private Ceph, which it starts, too.
"""

import argparse
import concurrent.futures
import contextlib
import json
import os
import pathlib
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from multiattach.drivers.ceph.pool import MONITORS
from tests.testbed import processes
from tests.testbed.ceph import Ceph
from tests.testbed.errors import TestbedError
from tests.testbed.guest import Guest
from tests.testbed.libvirtd import Libvirtd
from tests.testbed.polling import wait_until

BIN = pathlib.Path(sys.executable).parent
STARTED = time.monotonic()
NAMES = ('server1', 'server2')


class ScenarioError(Exception):
    """A step did not end as it should."""


def tell(text: str) -> None:
    print(f'\n[{time.monotonic() - STARTED:5.1f} s] {text}', flush=True)


def find_port() -> int:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return int(probe.getsockname()[1])


class Cloud:
    """The standard client, told nothing but the name of the cloud."""

    def __init__(self, clouds: pathlib.Path) -> None:
        self._env = {**os.environ, 'OS_CLIENT_CONFIG_FILE': str(clouds), 'PYTHONWARNINGS': 'ignore'}

    def run(self, *words: str, show: bool = True, **options: Any) -> str:
        command = ['openstack', '--os-cloud', 'multiattach', *words]
        if show:
            print(f'$ {shlex.join(command)}', flush=True)
        done = subprocess.run(
            [str(BIN / 'openstack'), *command[1:]],
            env=self._env,
            text=True,
            capture_output=True,
            check=False,
            timeout=120,
            **options,
        )
        if done.returncode:
            raise ScenarioError(f'{shlex.join(command)} failed: {done.stderr.strip()}')
        if show and done.stdout.strip():
            print(done.stdout.rstrip(), flush=True)
        return done.stdout

    def ask(self, *words: str) -> Any:
        return json.loads(self.run(*words, '-f', 'json', show=False))

    def wait(self, what: str, question: Callable[[], Any], seconds: float = 60) -> Any:
        deadline = time.monotonic() + seconds
        while not (answer := question()):
            if time.monotonic() > deadline:
                raise ScenarioError(f'{what}: not in {seconds:.0f} s')
        return answer


class FileStore:
    """Where volumes are kept: files in the folder of the service, exported by a private tgtd."""

    settings = ''

    def __init__(self, state: pathlib.Path) -> None:
        self._state = state

    def show_access(self) -> None:
        """Show who may use the volume, and how."""
        tell('tgtd exports the volume to both, each with credentials of its own')
        print(self._list_targets().rstrip())

    def show(self, volume_id: str) -> None:
        """Show a volume as the storage has it."""

    def list_left(self) -> list[str]:
        files = [*self._list_volumes(), *map(str, (self._state / 'targets').glob('*'))]
        targets = self._list_targets().strip()
        return [*files, targets] if targets else files

    def _list_volumes(self) -> list[str]:
        return [str(path) for path in (self._state / 'volumes').iterdir()]

    def _list_targets(self) -> str:
        """Ask tgtadm about the private tgtd, whose number is in the log."""
        port = None
        for line in (self._state / 'multiattach.log').read_text().splitlines():
            if 'control port' in line:
                port = line.split('control port ')[1].split(',')[0]
        if port is None:
            raise ScenarioError('the control port of tgtd is not in the log')
        return processes.run(['tgtadm', '-C', port, '--lld', 'iscsi', '--op', 'show', '--mode', 'target'])


class CephStore(FileStore):
    """Images of a pool of Ceph, seen by its own command line, and exported by a private tgtd."""

    _POOL = _USER = 'multiattach'
    _WATCHERS = 'its watcher is tgtd'

    def __init__(self, state: pathlib.Path, ceph: Ceph) -> None:
        super().__init__(state)
        ceph.make_pool(self._POOL)
        self._conf = ceph.make_user(self._USER, f'profile rbd pool={self._POOL}')
        # A new pool has no room before the manager knows of it.
        wait_until(lambda: _find_room(ceph, self._POOL), 60, 'figures of the pool', 0.2)
        self.settings = (
            '[volume]\nenabled_backends = ceph\n[ceph]\ndriver = rbd\n'
            f'rbd_pool = {self._POOL}\nrbd_user = {self._USER}\nrbd_ceph_conf = {self._conf}\n'
        )

    def show(self, volume_id: str) -> None:
        tell(f'The volume is an image; {self._WATCHERS}')
        for words in (('ls', '--long', self._POOL), ('status', f'{self._POOL}/volume-{volume_id}')):
            print(f'$ {shlex.join(["rbd", "-n", f"client.{self._USER}", *words])}\n{self._ask(*words)}', flush=True)

    def _ask(self, *words: str) -> str:
        return processes.run(['rbd', '-c', self._conf, '-n', f'client.{self._USER}', *words], timeout=60).rstrip()

    def _list_volumes(self) -> list[str]:
        return [*self._ask('ls', self._POOL).split(), *self._ask('trash', 'ls', self._POOL).splitlines()]


class NativeStore(CephStore):
    """The same images, opened by the servers' QEMU itself."""

    _WATCHERS = "its watchers are the servers' QEMU"

    def __init__(self, state: pathlib.Path, ceph: Ceph) -> None:
        super().__init__(state, ceph)
        self._ceph = ceph
        caps = ['mon', MONITORS, 'osd', f'profile rbd pool={self._POOL}']
        ceph.ask('auth caps', entity=f'client.{self._USER}', caps=caps)
        self.settings += 'target_driver = rbd\n'

    def show_access(self) -> None:
        tell('Ceph has a user for each attachment, which reaches this image and nothing else')
        for user in self._list_users():
            print(f'  {user["entity"]}\n    {user["caps"]["osd"]}', flush=True)

    def list_left(self) -> list[str]:
        return [*self._list_volumes(), *(user['entity'] for user in self._list_users())]

    def _list_users(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._ceph.ask('auth ls')['auth_dump']
        return [user for user in found if user['entity'].startswith(f'client.{self._USER}-')]


def _find_room(ceph: Ceph, pool: str) -> bool:
    return any(one['name'] == pool and one['stats']['max_avail'] for one in ceph.ask('df')['pools'])


@contextlib.contextmanager
def open_store(backend: str, folder: pathlib.Path, *, native: bool) -> Iterator[FileStore]:
    if backend == 'file':
        yield FileStore(folder / 'state')
        return
    tell('A private Ceph: monitor, manager, one OSD, a pool and a user for the volumes')
    with Ceph(folder / 'ceph') as ceph:
        yield (NativeStore if native else CephStore)(folder / 'state', ceph)


@contextlib.contextmanager
def run_standalone(
    state: pathlib.Path, libvirt_uri: str, settings: str
) -> Iterator[tuple[Cloud, subprocess.Popen[str]]]:
    port, portal = find_port(), find_port()
    state.mkdir(parents=True)
    config = state / 'multiattach.conf'
    config.write_text(
        '[DEFAULT]\nreport_interval = 1\n'
        f'[tgt]\nportal = 127.0.0.1:{portal}\n'
        f'[host_agent]\nenabled = yes\nconnector = qemu\nlibvirt_uri = {libvirt_uri}\n'
        f'{settings}'
    )
    command = [
        str(BIN / 'multiattach-standalone'),
        '--state-dir',
        str(state),
        '--listen',
        f'127.0.0.1:{port}',
        '--config-file',
        str(config),
    ]
    print(f'$ {shlex.join(["multiattach-standalone", *command[1:]])} &', flush=True)
    child = subprocess.Popen(command, text=True, stdout=subprocess.PIPE, env={**os.environ, 'PYTHONWARNINGS': 'ignore'})
    assert child.stdout is not None
    try:
        for line in child.stdout:
            print(f'  {line.rstrip()}', flush=True)
            if line.startswith('Try:'):
                break
        else:
            raise ScenarioError(f'multiattach-standalone ended with status {child.wait()}')
        yield Cloud(state / 'clouds.yaml'), child
    finally:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(30)
        except subprocess.TimeoutExpired:
            child.kill()
            raise


def start_guests(daemon: Libvirtd, folder: pathlib.Path, cache: pathlib.Path | None) -> list[Guest]:
    connection = daemon.connect()
    guests = [Guest.define(connection, name, folder / name, cache=cache) for name in NAMES]
    for guest in guests:
        guest.start()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        list(pool.map(lambda guest: guest.wait_ready(), guests))
    return guests


def share(writer: Guest, reader: Guest, device: dict[str, str], block: int) -> None:
    token = f'{writer.name} was here: {uuid.uuid4()}'
    writer.write_block(device[writer.name], block, token.encode().ljust(4096, b'.'))
    seen = reader.read_block(device[reader.name], block).decode(errors='replace')[: len(token)]
    print(f'  {writer.name} writes {device[writer.name]}, block {block}: {token}')
    print(f'  {reader.name} reads  {device[reader.name]}, block {block}: {seen}', flush=True)
    if seen != token:
        raise ScenarioError('the bytes are not the same')


def attach_both(cloud: Cloud, guests: list[Guest]) -> tuple[str, dict[str, str]]:
    tell('A volume type whose volumes may be shared, and a volume of it')
    cloud.run('volume', 'type', 'create', '--property', 'multiattach=<is> True', 'multiattach')
    cloud.run(
        'volume',
        'create',
        '--size',
        '1',
        '--type',
        'multiattach',
        'shared',
        '-c',
        'id',
        '-c',
        'name',
        '-c',
        'size',
        '-c',
        'status',
        '-c',
        'type',
        '-c',
        'multiattach',
    )
    volume = cloud.wait(
        'volume available', lambda: _having(cloud.ask('volume', 'show', 'shared'), 'status', 'available')
    )
    cloud.run('server', 'list', '-c', 'ID', '-c', 'Name', '-c', 'Status')
    tell('Both servers attach it')
    first, second = NAMES
    cloud.run('server', 'add', 'volume', first, 'shared', '-c', 'ID', '-c', 'Server ID', '-c', 'Device')
    cloud.run('multiattach', 'server', 'volume', 'attach', second, 'shared', '--wait')
    cloud.wait('both attached', lambda: len(cloud.ask('volume', 'show', 'shared')['attachments']) == len(NAMES))
    cloud.run('volume', 'show', 'shared', '-f', 'yaml', '-c', 'attachments', '-c', 'status', '-c', 'multiattach')
    cloud.run('multiattach', 'volume', 'explain', 'shared', '-c', 'reason', '-c', 'next', '-c', 'attachments')
    return volume['id'], {guest.name: guest.wait_for_disk(volume['id']) for guest in guests}


def _having(answer: dict[str, Any], key: str, value: str) -> dict[str, Any] | None:
    return answer if answer[key] == value else None


def detach_both(cloud: Cloud, guests: list[Guest], volume_id: str) -> None:
    tell('Both detach; the volume goes')
    first, second = NAMES
    cloud.run('server', 'remove', 'volume', first, 'shared')
    cloud.run('multiattach', 'server', 'volume', 'detach', second, 'shared', '--wait')
    for guest in guests:
        guest.wait_gone(volume_id)
    cloud.wait('volume available', lambda: _having(cloud.ask('volume', 'show', 'shared'), 'status', 'available'))
    cloud.run('volume', 'show', 'shared', '-c', 'attachments', '-c', 'status')


def play(folder: pathlib.Path, cache: pathlib.Path | None, backend: str, *, native: bool) -> None:
    state = folder / 'state'
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(open_store(backend, folder, native=native))
        tell('Two small servers under libvirt, and multiattach-standalone')
        daemon = stack.enter_context(Libvirtd(folder / 'lv', cache=cache))
        guests = start_guests(daemon, folder, cache)
        cloud, child = stack.enter_context(run_standalone(state, daemon.uri, store.settings))
        volume_id, devices = attach_both(cloud, guests)
        store.show_access()
        tell('What one writes the other reads')
        share(guests[0], guests[1], devices, 1000)
        share(guests[1], guests[0], devices, 2000)
        store.show(volume_id)
        detach_both(cloud, guests, volume_id)
        tell('Nothing is left')
        cloud.run('volume', 'delete', 'shared')
        cloud.wait('volume gone', lambda: cloud.ask('volume', 'list') == [])
        left = store.list_left()
        print(f'  volumes, targets, users and files: {left or "none"}')
        if left:
            raise ScenarioError('something is left')
    if child.returncode:
        raise ScenarioError(f'multiattach-standalone ended with status {child.returncode}')
    tell('Done: server 1 and server 2 shared one volume, both ways.')


def main() -> int:
    parser = argparse.ArgumentParser(prog='quickstart', description=__doc__)
    parser.add_argument('--backend', choices=('file', 'rbd'), default='file', help='where the volume is kept')
    parser.add_argument('--native', action='store_true', help='with rbd: servers open the image themselves')
    parser.add_argument('--cache', type=pathlib.Path, help='folder for the kernel of the servers')
    parser.add_argument('--keep', action='store_true', help='keep the folder with the logs')
    options = parser.parse_args()
    if options.native and options.backend != 'rbd':
        parser.error('--native goes with --backend rbd')
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = pathlib.Path(tempfile.mkdtemp(prefix='multiattach-'))
    try:
        play(folder, options.cache, options.backend, native=options.native)
        return 0
    except (ScenarioError, TestbedError, subprocess.SubprocessError) as exc:
        log = folder / 'state' / 'multiattach.log'
        tail = log.read_text().splitlines()[-30:] if log.exists() else []
        print('\n'.join([*tail, f'quickstart: {exc}']), file=sys.stderr)
        return 1
    finally:
        if options.keep:
            print(f'Logs are in {folder}', file=sys.stderr)
        else:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == '__main__':
    sys.exit(main())
