# SPDX-License-Identifier: Apache-2.0
"""What a hypervisor driver is: the protocol and its data."""

import dataclasses
from collections.abc import Mapping
from typing import Protocol

from multiattach.domain import sharing
from multiattach.domain.connection import DeviceInfo


@dataclasses.dataclass(frozen=True)
class Domain:
    """A server as the hypervisor shows it.

    :param power_state: ``running``, ``paused``, ``shutdown``, ``crashed``, ``suspended`` or
        ``nostate``.
    :param devices: names of its disks, ``vda``.
    :param project: id of the project that it says it belongs to, None if it does not.
    """

    uuid: str
    name: str
    power_state: str
    devices: tuple[str, ...] = ()
    project: str | None = None


@dataclasses.dataclass(frozen=True)
class Disk:
    """A volume as a server is to have it.

    :param volume_id: UUID; the guest sees its first 20 characters as the serial number.
    :param device: wished device name, ``/dev/vdb``.
    :param rates: what the hypervisor is to keep, as :func:`multiattach.domain.qos.find_rates` has it.
    :param reservations: SCSI commands of the server go to the storage as they are, so that it reserves there; it sees
        the storage's own serial number then.
    """

    attachment_id: str
    volume_id: str
    source: DeviceInfo
    device: str
    mode: str = sharing.READ_WRITE
    multiattach: bool = False
    rates: Mapping[str, int] = dataclasses.field(default_factory=dict)
    reservations: bool = False


@dataclasses.dataclass(frozen=True)
class FoundDisk:
    """A disk that looks like one of this service's: by its alias, and its serial number where it has one.

    :param target: device name, ``vdb``.
    :param is_live: the running server has it.
    :param is_saved: the configuration of its next start has it.
    :param secret_id: UUID of the secret that it names, or None.
    :param has_secret: the hypervisor has that secret, or none is named.
    :param is_network: QEMU reaches the volume by itself, without a session of the host.
    """

    volume_id: str
    target: str
    is_live: bool
    is_saved: bool
    secret_id: str | None = None
    has_secret: bool = True
    is_network: bool = False


@dataclasses.dataclass(frozen=True)
class ServerDisks:
    """The disks of a server.

    :param is_persistent: it has a configuration for a next start.
    :param disks: those that look like this service's.
    """

    server_id: str
    name: str
    power_state: str
    is_persistent: bool
    disks: tuple[FoundDisk, ...] = ()

    @property
    def is_active(self) -> bool:
        return self.power_state in ('running', 'paused', 'suspended', 'crashed')


class Hypervisor(Protocol):
    """A hypervisor of this host; its methods are called from several threads.

    All methods may raise ``HypervisorError`` and ``HypervisorUnavailable`` (:mod:`multiattach.drivers.errors`),
    and none waits without a limit. A server that does not answer holds up no other one.
    """

    @property
    def losses(self) -> int:
        """How often it has said that a server stopped or is gone; it only grows, and may have missed some."""

    @property
    def ended(self) -> frozenset[str]:
        """UUIDs of servers of which it said that they are gone, and that it has not shown since."""

    def attach(self, server_id: str, disk: Disk) -> str:
        """Give a server a disk, now if it runs and for its next starts; having it is success.

        :returns: device name on the server, ``/dev/vdb``: the wished one or, where that is
            taken, another.
        """

    def detach(self, server_id: str, volume_id: str, attachment_id: str, *, insist: bool = True) -> None:
        """Take a disk from a server and wait until the guest let go; not having it is success.

        :param insist: ask a guest that keeps it again, for minutes.
        :raises DetachRefused: the guest kept it; nothing was changed.
        """

    def interrupt(self) -> None:
        """Let nobody wait any more, now and later: the program stops. Whoever waits is told "no answer"."""

    def list_overdue(self) -> list[str]:
        """List, oldest first, texts for the log of what it was asked for and has not answered in time."""

    def resize(self, server_id: str, volume_id: str, size: int) -> None:
        """Show a running server the new size of a disk, bytes; not having the disk, or only reading it, is success."""

    def domains(self) -> list[Domain]: ...

    def list_disks(self) -> list[ServerDisks]:
        """List the disks of all servers that look like this service's; Nova marks its own in the same way."""

    def list_secrets(self) -> frozenset[str]:
        """List the ids of the attachments whose secrets it keeps; those of others are not shown."""

    def forget_secret(self, attachment_id: str) -> None:
        """Forget the secret of an attachment; not having it is success."""

    def cannot_share(self) -> str | None:
        """Return why this host cannot share volumes (requirement row 18), for the user; None if it can."""

    def versions(self) -> dict[str, str]:
        """Return the versions by program, for the host's report."""
