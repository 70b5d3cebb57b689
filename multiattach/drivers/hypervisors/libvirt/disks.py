# SPDX-License-Identifier: Apache-2.0
"""Disks of all servers, read again and again: only XML that has changed since the last time is parsed."""

import dataclasses
from collections.abc import Collection, Iterable

from multiattach.drivers.hypervisors.base import FoundDisk, ServerDisks
from multiattach.drivers.hypervisors.libvirt import xml
from multiattach.drivers.hypervisors.libvirt.connection import DomainState


class DiskReader:
    """Remembers what it has read. Safe for several threads."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str | None, str | None, tuple[FoundDisk, ...]]] = {}

    def read(self, states: Iterable[DomainState], secrets: Collection[str]) -> list[ServerDisks]:
        """Read the disks that are marked as this service marks them."""
        known, read, servers = self._known, {}, []
        for state in states:
            found = known.get(state.uuid)
            if found is None or found[0] != state.live or found[1] != state.config:
                found = state.live, state.config, xml.list_own(state.live, state.config)
            read[state.uuid] = found
            servers.append(
                ServerDisks(
                    state.uuid,
                    state.name,
                    state.power_state,
                    state.config is not None,
                    tuple(_look_for_secret(disk, secrets) for disk in found[2]),
                )
            )
        self._known = read
        return servers


def _look_for_secret(disk: FoundDisk, secrets: Collection[str]) -> FoundDisk:
    if disk.secret_id is None or disk.secret_id in secrets:
        return disk
    return dataclasses.replace(disk, has_secret=False)
