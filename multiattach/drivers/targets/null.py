# SPDX-License-Identifier: Apache-2.0
"""A target driver that exports nothing: for benchmarks of the control plane and for tests."""

import contextlib
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Self

from multiattach.conf import plugins
from multiattach.domain.connection import TargetAddress
from multiattach.drivers.errors import DriverError
from multiattach.drivers.targets.base import (
    Cut,
    Export,
    Grant,
    LunState,
    NoReservations,
    SessionState,
    TargetInfo,
    TargetState,
    account_name,
    make_chap_grant,
)


class NullTarget(NoReservations):
    OPTS = ()
    protocol = 'iscsi'
    holds_read_only = False

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._grants: dict[str, dict[str, str]] = {}

    @classmethod
    def from_options(cls, options: Any, surroundings: plugins.Surroundings) -> Self:
        return cls()

    def keep_alive(self) -> None: ...

    def close(self) -> None: ...

    def name_account(self, volume_id: str, initiator: str) -> str:
        return account_name(volume_id, initiator)

    def make_grant(self, volume_id: str, initiator: str, mode: str, known: Mapping[str, Any] | None) -> Grant:
        return make_chap_grant(volume_id, initiator, mode, known)

    def ensure_export(self, export: Export) -> TargetInfo:
        with self._lock:
            self._grants[export.volume_id] = {g.initiator: g.username for g in export.grants}
        return self._info(export.volume_id)

    def grant(self, volume_id: str, device: str, grant: Grant) -> TargetInfo:
        with self._lock:
            self._grants.setdefault(volume_id, {})[grant.initiator] = grant.username
        return self._info(volume_id)

    def restrict(self, volume_id: str, grants: Sequence[Grant]) -> None: ...

    def revoke(self, volume_id: str, initiator: str, username: str, *, alone: bool = False) -> None:
        with self._lock:
            self._grants.get(volume_id, {}).pop(initiator, None)
        if alone:
            self.remove_export(volume_id)

    def fence(self, volume_id: str, initiator: str, username: str, *, alone: bool = False, again: bool = False) -> Cut:
        with self._lock:
            known = self._grants.get(volume_id, {}).pop(initiator, None) is not None
            if alone:
                self._grants.pop(volume_id, None)
        return Cut(acl=known, account=known, whole=not again)

    def settle(self, cuts: Sequence[Cut]) -> Sequence[Cut | DriverError]:
        return cuts

    def remove_export(self, volume_id: str) -> None:
        with self._lock:
            self._grants.pop(volume_id, None)

    def extend(self, volume_id: str, device: str) -> None: ...

    def list_exports(self) -> dict[str, TargetState]:
        with self._lock:
            return {
                volume_id: TargetState(
                    volume_id,
                    self._info(volume_id).iqn,
                    1,
                    (LunState(1, '', True, ''),),
                    tuple(grants),
                    tuple(grants.values()),
                    tuple[SessionState, ...](),
                )
                for volume_id, grants in self._grants.items()
            }

    def show(self, volume_id: str) -> TargetState | None:
        return self.list_exports().get(volume_id)

    def within(self, seconds: float) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def locate(self, volume_id: str) -> TargetAddress:
        info = self._info(volume_id)
        return TargetAddress(info.iqn, info.portal, info.lun)

    def list_files(self) -> frozenset[str] | None:
        return None

    def check(self) -> None: ...

    def generation(self) -> int:
        return 1

    def _info(self, volume_id: str) -> TargetInfo:
        return TargetInfo(f'iqn.2010-10.org.openstack:volume-{volume_id}', '127.0.0.1:3260', 1, 1)
