# SPDX-License-Identifier: Apache-2.0
"""The way of a volume from one backend to another, as a table: who acts in which state, and which event leads on.

The volume is on its source up to ``switched``, and on its destination from there on. Nothing of the source is removed
before what was copied has been read back.
"""

import dataclasses
import enum
from collections.abc import Iterable

from multiattach.domain.volume_states import Transition, rows


class State(enum.StrEnum):
    STARTING = 'starting'
    COPYING = 'copying'
    COPIED = 'copied'
    CLEARING = 'clearing'
    UNDOING = 'undoing'
    REVOKING = 'revoking'
    DONE = 'done'
    FAILED = 'failed'


class Side(enum.StrEnum):
    """Whose worker takes the next step."""

    SOURCE = 'source'
    DESTINATION = 'destination'
    NOBODY = 'nobody'


@dataclasses.dataclass(frozen=True)
class StateInfo:
    """What a state means.

    :param shown: ``migration_status`` of the volume, as Block Storage calls it.
    :param before: the volume is on its source, and may be its destination's soon.
    """

    side: Side
    shown: str
    doc: str
    before: bool = False


S = State

STATES: dict[State, StateInfo] = {
    S.STARTING: StateInfo(Side.DESTINATION, 'starting', 'Nothing is copied yet.', before=True),
    S.COPYING: StateInfo(
        Side.DESTINATION,
        'migrating',
        'The worker of the destination copies, and reads back what it wrote.',
        before=True,
    ),
    S.COPIED: StateInfo(
        Side.DESTINATION,
        'completing',
        'The copy is proven; the volume is about to be that of the destination.',
        before=True,
    ),
    S.CLEARING: StateInfo(Side.SOURCE, 'success', 'The worker of the source removes the storage that was left.'),
    S.UNDOING: StateInfo(Side.DESTINATION, 'error', 'The worker of the destination removes what it copied.'),
    S.REVOKING: StateInfo(Side.DESTINATION, 'error', 'The same of a copy that was complete.'),
    S.DONE: StateInfo(Side.NOBODY, 'success', 'The volume is on its destination; nothing is left to do.'),
    S.FAILED: StateInfo(Side.NOBODY, 'error', 'The volume is on its source; nothing is left to do.'),
}

EVENTS: dict[str, Transition] = rows(
    ('begin', (S.STARTING, S.COPYING), S.COPYING, 'The copy is begun, or begun anew.'),
    ('copied', (S.COPYING,), S.COPIED, 'The copy was read back and is what was read from the source.'),
    ('switched', (S.COPIED,), S.CLEARING, 'The volume is on its destination, in one transaction with its row.'),
    ('fail', (S.STARTING, S.COPYING, S.COPIED), S.UNDOING, 'It failed, or was broken off, and has not its name yet.'),
    ('revoke', (S.COPIED,), S.REVOKING, 'The same of a copy that may have the name of the volume.'),
    ('undone', (S.UNDOING, S.REVOKING), S.FAILED, 'Nothing is left at the destination.'),
    ('cleared', (S.CLEARING,), S.DONE, 'Nothing is left at the source.'),
)


def list_states(sides: Iterable[Side]) -> frozenset[str]:
    wanted = set(sides)
    return frozenset(state for state, info in STATES.items() if info.side in wanted)


BEFORE: frozenset[str] = frozenset(state for state, info in STATES.items() if info.before)
AT_DESTINATION: frozenset[str] = list_states([Side.DESTINATION])
AT_SOURCE: frozenset[str] = list_states([Side.SOURCE])
OPEN: frozenset[str] = AT_DESTINATION | AT_SOURCE
# What a volume on its way shows.
UNDER_WAY: frozenset[str] = frozenset(info.shown for info in STATES.values() if info.before)
# What an administrator may write where nothing is under way; "none" for nothing.
RESETTABLE: frozenset[str] = frozenset({'none', 'error', 'success'})


def tell(state: str, progress: int) -> str:
    """Say in a sentence or two how far a migration is."""
    share = f' {progress} % of that is done.' if state == S.COPYING else ''
    return f'It is migrated: {STATES[State(state)].doc}{share}'
