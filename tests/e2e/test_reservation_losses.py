# SPDX-License-Identifier: Apache-2.0
"""Worker, agents and storage die one after the other while servers hold reservations and write.

Each time the reservation holds: who is not registered and tries without end is refused, and the holder goes on.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest

from tests.deployments.storage_machines import TYPE, Deployment
from tests.deployments.two_hosts import Refused
from tests.e2e.scsi_disk import SLOW, ScsiDisk
from tests.testbed.guest import Guest
from tests.testbed.polling import wait_until

pytestmark = pytest.mark.slow  # emulated machines

EXCLUSIVE, REGISTRANTS = 1, 5  # types of reservations


class Loop:
    """A guest that writes to a disk without end; what the target refuses because of a reservation is counted."""

    def __init__(self, disk: ScsiDisk) -> None:
        self._guest = disk.guest
        self._name = disk.path.rpartition('/')[2]
        self._end, self._ended = f'/tmp/end-{self._name}', f'/tmp/ended-{self._name}'
        said, write = f'/tmp/said-{self._name}', f'dd if=/dev/zero of={disk.path} bs=4096 count=1 oflag=direct'
        self._guest.run(
            f'rm -f {self._end} {self._ended}; ( while [ ! -e {self._end} ]; do\n'
            f'if {write} 2>{said}; then echo >>/tmp/written-{self._name}\n'
            f'elif grep -q "Invalid exchange" {said}; then echo >>/tmp/refused-{self._name}; fi\n'
            f'sleep 1; done; : >{self._ended} ) </dev/null >/dev/null 2>&1 &'
        )

    def _count(self, what: str) -> int:
        return int(self._guest.run(f'touch /tmp/{what}-{self._name}; wc -l </tmp/{what}-{self._name}', timeout=SLOW)[1])

    @property
    def written(self) -> int:
        return self._count('written')

    @property
    def refused(self) -> int:
        """Of its writes those that ended with a reservation conflict."""
        return self._count('refused')

    def wait_written(self, before: int) -> None:
        wait_until(lambda: self.written > before + 2, SLOW, 'more writes', 1)

    def wait_refused(self, before: int) -> None:
        wait_until(lambda: self.refused > before + 2, SLOW, 'more refusals', 1)

    def stop(self) -> None:
        # Once the disk is gone dd would make a file of that name.
        self._guest.run(f': >{self._end}; until [ -e {self._ended} ]; do sleep 0.1; done', timeout=SLOW)


@dataclasses.dataclass
class Held:
    """A volume that a server reserved.

    :ivar members: disks of servers that are registered, the holder's first
    :ivar stranger: disk of a server that is not registered
    """

    cloud: Deployment
    volume_id: str
    kind: int
    members: list[ScsiDisk]
    stranger: ScsiDisk

    def __post_init__(self) -> None:
        for number, disk in enumerate(self.members, 0xA1):
            disk.do('--register-ignore', f'--param-sark={number:#x}')
        self.members[0].do('--reserve', '--param-rk=0xa1', f'--prout-type={self.kind}')
        assert (self.members[0].rights, self.stranger.rights) == ('rw', 'r')
        self._told = self._tell()
        assert self._told[0] == self.kind
        assert len(self._told[1]) == len(self.members)
        self.writers, self.refused = [Loop(disk) for disk in self.members], Loop(self.stranger)

    def _tell(self) -> tuple[int, list[Any]]:
        found = wait_until(self._ask, SLOW, 'an answer of the target', 1)
        names = ('server_id', 'attachment_id', 'key', 'holder')
        return found['type'], sorted([one[name] for name in names] for one in found['registrations'])

    def _ask(self) -> dict[str, Any]:
        try:
            return self.cloud.read_reservations(self.volume_id)
        except Refused as exc:
            assert exc.status == 503  # noqa: PT017 - a worker that has just begun takes its time, and that is said
            return {}

    def check(self) -> None:
        """See that those who are registered write, and the other one is refused, from now on as ever."""
        before = [(loop, loop.written) for loop in self.writers]
        for loop, written in before:
            loop.wait_written(written)
        self.refused.wait_refused(self.refused.refused)
        assert self.refused.written == 0
        assert [loop.refused for loop in self.writers] == [0] * len(self.writers)

    def check_told(self) -> None:
        assert self._tell() == self._told


@pytest.fixture(scope='module')
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with Deployment(tmp_path_factory.mktemp('lio')).run() as made:
        made.make_type('cluster', TYPE)
        yield made


@pytest.fixture(scope='module')
def held(cloud: Deployment) -> list[Held]:
    """One that a server of os-brick holds for itself, and one that one of QEMU's initiator holds for registrants."""

    def attach(volume_id: str, *guests: Guest) -> list[ScsiDisk]:
        return [ScsiDisk(guest, cloud.attach(guest, volume_id)) for guest in guests]

    first, second = cloud.make_volume('cluster'), cloud.make_volume('cluster')
    far, stranger = attach(first, cloud.far, cloud.one)
    one, two, other = attach(second, cloud.one, cloud.two, cloud.far)
    return [Held(cloud, first, EXCLUSIVE, [far], stranger), Held(cloud, second, REGISTRANTS, [one, two], other)]


def check_newcomer(cloud: Deployment, volume: Held) -> None:
    """See that the worker of now serves the volume: it lets a server in, which is refused as it is not registered."""
    disk = ScsiDisk(cloud.two, cloud.attach(cloud.two, volume.volume_id))
    assert disk.rights == 'r'
    cloud.detach(cloud.two, volume.volume_id)
    volume.check_told()


def test_the_worker_is_killed_and_another_one_takes_over(cloud: Deployment, held: list[Held]) -> None:
    cloud.worker.kill()
    for volume in held:
        volume.check()
    cloud.replace_worker('right')
    for volume in held:
        volume.check()
        volume.check_told()
    check_newcomer(cloud, held[0])


def test_the_agents_are_killed(cloud: Deployment, held: list[Held]) -> None:
    for agent in cloud.agents:
        agent.kill()
    for volume in held:
        volume.check()
    for agent in cloud.agents:
        agent.start()
    for agent in cloud.agents:
        agent.wait_ready()
    for volume in held:
        volume.check()
        volume.check_told()
    check_newcomer(cloud, held[0])


def test_the_storage_loses_its_power(cloud: Deployment, held: list[Held]) -> None:
    cloud.storage.power_off()
    cloud.boot_storage()
    for volume in held:
        volume.check()
        volume.check_told()


def test_another_machine_takes_over(cloud: Deployment, held: list[Held]) -> None:
    """With the disk, and the address of the portal."""
    cloud.replace_storage()
    for volume in held:
        volume.check()
        volume.check_told()
    check_newcomer(cloud, held[0])


def test_it_ends_when_an_admin_clears_it(cloud: Deployment, held: list[Held]) -> None:
    for volume in held:
        cloud.openstack('multiattach', 'volume', 'reservations', volume.volume_id, '--clear')
        assert cloud.read_reservations(volume.volume_id)['registrations'] == []
        volume.refused.wait_written(0)
        for loop in (*volume.writers, volume.refused):
            loop.stop()
        for disk in (*volume.members, volume.stranger):
            cloud.detach(disk.guest, volume.volume_id)
        cloud.delete_volume(volume.volume_id)
    cloud.check_nothing_left()
