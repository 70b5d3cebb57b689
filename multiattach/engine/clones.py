# SPDX-License-Identifier: Apache-2.0
"""Volumes that are made of other volumes: what is asked of the source, and what they have of it.

The storage copies locally, so that a clone is always on the backend of its source.
"""

import dataclasses
from collections.abc import Iterable, Mapping

from sqlalchemy.orm import Session

from multiattach.db import clones as db_clones, models
from multiattach.domain import errors, states
from multiattach.engine import placement
from multiattach.engine.access import lock_volume, show_sharers
from multiattach.engine.context import RequestContext
from multiattach.engine.policy import Policy


@dataclasses.dataclass(frozen=True)
class CloneWish:
    source_id: str
    size: int | None
    zone: str | None


def lock_source(session: Session, policy: Policy, ctx: RequestContext, wish: CloneWish) -> models.Volume:
    """Lock a volume to be cloned: nobody deletes or changes it until the clone is recorded.

    :raises InvalidVolume: its status does not allow it.
    :raises InvalidInput: the clone would be smaller, or elsewhere.
    """
    source = lock_volume(session, policy, ctx, wish.source_id, 'volume:get')
    if show_sharers(session, source) not in states.SETTLED:
        raise errors.InvalidVolume(
            "Invalid volume: Originating source volume status must be one of '"
            f"{', '.join(states.SETTLED)}' values; it is {source.status}."
        )
    if wish.size is not None and wish.size < source.size:
        raise errors.InvalidInput(
            f"Invalid input received: Volume size '{wish.size}'GB cannot be smaller than original volume "
            f'size {source.size}GB. They must be >= original volume size.'
        )
    if wish.zone is not None and wish.zone != source.availability_zone:
        raise errors.InvalidInput(
            'Invalid input received: Volume must be in the same availability zone as the source volume.'
        )
    return source


def choose(
    source: models.Volume,
    size: int,
    type_id: str,
    specs: Mapping[str, str | None],
    backends: Iterable[placement.Candidate],
) -> placement.Choice:
    """Return the source's backend if it has a place for a clone, or why it has none.

    :raises InvalidInput: the type is another one than the source's, which that backend does not serve.
    """
    here = [backend for backend in backends if backend.host == source.host]
    if type_id != source.volume_type_id and not any(backend.fits(specs) for backend in here):
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
