# SPDX-License-Identifier: Apache-2.0
"""The hypervisor driver for libvirt with QEMU."""

from typing import Any, Self

from multiattach.conf import host as host_conf, plugins
from multiattach.drivers.hypervisors.base import Disk, Domain, ServerDisks
from multiattach.drivers.hypervisors.libvirt import xml
from multiattach.drivers.hypervisors.libvirt.connection import LibvirtConnection
from multiattach.drivers.hypervisors.libvirt.disks import DiskReader
from multiattach.drivers.hypervisors.libvirt.guest import GuestDisks

# Nova's rule for multiattach (nova.virt.libvirt.driver, _set_multiattach_support): QEMU 2.10
# locks images, and libvirt asks it to share them from 3.10 on.
_SHARING_LIBVIRT = 3_010_000
_LOCKING_QEMU = 2_010_000


class LibvirtHypervisor:
    """libvirt on this host.

    :param ephemeral_secrets: libvirtd keeps CHAP secrets and keys of Ceph in memory only; a server that starts after
        a restart of libvirtd then lacks them, until the reconciler has given them to it again.
    :raises ConfigurationError: libvirt-python is not installed.
    """

    OPTS = host_conf.LIBVIRT_OPTS

    def __init__(
        self,
        uri: str = 'qemu:///system',
        *,
        detach_timeout: float = 20.0,
        detach_attempts: int = 8,
        timeout: float = 20.0,
        ephemeral_secrets: bool = True,
    ) -> None:
        self._connection = LibvirtConnection(uri, timeout)
        self._disks = GuestDisks(self._connection, detach_timeout=detach_timeout, detach_attempts=detach_attempts)
        self._ephemeral_secrets = ephemeral_secrets
        self._reader = DiskReader()

    @classmethod
    def from_options(cls, options: Any, surroundings: plugins.Surroundings) -> Self:
        return cls(options.libvirt_uri, detach_timeout=options.detach_timeout, timeout=options.libvirt_timeout)

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        self._connection.close()

    def interrupt(self) -> None:
        self._connection.interrupt()

    def list_overdue(self) -> list[str]:
        return self._connection.list_overdue()

    @property
    def losses(self) -> int:
        return self._connection.losses

    @property
    def ended(self) -> frozenset[str]:
        return self._connection.ended

    def attach(self, server_id: str, disk: Disk) -> str:
        if (secret := xml.find_secret(disk)) is not None:
            self._connection.define_secret(xml.build_secret(disk, ephemeral=self._ephemeral_secrets), secret)
        return f'/dev/{self._disks.attach(server_id, disk)}'

    def detach(self, server_id: str, volume_id: str, attachment_id: str, *, insist: bool = True) -> None:
        self._disks.detach(server_id, volume_id, insist=insist)
        self._connection.undefine_secret(attachment_id)

    def resize(self, server_id: str, volume_id: str, size: int) -> None:
        self._disks.resize(server_id, volume_id, size)

    def domains(self) -> list[Domain]:
        return [
            Domain(
                state.uuid,
                state.name,
                state.power_state,
                tuple(dict.fromkeys(xml.list_targets(state.live) + xml.list_targets(state.config))),
                xml.find_project(state.config or state.live),
            )
            for state in self._connection.list_domains()
        ]

    def list_disks(self) -> list[ServerDisks]:
        return self._reader.read(self._connection.list_domains(), self._connection.list_secrets())

    def forget_secret(self, attachment_id: str) -> None:
        self._connection.undefine_secret(attachment_id)

    def list_secrets(self) -> frozenset[str]:
        return self._connection.list_own_secrets()

    def cannot_share(self) -> str | None:
        libvirt, qemu = self._connection.versions()
        if libvirt < _SHARING_LIBVIRT and qemu >= _LOCKING_QEMU:
            return (
                f'libvirt {_format(libvirt)} with QEMU {_format(qemu)} cannot share volumes; '
                f'it takes libvirt {_format(_SHARING_LIBVIRT)} or later.'
            )
        return None

    def versions(self) -> dict[str, str]:
        libvirt, qemu = self._connection.versions()
        return {'libvirt': _format(libvirt), 'qemu': _format(qemu)}


def _format(version: int) -> str:
    return f'{version // 1_000_000}.{version // 1000 % 1000}.{version % 1000}'
