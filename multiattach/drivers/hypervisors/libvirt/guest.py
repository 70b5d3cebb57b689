# SPDX-License-Identifier: Apache-2.0
"""Disks of servers: given and taken live and for the next start. Any step may be repeated."""

import contextlib
import time

from oslo_log import log

from multiattach.drivers.errors import DetachRefused, DomainNotFound, HypervisorError
from multiattach.drivers.hypervisors.base import Disk
from multiattach.drivers.hypervisors.libvirt import xml
from multiattach.drivers.hypervisors.libvirt.connection import (
    DetachPending,
    DeviceNotFound,
    DomainState,
    LibvirtConnection,
)
from multiattach.drivers.hypervisors.libvirt.events import Removal, UnplugResult

LOG = log.getLogger(__name__)

# Each is lost to somebody who changed the same server meanwhile.
_ATTACH_TRIES = 20
# An event is lost with the connection, and none comes when the server stops: look oneself too.


class GuestDisks:
    """Steps on the servers of a libvirtd.

    :param detach_timeout: seconds to wait for the guest after each request.
    :param detach_attempts: number of requests.
    :param look_interval: seconds between two looks whether an event was missed.
    """

    def __init__(
        self, connection: LibvirtConnection, *, detach_timeout: float, detach_attempts: int, look_interval: float = 1.0
    ) -> None:
        self._look_interval = look_interval
        self._connection = connection
        self._detach_timeout = detach_timeout
        self._detach_attempts = detach_attempts

    # -- attaching -----------------------------------------------------------------------------

    def attach(self, server_id: str, disk: Disk) -> str:
        """Give a server a disk, or leave the one that it has; return its name on the server, ``vdb``."""
        self._remove_stale(server_id, disk)
        tries = _ATTACH_TRIES
        while True:
            state = self._connection.find(server_id)
            live = xml.find_disk(state.live, disk.volume_id)
            config = xml.find_disk(state.config, disk.volume_id)
            add_live = state.live is not None and live is None
            add_config = state.config is not None and config is None
            present = live or config
            if present is not None and not (add_live or add_config):
                return present.target
            target = _choose(state, present, disk)
            tries -= 1
            try:
                place = self._make_place(state) if disk.reservations else None
                self._connection.attach_device(
                    server_id, xml.build_disk(disk, target, place), live=add_live, config=add_config
                )
                return target
            except HypervisorError:
                # Somebody took the name, started or stopped the server: look and try again.
                if not tries or not self._has_changed(state, target):
                    raise

    def _make_place(self, state: DomainState) -> xml.DrivePlace:
        """Choose a place on a virtio-scsi controller, and give the server one if it has none; that one stays."""
        place = xml.choose_place(state.live, state.config)
        live, config = (
            domain is not None and not xml.has_controller(domain, place) for domain in (state.live, state.config)
        )
        if live or config:
            self._connection.attach_device(state.uuid, xml.build_controller(place), live=live, config=config)
        return place

    def _has_changed(self, before: DomainState, target: str) -> bool:
        now = self._connection.find(before.uuid)
        places = [xml.choose_place(one.live, one.config).controller for one in (before, now)]
        return (
            (now.live is None) != (before.live is None)
            or target in xml.list_targets(now.live) + xml.list_targets(now.config)
            or places[0] != places[1]
        )

    def _remove_stale(self, server_id: str, disk: Disk) -> None:
        """Take away what an attachment that was cut off left of the volume in the server."""
        state, wanted = self._connection.find(server_id), xml.source_of(disk)
        for domain in (state.live, state.config):
            found = xml.find_disk(domain, disk.volume_id)
            if found is not None and found.source != wanted:
                LOG.warning('Server %s has volume %s from another source: taking that away', server_id, disk.volume_id)
                self.detach(server_id, disk.volume_id, insist=False)  # no target answers it: it goes or stays
                return

    # -- detaching -----------------------------------------------------------------------------

    def detach(self, server_id: str, volume_id: str, *, insist: bool = True) -> None:
        """Take a disk from a server and wait until the guest let go.

        The running server first: if its guest refuses, the next start has the disk as before.

        :raises DetachRefused: the guest kept it.
        """
        with contextlib.suppress(DomainNotFound):
            self._unplug(server_id, volume_id, self._detach_attempts if insist else 1)
            found = xml.find_disk(self._connection.find(server_id).config, volume_id)
            if found is not None:
                with contextlib.suppress(DeviceNotFound):
                    self._connection.detach_device(server_id, found.text, live=False, config=True)

    def _unplug(self, server_id: str, volume_id: str, attempts: int) -> None:
        for attempt in range(1, attempts + 1):
            found = self._find_live(server_id, volume_id)
            if found is None:
                return
            with self._connection.expect_removal(server_id, found.alias) as removal:
                self._ask(server_id, volume_id, found.text)
                outcome = self._await(removal, server_id, volume_id)
            if outcome is UnplugResult.REMOVED:
                return
            LOG.warning('Server %s keeps volume %s after request %d of %d', server_id, volume_id, attempt, attempts)
            if outcome is UnplugResult.REFUSED:
                break
        if self._find_live(server_id, volume_id) is not None:
            raise DetachRefused(
                'The guest did not let go of the device: see that nothing in the '
                'server uses it and that its system runs, then detach again.'
            )

    def _ask(self, server_id: str, volume_id: str, device: str) -> None:
        try:
            self._connection.detach_device(server_id, device, live=True, config=False)
        except DetachPending:
            LOG.info('Server %s was asked for volume %s before', server_id, volume_id)
        except HypervisorError:
            # It may have stopped, or let go after an earlier request.
            if self._find_live(server_id, volume_id) is not None:
                raise

    def _await(self, removal: Removal, server_id: str, volume_id: str) -> UnplugResult | None:
        end = time.monotonic() + self._detach_timeout
        while (left := end - time.monotonic()) > 0:
            outcome = removal.wait(min(left, self._look_interval))
            if outcome is not None:
                return outcome
            if self._find_live(server_id, volume_id) is None:
                return UnplugResult.REMOVED
        return None

    # -- growing -------------------------------------------------------------------------------

    def resize(self, server_id: str, volume_id: str, size: int) -> None:
        found = self._find_live(server_id, volume_id)
        if found is not None and found.is_readonly:
            LOG.info(
                'Server %s may only read volume %s: QEMU shows its new size with the next attach', server_id, volume_id
            )
        elif found is not None:
            self._connection.resize_device(server_id, found.target, size)

    def _find_live(self, server_id: str, volume_id: str) -> xml.DiskElement | None:
        try:
            return xml.find_disk(self._connection.find(server_id).live, volume_id)
        except DomainNotFound:
            return None


def _choose(state: DomainState, present: xml.DiskElement | None, disk: Disk) -> str:
    """Choose a name that is free now and at the next start; one that the volume has stays."""
    taken = {
        target for domain in (state.live, state.config) for target in xml.list_targets(domain, without=disk.volume_id)
    }
    return xml.choose_device(present.target if present else disk.device, taken, reservations=disk.reservations)
