# SPDX-License-Identifier: Apache-2.0
"""What the storage of a backend has, compared with what is recorded."""

import time
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any

from multiattach.db.inventories import Owner
from multiattach.domain.drift import Drift
from multiattach.domain.findings import Seen
from multiattach.domain.target_drift import name_places
from multiattach.domain.volume_states import WITH_STORAGE
from multiattach.drivers.backends.names import Stored
from multiattach.steps.reconciler import Owns
from multiattach.steps.storage import Storage
from multiattach.volume.remnants import Remnants, choose

_PAUSE = 1800.0  # s between two looks that nobody asks for: Ceph is asked for each image
_LEFT = 'draft or trash of'


class VolumeAccounts:
    """Compares volumes, and looks for what steps have left.

    :param backend: one that has ``list_storage``.
    :param is_removing: tells what is on its way out.
    :param find_name: tells the id after which the storage of a volume is named.
    """

    def __init__(
        self,
        rows: Storage,
        backend: Any,
        host: str,
        is_removing: Callable[[str], bool],
        find_name: Callable[[str], str] = str,
    ) -> None:
        self._rows = rows
        self._backend = backend
        self._is_removing = is_removing
        self._find_name = find_name
        self._look: Callable[[], Stored] = backend.list_storage
        self._host = host

    def compare(self) -> list[Seen]:
        """List what differs.

        :raises DriverError: the storage cannot be read.
        """
        there, rows = self._look(), self._rows.list_statuses(self._host)
        lost = {ident for ident, status in rows.items() if status in WITH_STORAGE} - there.volumes
        stray, remnants = there.volumes - rows.keys(), there.remnants
        if not (lost or stray or remnants):
            return []
        # Or they were made, moved or deleted between the two looks, or are about to be.
        busy = self._rows.find_busy(sorted(stray | remnants)) | {one for one in remnants if self._is_removing(one)}
        again = self._look()
        rows = self._rows.list_statuses(self._host)
        lost = {ident for ident in lost - again.volumes if rows.get(ident) in WITH_STORAGE}
        stray, remnants = (stray & again.volumes) - busy, (remnants & again.remnants) - busy
        owners = self._rows.find_owners(sorted(stray | remnants))
        needless = choose(remnants, owners, again, self._backend)
        return [
            *(Seen(Drift.NO_STORAGE, self._host, ident, None, self._name(ident)) for ident in sorted(lost)),
            *(Seen(Drift.REMNANT, self._host, owners[ident].volume_id, None, ident) for ident in sorted(needless)),
            *(
                Seen(
                    Drift.STRAY_STORAGE, self._host, owners[ident].volume_id, None, f'{_LEFT} {ident}, and nothing else'
                )
                for ident in sorted(remnants & owners.keys() - needless)
            ),
            *self._tell_strays(stray, remnants - owners.keys(), owners),
        ]

    def _name(self, volume_id: str) -> str:
        return f'volume-{self._find_name(volume_id)}'

    def _tell_strays(self, stray: Set[str], unknown: Set[str], owners: Mapping[str, Owner]) -> list[Seen]:
        """One finding for each volume that is elsewhere, and one for all others: Cinder may have any number there."""
        away = {ident: owners[ident].host for ident in stray if ident in owners and owners[ident].lives}
        seen = [
            Seen(Drift.STRAY_STORAGE, self._host, ident, None, f'{self._name(ident)}, which is on {host}')
            for ident, host in sorted(away.items())
        ]
        names = [self._name(ident) for ident in stray - away.keys()] + [f'{_LEFT} {ident}' for ident in unknown]
        if names:
            seen.append(Seen(Drift.STRAY_STORAGE, self._host, None, None, name_places('not recorded', names)))
        return seen


class StorageAccounts:
    """All comparisons of one backend with its storage.

    :param parts: each has ``compare()``.
    """

    def __init__(self, parts: Sequence[Any], remnants: Remnants) -> None:
        self._parts = parts
        self._remnants = remnants
        self._looked: float | None = None
        self._seen: list[Seen] = []

    def look(self, owns: Owns, *, everything: bool) -> list[Seen]:
        """List what differs, or did at the last look.

        :param everything: look now.
        :raises DriverError: the storage cannot be read.
        """
        now = time.monotonic()
        if everything or self._looked is None or now - self._looked > _PAUSE:
            self._seen = [one for part in self._parts for one in part.compare()]
            self._looked = now
        return [one for one in self._seen if owns(one.volume_id or one.about)]

    def remove(self, one: Seen) -> None:
        """Take a remnant away.

        :raises OutcomeUnknown: that takes long, and goes on.
        """
        self._looked = None  # whatever comes of it
        self._remnants.remove(one.about, str(one.volume_id))
