# SPDX-License-Identifier: Apache-2.0
"""A storage host: a machine whose kernel is an iSCSI target, with a disk that outlives a loss of power."""

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.testbed.errors import TestbedError
from tests.testbed.network import Network
from tests.testbed.vm import ComputeHost

#: file system on the first disk, made with the first boot
DATA = Path('/srv/data')
#: volume group on the second disk
VOLUME_GROUP = 'spare'
_TOP = Path(__file__).parents[2]
_PREPARE = f"""\
set -e
modprobe target_core_mod
mountpoint -q /sys/kernel/config || mount -t configfs none /sys/kernel/config
blkid /dev/vda >/dev/null || mkfs.ext4 -q /dev/vda
mkdir -p {DATA} /var/target
mountpoint -q {DATA} || mount /dev/vda {DATA}
mkdir -p {DATA}/target
mountpoint -q /var/target || mount --bind {DATA}/target /var/target
"""
_MAKE_GROUP = f'vgs {VOLUME_GROUP} >/dev/null 2>&1 || vgcreate -q {VOLUME_GROUP} /dev/vdb'


class StorageHost(ComputeHost):
    """One storage host; what it keeps at DATA and in its volume group stays over a loss of power."""

    def __init__(
        self,
        network: Network,
        folder: Path,
        index: int = 1,
        *,
        name: str = 'storage',
        memory: int = 1024,
        group_mb: int = 2048,
    ) -> None:
        """Describe it; nothing is started.

        :param memory: MiB
        :param group_mb: MiB of the volume group, sparse
        """
        super().__init__(network, folder, index, name=name, memory=memory, disks=(4096, group_mb))

    def boot(self, timeout: float = 600) -> None:
        """Power on, and have its kernel be a target.

        :param timeout: seconds
        """
        self.start()
        self.wait_ready(timeout)
        self.check(_PREPARE)

    def take_disk(self, other: 'StorageHost') -> None:
        """Have the first disk of another one; both are off."""
        assert not self.is_on()
        assert not other.is_on()
        self.folder.mkdir(parents=True, exist_ok=True)
        (other.folder / 'disk0').rename(self.folder / 'disk0')

    def make_group(self) -> None:
        """Make the volume group; one that is there is fine."""
        self.check(_MAKE_GROUP)

    def run_python(self, *words: str, timeout: float = 300, variables: Mapping[str, str] | None = None) -> str:
        """Run this project's Python to its end.

        :param words: arguments
        :param timeout: seconds
        :param variables: for its environment
        :returns: its output
        """
        code, output = self.try_python(*words, timeout=timeout, variables=variables)
        if code:
            raise TestbedError(f'{self.name}: {shlex.join(words)}: exit code {code}: {output[-2000:]}')
        return output

    def try_python(
        self, *words: str, timeout: float = 300, variables: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        """Do the same; return its exit code, too."""
        told = {'PYTHONPATH': str(_TOP), **(variables or {})}
        argv = ['env', *(f'{key}={value}' for key, value in told.items()), sys.executable, *words]
        return self.run(f'cd {_TOP} && {shlex.join(argv)}', timeout)
