# SPDX-License-Identifier: Apache-2.0
"""Two servers of one host: one that does not let go while its agent dies, and both that let go at once."""

import concurrent.futures
import contextlib
import pathlib
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import libvirt
import pytest

from tests.deployments.failpoints import Deployment
from tests.functional.cluster import facts
from tests.functional.cluster.client import Client
from tests.functional.failpoints.scenarios import Scenario
from tests.testbed import Guest
from tests.testbed.polling import wait_until

pytestmark = pytest.mark.slow  # two guests have to boot
_ROUNDS = 4


class Pair(Deployment):
    """A compute host with two servers."""

    guests: tuple[Guest, Guest]

    @contextlib.contextmanager
    def run(self) -> Iterator['Deployment']:
        with super().run(), tempfile.TemporaryDirectory(prefix='ma-un-') as name:
            second = Guest.define(self.libvirt, 'second', pathlib.Path(name))
            try:
                second.start()
                second.wait_ready()
                self.guests = self.guest, second
                yield self
            finally:
                second.destroy()

    def _configure(self) -> None:
        super()._configure()
        text = self.agent.config.read_text()
        assert 'detach_timeout = 20' in text
        self.agent.config.write_text(text.replace('detach_timeout = 20', 'detach_timeout = 3'))

    def disks_of(self, number: int, *, saved: bool) -> set[str]:
        """List the volumes in a server's XML, of now or of its next start."""
        flags = libvirt.VIR_DOMAIN_XML_INACTIVE if saved else 0
        root = ElementTree.fromstring(self.guests[number].domain.XMLDesc(flags))
        return {found.text or '' for found in root.findall('./devices/disk/serial')}

    def sessions(self) -> list[str]:
        """List the initiators that are logged in at the target."""
        targets = facts.Listing(self.tgtd.administer('--op', 'show', '--mode', 'target'))
        return sorted(one for target in targets for one in self.tgtd.list_logins(target.tid))


@pytest.fixture(scope='module')
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    cloud = Pair(tmp_path_factory.mktemp('unplug'))
    with cloud.run():
        Client(cloud.ports).make_type('shared', {'multiattach': '<is> True', 'volume_backend_name': 'file'})
        yield cloud


class Shared:
    """A volume that both servers have."""

    def __init__(self, cloud: Pair) -> None:
        self.cloud = cloud
        self._scenario = Scenario(cloud, 'plug')
        for guest in cloud.guests:
            wait_until(
                lambda guest=guest: self._scenario.ask('GET', self._server(guest))[0] == 200,
                30,
                'the agent knows the server',
                0.1,
            )
        self._scenario.prepare()
        self.volume = self._scenario.volume

    @staticmethod
    def _server(guest: Guest) -> str:
        return f'/compute/v2.1/servers/{guest.domain.UUIDString()}'

    def attach(self) -> list[str]:
        """Attach it to both; returns the device of each."""
        return [self.attach_one(number) for number in (0, 1)]

    def attach_one(self, number: int) -> str:
        guest = self.cloud.guests[number]
        code, reply = self._scenario.ask(
            'POST', f'{self._server(guest)}/os-volume_attachments', {'volumeAttachment': {'volumeId': self.volume}}
        )
        assert code == 200, reply
        wait_until(lambda: self.states().get(number) == 'attached', 60, f'{self.states()}', 0.1)
        return guest.wait_for_disk(self.volume)

    def detach(self, number: int) -> None:
        code, reply = self._scenario.ask(
            'DELETE', f'{self._server(self.cloud.guests[number])}/os-volume_attachments/{self.volume}', api=number
        )
        assert code == 202, reply

    def states(self) -> dict[int, str]:
        idents = [guest.domain.UUIDString() for guest in self.cloud.guests]
        return {
            idents.index(server): state
            for server, state in self.cloud.query(
                'SELECT instance_uuid, state FROM attachments WHERE volume_id = %s AND deleted_at IS NULL', self.volume
            )
        }

    def check_gone(self, number: int) -> None:
        """One of them has nothing of it any more, now and after its next start."""
        assert number not in self.states()
        assert self.cloud.disks_of(number, saved=False) == self.cloud.disks_of(number, saved=True) == set()

    def check_nothing_left(self) -> None:
        for number in (0, 1):
            self.check_gone(number)
        assert self.cloud.sessions() == []
        assert self.cloud.libvirt.listAllSecrets() == []
        facts.check_agreement(self.cloud)
        (status,) = self.cloud.query('SELECT status FROM volumes WHERE id = %s', self.volume)[0]
        assert status == 'available'

    def delete(self) -> None:
        code, reply = self._scenario.ask('DELETE', f'/v3/volumes/{self.volume}')
        assert code == 202, reply
        self.cloud.wait_settled(30)


class Writer:
    """A server that writes and reads what it wrote, one block after the other."""

    def __init__(self, guest: Guest, device: str) -> None:
        self._guest = guest
        self._device = device
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.blocks = 0
        self.error: Any = None

    def _run(self) -> None:
        try:
            while not self._end.is_set():
                stamp = f'block {self.blocks}'.encode()
                self._guest.write_block(self._device, self.blocks % 1000, stamp)
                assert self._guest.read_block(self._device, self.blocks % 1000).startswith(stamp)
                self.blocks += 1
        except Exception as exc:
            self.error = exc

    def __enter__(self) -> 'Writer':
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._end.set()
        self._thread.join(130)
        assert self.error is None, self.error
        assert self.blocks > 0


def test_a_server_that_does_not_let_go_while_its_agent_dies(running: Pair) -> None:
    shared = Shared(running)
    devices = shared.attach()
    stubborn, other = running.guests
    both = running.sessions()
    assert len(both) == 2
    try:
        with Writer(other, devices[1]):
            stubborn.domain.suspend()
            try:
                shared.detach(0)
                time.sleep(1)
                assert shared.states()[0] == 'detaching'
                running.agent.kill()
                running.agent.restart()
                # It asks again, eight times, in vain; the volume stays, and the reason is told.
                wait_until(lambda: shared.states()[0] == 'attached', 120, 'the end of a detach', 0.1)
                (error,) = running.query(
                    'SELECT error FROM attachments WHERE volume_id = %s AND error IS NOT NULL', shared.volume
                )[0]
                assert error
                assert running.sessions() == both
                assert running.disks_of(0, saved=False) == {shared.volume}
                # Once more; it dies again, and the server goes on while nobody is there to see it.
                shared.detach(0)
                time.sleep(1)
                running.agent.kill()
            finally:
                stubborn.domain.resume()
            running.agent.restart()
            wait_until(lambda: 0 not in shared.states(), 60, f'{shared.states()}', 0.1)
            stubborn.wait_gone(shared.volume)
            shared.check_gone(0)
            assert len(running.sessions()) == 1
            assert running.disks_of(1, saved=False) == running.disks_of(1, saved=True) == {shared.volume}
        shared.detach(1)
        wait_until(lambda: shared.states() == {}, 60, f'{shared.states()}', 0.1)
        shared.check_nothing_left()
        shared.delete()
    finally:
        running.report()
        print(running.agent.log.read_text()[-6000:])


def test_two_servers_of_a_host_let_go_at_once(running: Pair) -> None:
    shared = Shared(running)
    try:
        for number in range(_ROUNDS):
            devices = shared.attach()
            with contextlib.ExitStack() as stack:
                writers = [
                    stack.enter_context(Writer(guest, device))
                    for guest, device in zip(running.guests, devices, strict=True)
                ]
                wait_until(lambda: all(one.blocks or one.error for one in writers), 60, 'writes')  # noqa: B023
            gate = threading.Barrier(2)

            def let_go(one: int) -> None:
                gate.wait(10)  # noqa: B023
                shared.detach(one)

            with concurrent.futures.ThreadPoolExecutor(2) as pool:
                list(pool.map(let_go, (0, 1)))
            wait_until(lambda: shared.states() == {}, 60, f'round {number}: {shared.states()}', 0.1)
            shared.check_nothing_left()
        # ... and one of them lets go again and again while the other one writes.
        devices = shared.attach()
        with Writer(running.guests[1], devices[1]):
            for _ in range(2):
                shared.detach(0)
                wait_until(lambda: 0 not in shared.states(), 60, f'{shared.states()}', 0.1)
                shared.check_gone(0)
                assert len(running.sessions()) == 1
                shared.attach_one(0)
        for one in (0, 1):
            shared.detach(one)
        wait_until(lambda: shared.states() == {}, 60, f'{shared.states()}', 0.1)
        shared.check_nothing_left()
        shared.delete()
    finally:
        running.report()
        print(running.agent.log.read_text()[-6000:])
