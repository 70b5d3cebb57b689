# SPDX-License-Identifier: Apache-2.0
"""A live host that is fenced and unfenced: the program as it is started, libvirt, guests, QEMU's initiator.

QEMUs that hang are stopped ones: libvirt then waits for them without a limit.
"""

import contextlib
import pathlib
import signal
import time
from collections.abc import Iterator

import pytest

from multiattach.drivers.hypervisors.libvirt import xml
from tests.deployments.standalone import Standalone
from tests.testbed.polling import wait_until

from .conftest import Host

NAME = 'compute1'
OBEYED = 10  # s: what a signal may take
COMPUTE = {'OpenStack-API-Version': 'compute 2.89'}


class Service(Standalone):
    """multiattach-standalone with an agent of the host's libvirt."""

    def __init__(self, state: pathlib.Path, host: Host) -> None:
        super().__init__(state)
        self.host = host
        config = state / 'multiattach.conf'
        config.write_text(
            config.read_text()
            .replace('[DEFAULT]\n', f'[DEFAULT]\nhost = {NAME}\n')
            .replace('enabled = no\n', f'enabled = yes\nconnector = qemu\nlibvirt_uri = {host.daemon.uri}\n')
        )

    def attach(self, volume_id: str, number: int) -> str:
        """Have a server take a volume; return the attachment's id."""
        server_id = self.host.server_id(number)
        with self._headers(COMPUTE):
            code, reply = self.ask(
                'POST',
                f'/compute/v2.1/servers/{server_id}/os-volume_attachments',
                {'volumeAttachment': {'volumeId': volume_id}},
            )
        assert code == 200, reply
        code, reply = self.ask('GET', f'/v3/attachments/detail?volume_id={volume_id}')
        assert code == 200, reply
        return str(
            max(
                (one for one in reply['attachments'] if one['instance'] == server_id),
                key=lambda one: one['status'] != 'error_detaching',
            )['id']
        )

    @contextlib.contextmanager
    def _headers(self, headers: dict[str, str]) -> Iterator[None]:
        before, self.headers = self.headers, self.headers | headers
        try:
            yield
        finally:
            self.headers = before

    def is_attached(self, ident: str) -> bool:
        code, reply = self.ask('GET', f'/v3/attachments/{ident}')
        return code == 200 and bool(reply['attachment']['status'] == 'attached')

    def attach_and_wait(self, volume_id: str, number: int, seconds: float = 30) -> str:
        ident = self.attach(volume_id, number)
        self.wait(lambda: self.is_attached(ident), seconds)
        return ident

    def fence_and_unfence(self) -> None:
        code, reply = self.ask('POST', f'/v3/multiattach/hosts/{NAME}/fence', {'fence': {}})
        assert (code, reply['fence']['complete']) == (200, True), reply
        code, _ = self.ask('POST', f'/v3/multiattach/hosts/{NAME}/unfence', {'unfence': {}})
        assert code == 200

    def has_disk(self, number: int, volume_id: str) -> bool:
        return xml.find_disk(self.host.guests[number].domain.XMLDesc(), volume_id) is not None

    def is_up(self) -> bool:
        try:
            return self.ask('GET', '/v3/volumes', timeout=5)[0] == 200
        except OSError:
            return False

    def check_obeys(self) -> None:
        """End it by SIGTERM."""
        assert self.child is not None
        began = time.monotonic()
        self.child.send_signal(signal.SIGTERM)
        self.child.wait(60)
        assert time.monotonic() - began < OBEYED
        assert self.tgtd_pids() == []

    def read_log(self) -> str:
        return (self.state / 'multiattach.log').read_text()


@pytest.fixture
def service(host: Host, tmp_path: pathlib.Path) -> Iterator[Service]:
    made = Service(tmp_path / 'state', host)
    made.start()
    yield made
    if made.child is not None and made.child.poll() is None:
        made.kill()
    for number in (0, 1):
        host.reset(number)  # guests with commands that no target will answer
    for secret in host.guests[0].connection.listAllSecrets():
        secret.undefine()


def test_servers_that_were_writing_take_volumes_right_after_the_unfence(host: Host, service: Service) -> None:
    shared, other = service.make_volume(), service.make_volume()
    for number, guest in enumerate(host.guests):
        service.attach_and_wait(shared, number)
        path = guest.wait_for_disk(shared)
        code, _ = guest.run(
            f'(dd if=/dev/zero of={path} bs=4096 oflag=direct conv=notrunc >/dev/null 2>&1 </dev/null &)'
        )
        assert code == 0
    service.fence_and_unfence()
    began = time.monotonic()
    idents = [service.attach(other, number) for number in (0, 1)]
    service.wait(lambda: all(map(service.is_attached, idents)), 30)
    assert time.monotonic() - began < 15
    service.check_obeys()


def test_servers_that_hang_keep_nobody_waiting(host: Host, service: Service) -> None:
    volumes = [service.make_volume() for _ in range(3)]
    for volume_id in volumes[:2]:
        service.attach_and_wait(volume_id, 0)
    service.attach_and_wait(volumes[0], 1)
    for number, volume_id in ((0, volumes[0]), (0, volumes[1]), (1, volumes[0])):
        guest = host.guests[number]
        guest.read_block(guest.wait_for_disk(volume_id), 0)  # nothing is in flight any more
    with contextlib.ExitStack() as first, contextlib.ExitStack() as second:
        first.enter_context(host.frozen(0))
        second.enter_context(host.frozen(1))
        service.fence_and_unfence()
        wait_until(lambda: '3 attachments of 2 servers' in service.read_log(), 20, 'the sweep')
        time.sleep(1)  # by now it is inside libvirt
        assert service.is_up()
        service.check_obeys()

        # While it starts: the API answers, and the log says what it waits for.
        mark = len(service.read_log())
        service.spawn()
        service.wait(service.is_up)
        said = service.read_log()[mark:]
        assert 'The API answers, and the host agent waits for libvirt' in said
        service.check_obeys()

        service.start()
        assert 'waits for libvirt' in service.said
        said = service.read_log()[mark:]
        assert '3 attachments of 2 servers' in said
        assert 'goes on while it waits for what was fenced' in said
        assert service.has_disk(0, volumes[0])
        assert service.has_disk(1, volumes[0])
        # Not one after the other: what hangs first in the list holds up nobody.
        second.close()
        service.wait(lambda: not service.has_disk(1, volumes[0]), 40)
        assert service.has_disk(0, volumes[0])
        service.attach_and_wait(volumes[2], 1, 15)
        service.attach(volumes[2], 0)  # waits for the one that hangs
        time.sleep(1)
        service.check_obeys()
        service.start()
    service.wait(lambda: not any(service.has_disk(0, one) for one in volumes[:2]), 40)
    service.wait(lambda: service.has_disk(0, volumes[2]), 40)
    service.attach_and_wait(volumes[0], 0, 15)
    service.check_obeys()
