# SPDX-License-Identifier: Apache-2.0
"""Volumes that are made of other volumes, or of snapshots: what is asked of the source, and what they have of it.

The storage copies locally, so that a clone is always on the backend of its source.
"""

import dataclasses
from collections.abc import Iterable, Mapping

from sqlalchemy.orm import Session

from multiattach.db import clones as db_clones, models, volumes as db_volumes
from multiattach.domain import errors, states
from multiattach.domain.snapshots import Snapshot
from multiattach.engine import placement
from multiattach.engine.access import lock_snapshot, lock_volume, show_sharers
from multiattach.engine.context import RequestContext
from multiattach.engine.policy import Policy


@dataclasses.dataclass(frozen=True)
class CloneWish:
    """What a volume is to be made of: a volume, or a snapshot."""

    volume_id: str | None
    snapshot_id: str | None
    size: int | None
    zone: str | None


@dataclasses.dataclass(frozen=True)
class Source:
    """What a volume is made of.

    :param volume: the volume, or that of the snapshot.
    :param size: GiB of what is copied.
    :param origin: column of the new volume that names it, with its UUID.
    """

    volume: models.Volume
    size: int
    origin: Mapping[str, str]


def lock_source(session: Session, policy: Policy, ctx: RequestContext, wish: CloneWish) -> Source:
    """Lock what is to be cloned: nobody deletes or changes it until the clone is recorded.

    :raises InvalidVolume: the status of a volume does not allow it; ``InvalidSnapshot`` for a snapshot.
    :raises InvalidInput: the clone would be smaller, or elsewhere.
    """
    if wish.snapshot_id is not None:
        source, noun = _lock_snapshot(session, policy, ctx, wish.snapshot_id), 'snapshot'
    else:
        source, noun = _lock_volume(session, policy, ctx, str(wish.volume_id)), 'volume'
    if wish.size is not None and wish.size < source.size:
        raise errors.InvalidInput(
            f"Invalid input received: Volume size '{wish.size}'GB cannot be smaller than original {noun} "
            f'size {source.size}GB. They must be >= original {noun} size.'
        )
    if wish.zone is not None and wish.zone != source.volume.availability_zone:
        raise errors.InvalidInput(
            f'Invalid input received: Volume must be in the same availability zone as the source {noun}.'
        )
    return source


def _lock_volume(session: Session, policy: Policy, ctx: RequestContext, volume_id: str) -> Source:
    volume = lock_volume(session, policy, ctx, volume_id, 'volume:get')
    if show_sharers(session, volume) not in states.SETTLED:
        raise errors.InvalidVolume(
            "Invalid volume: Originating source volume status must be one of '"
            f"{', '.join(states.SETTLED)}' values; it is {volume.status}."
        )
    return Source(volume, volume.size, {'source_volid': volume.id})


def _lock_snapshot(session: Session, policy: Policy, ctx: RequestContext, snapshot_id: str) -> Source:
    snapshot = lock_snapshot(session, policy, ctx, snapshot_id, 'volume:get_snapshot')
    if snapshot.status != Snapshot.AVAILABLE:
        raise errors.InvalidSnapshot(
            f"Invalid snapshot: Originating snapshot status must be one of '{Snapshot.AVAILABLE}' values; it is "
            f'{snapshot.status}.'
        )
    return Source(db_volumes.load(session, snapshot.volume_id), snapshot.size, {'snapshot_id': snapshot.id})


def choose(
    source: Source, size: int, type_id: str, specs: Mapping[str, str | None], backends: Iterable[placement.Candidate]
) -> placement.Choice:
    """Return the source's backend if it has a place for a clone, or why it has none.

    :raises InvalidInput: the type is another one than the source's, which that backend does not serve.
    """
    here = [backend for backend in backends if backend.host == source.volume.host]
    if 'snapshot_id' in source.origin and any(backend.snapshots is None for backend in here):
        return placement.Choice(None, 'A volume worker of the backend does not report, or runs an older release.')
    if type_id != source.volume.volume_type_id and not any(backend.fits(specs) for backend in here):
        raise errors.InvalidInput(
            f'Invalid input received: Invalid volume_type provided: {type_id} (requested type is not '
            'compatible; either match source volume, or omit type argument).'
        )
    choice = placement.choose(placement.Requirements(size, None, specs), here)
    if choice.backend is None:
        return placement.Choice(None, f'{choice.reason} A clone is made on the backend of its source.')
    return choice


def check_not_copied(session: Session, volume: models.Volume) -> None:
    """Refuse to change or delete what a worker copies."""
    if db_clones.is_being_copied(session, volume.id):
        raise errors.InvalidVolume(
            'Invalid volume: a clone of it is being made; try again when the clone is available.'
        )
