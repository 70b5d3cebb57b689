# SPDX-License-Identifier: Apache-2.0
"""A target that keeps SCSI-3 registrations in memory: what the control plane asks of the driver ``lio`` and no more.

Initiators are told to register by the test. With the kernel's target stands tests/e2e/test_lio.py.
"""

from multiattach.drivers.targets.base import Cut, Grant, Registration, Reservations, TargetInfo
from multiattach.drivers.targets.null import NullTarget


class KeepingTarget(NullTarget):
    keeps_reservations = True
    holds_read_only = True

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, Reservations] = {}
        self.modes: dict[tuple[str, str], str] = {}
        self.cleared: list[tuple[str, str | None]] = []

    def register(self, volume_id: str, initiator: str, key: str = '00000000000000ab', kind: int | None = None) -> None:
        before = self.found.get(volume_id, Reservations())
        made = Registration(initiator, key, kind is not None)
        kept = tuple(one for one in before.registrations if one.initiator != initiator)
        self.found[volume_id] = Reservations(before.generation + 1, kind or before.kind, (*kept, made))

    def grant(self, volume_id: str, device: str, grant: Grant) -> TargetInfo:
        self.modes[volume_id, grant.initiator] = grant.mode
        return super().grant(volume_id, device, grant)

    def revoke(self, volume_id: str, initiator: str, username: str, *, alone: bool = False) -> None:
        super().revoke(volume_id, initiator, username, alone=alone)
        self._end(volume_id, initiator)

    def fence(self, volume_id: str, initiator: str, username: str, *, alone: bool = False, again: bool = False) -> Cut:
        cut = super().fence(volume_id, initiator, username, alone=alone, again=again)
        had = self.read_reservations(volume_id).has(initiator)
        self._end(volume_id, initiator)
        return Cut(acl=cut.acl, account=cut.account, whole=cut.whole, registration=had)

    def read_reservations(self, volume_id: str) -> Reservations:
        return self.found.get(volume_id, Reservations())

    def clear_reservations(self, volume_id: str, initiator: str | None) -> Reservations:
        self.cleared.append((volume_id, initiator))
        self._end(volume_id, initiator)
        return self.read_reservations(volume_id)

    def _end(self, volume_id: str, initiator: str | None) -> None:
        before = self.read_reservations(volume_id)
        left = tuple(one for one in before.registrations if initiator is not None and one.initiator != initiator)
        kind = before.kind if any(one.is_holder for one in left) else None
        if left != before.registrations:
            self.found[volume_id] = Reservations(before.generation + 1, kind, left)
