# SPDX-License-Identifier: Apache-2.0
"""SCSI-3 persistent reservations at the target, read and ended for people."""

import contextlib
from collections.abc import Iterator
from typing import Any

from oslo_log import log

from multiattach.domain import errors
from multiattach.drivers.errors import DriverError
from multiattach.drivers.targets.base import Reservations, Target
from multiattach.volume import answers
from multiattach.volume.locks import VolumeLocks

LOG = log.getLogger(__name__)
_PATIENCE = 7.0  # s; who asks is to have an answer in ten


class ReservationSteps:
    def __init__(self, target: Target, locks: VolumeLocks) -> None:
        self._target = target
        self._locks = locks

    def show(self, volume_id: str) -> dict[str, Any]:
        """Tell who is registered, see :func:`describe`.

        :raises Conflict: the target keeps no reservations.
        :raises Unavailable: it cannot be read now.
        """
        self._check()
        try:
            with self._target.within(_PATIENCE):
                return describe(self._target.read_reservations(volume_id))
        except DriverError as exc:
            raise errors.Unavailable(f'The target cannot be read: {exc}') from exc

    def clear(self, volume_id: str, initiators: list[str] | None) -> dict[str, Any]:
        """End the registrations of some initiators, or all; tell what the target then still shows.

        :raises Conflict: the target keeps no reservations.
        :raises BackendError: the target refused, or shows afterwards what was to be ended.
        :raises OutcomeUnknown: it did not answer; repeat it.
        """
        self._check()
        with self._hold(volume_id):
            left = Reservations()
            for initiator in [None] if initiators is None else initiators:
                left = self._target.clear_reservations(volume_id, initiator)
        LOG.warning('Volume %s: the registrations of %s are ended', volume_id, initiators or 'all initiators')
        # A target may have forgotten which letters of a name were capitals.
        gone = None if initiators is None else {one.lower() for one in initiators}
        names = {one.initiator for one in left.registrations}
        if found := sorted(name for name in names if gone is None or name.lower() in gone):
            raise errors.BackendError(f'The target still shows registrations of {", ".join(found)}: try again.')
        return describe(left)

    @contextlib.contextmanager
    def _hold(self, volume_id: str) -> Iterator[None]:
        with (
            self._locks.hold(volume_id, 'clear reservations', urgent=True),
            answers.expect('The registrations cannot be ended'),
        ):
            yield

    def _check(self) -> None:
        if not self._target.keeps_reservations:
            raise errors.Conflict(
                'The target of the volume keeps no reservations: use a volume type with the extra spec '
                'multiattach:reservations="<is> True".'
            )


def describe(found: Reservations) -> dict[str, Any]:
    """Write reservations as a message carries them."""
    return {
        'generation': found.generation,
        'kind': found.kind,
        'registrations': [
            {'initiator': one.initiator, 'key': one.key, 'is_holder': one.is_holder} for one in found.registrations
        ],
    }
