# SPDX-License-Identifier: Apache-2.0
"""SCSI-3 persistent reservations: who is registered at a volume, and who of those holds it."""

import dataclasses
from collections.abc import Mapping
from typing import Any

# SPC-4 table 38, "Persistent reservation type codes".
TYPES: Mapping[int, str] = {
    1: 'write exclusive',
    3: 'exclusive access',
    5: 'write exclusive, registrants only',
    6: 'exclusive access, registrants only',
    7: 'write exclusive, all registrants',
    8: 'exclusive access, all registrants',
}


@dataclasses.dataclass(frozen=True)
class Registrant:
    """A registration, with what is recorded of its initiator.

    :param initiator: as the storage knows it.
    :param key: 16 hex digits.
    :param attachment_id: newest attachment of the volume that has, or last had, this initiator; None if there is none.
    :param status: public status of that attachment; ``detached`` if it is gone.
    :param server_name: None where nobody told this service, as where Nova is.
    """

    initiator: str
    key: str
    is_holder: bool
    attachment_id: str | None = None
    status: str | None = None
    server_id: str | None = None
    server_name: str | None = None


@dataclasses.dataclass(frozen=True)
class VolumeReservations:
    """What a target tells of a volume.

    :param generation: grows with each change that an initiator makes.
    :param kind: a key of :data:`TYPES`, None if nobody holds the volume.
    """

    volume_id: str
    generation: int
    kind: int | None
    registrants: tuple[Registrant, ...]


def read(volume_id: str, told: Mapping[str, Any], known: Mapping[str, Registrant]) -> VolumeReservations:
    """Join what a worker told and what is recorded.

    :param told: as :func:`multiattach.volume.reservations.describe` writes it.
    :param known: by initiator.
    """
    return VolumeReservations(
        volume_id,
        told['generation'],
        told['kind'],
        tuple(
            dataclasses.replace(
                known.get(one['initiator'], Registrant(one['initiator'], '', False)),
                key=one['key'],
                is_holder=one['is_holder'],
            )
            for one in told['registrations']
        ),
    )
