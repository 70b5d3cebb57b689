# SPDX-License-Identifier: Apache-2.0
"""What the target really has, for people: read from it, never from the database."""

from collections.abc import Callable
from typing import Any, TypeVar

from multiattach.domain import errors
from multiattach.drivers.errors import DriverError
from multiattach.drivers.targets.base import Target, TargetState

T = TypeVar('T')

_PATIENCE = 7.0  # s; who asks is to have an answer in ten


class Inspection:
    def __init__(self, target: Target) -> None:
        self._target = target

    def show(self, volume_id: str) -> dict[str, Any] | None:
        found = self._read(lambda: self._target.show(volume_id))
        return None if found is None else describe(found)

    def list_page(self, marker: str | None, limit: int) -> list[dict[str, Any]]:
        """Read the targets of volumes after the id *marker*, in their order."""
        found = self._read(self._target.list_exports)
        wanted = sorted(ident for ident in found if marker is None or ident > marker)[:limit]
        return [describe(found[ident]) for ident in wanted]

    def _read(self, read: Callable[[], T]) -> T:
        try:
            with self._target.within(_PATIENCE):
                return read()
        except DriverError as exc:
            raise errors.Unavailable(f'The target cannot be read: {exc}') from exc


def describe(state: TargetState) -> dict[str, Any]:
    """Write a target as a message carries it; secrets are in no target's state."""
    return {
        'volume_id': state.volume_id,
        'iqn': state.iqn,
        'luns': [{'lun': lun.lun, 'device': lun.device, 'online': lun.online} for lun in state.luns],
        'initiators': list(state.initiators),
        'accounts': list(state.accounts),
        'addresses': list(state.addresses),
        'registered': list(state.registered),
        'sessions': [{'initiator': one.initiator, 'address': one.address} for one in state.sessions],
    }
