# SPDX-License-Identifier: Apache-2.0
"""The life of an attachment and of a volume as two tables.

Each row says which event leads from which states to which state. The writer of states
(:mod:`multiattach.db.transitions`), the API's enumerations, the documentation and the tests
read these tables; nothing else knows an order of states.
"""

import dataclasses
import enum
from typing import NamedTuple


class Owner(enum.StrEnum):
    """Who takes the next step of a row that is in a state."""

    USER = 'user'
    VOLUME = 'volume worker'
    HOST = 'host agent'
    NOBODY = 'nobody'


class Attachment(enum.StrEnum):
    """State of an attachment; finer than the public ``attach_status`` (contract 3.1)."""

    RESERVED = 'reserved'
    EXPORTING = 'exporting'
    EXPORTED = 'exported'
    CONNECTING = 'connecting'
    ATTACHED = 'attached'
    DETACHING = 'detaching'
    UNEXPORTING = 'unexporting'
    FENCING = 'fencing'
    FENCED = 'fenced'
    ERROR_ATTACHING = 'error_attaching'
    ERROR_DETACHING = 'error_detaching'
    DETACHED = 'detached'


class Volume(enum.StrEnum):
    """Status of a volume as the API shows it (contract 3.1)."""

    CREATING = 'creating'
    AVAILABLE = 'available'
    RESERVED = 'reserved'
    ATTACHING = 'attaching'
    IN_USE = 'in-use'
    DETACHING = 'detaching'
    RETYPING = 'retyping'
    EXTENDING = 'extending'
    MAINTENANCE = 'maintenance'
    DELETING = 'deleting'
    DELETED = 'deleted'
    ERROR = 'error'
    ERROR_DELETING = 'error_deleting'
    ERROR_EXTENDING = 'error_extending'


class Claim(enum.StrEnum):
    """Mark that a legacy action leaves on the volume row, where no attachment row tells it."""

    ATTACHING = 'attaching'  # os-reserve
    DETACHING = 'detaching'  # os-begin_detaching


# Servers that may begin to detach at once, each counted; further ones are not.
_MOST_DETACHING = 9


class Marks(NamedTuple):
    """What a volume's ``claim`` says: one os-reserve, and how many os-begin_detaching have not ended.

    :param attaching: a server is about to attach.
    :param detaching: number of servers that are about to detach.
    """

    attaching: bool = False
    detaching: int = 0

    @property
    def claim(self) -> str | None:
        """The marks as the volume's row keeps them."""
        name = Claim.ATTACHING if self.attaching else Claim.DETACHING if self.detaching else None
        return name if self.detaching <= (0 if self.attaching else 1) else f'{name} {self.detaching}'

    def add_detaching(self) -> 'Marks':
        """Return the marks with one more server that is about to detach."""
        return self._replace(detaching=min(self.detaching + 1, _MOST_DETACHING))

    def end_detaching(self) -> 'Marks':
        """Return the marks after a detach ended."""
        return self._replace(detaching=max(self.detaching - 1, 0))


MARKS: dict[str | None, Marks] = {
    marks.claim: marks
    for marks in (Marks(attaching, number) for attaching in (False, True) for number in range(_MOST_DETACHING + 1))
}
# Claims with a mark of os-reserve, and with one of os-begin_detaching.
ATTACHING_CLAIMS: frozenset[str] = frozenset(claim for claim, marks in MARKS.items() if claim and marks.attaching)
DETACHING_CLAIMS: frozenset[str] = frozenset(claim for claim, marks in MARKS.items() if claim and marks.detaching)


@dataclasses.dataclass(frozen=True)
class StateInfo:
    """What a state means.

    :param public: the ``attach_status`` that the API shows.
    :param owner: who takes the next step.
    """

    public: str
    owner: Owner
    doc: str


@dataclasses.dataclass(frozen=True)
class Transition:
    """One row of a transition table.

    :param event: name of the event, a verb.
    :param sources: states in which the event is accepted.
    :param target: state afterwards; None leaves the choice to the derivation.
    """

    event: str
    sources: frozenset[str]
    target: str | None
    doc: str


A = Attachment
V = Volume

ATTACHMENT_STATES: dict[Attachment, StateInfo] = {
    A.RESERVED: StateInfo('reserved', Owner.USER, 'Place taken on the volume; no host yet.'),
    A.EXPORTING: StateInfo('attaching', Owner.VOLUME, 'The volume worker is to admit the initiator on the target.'),
    A.EXPORTED: StateInfo('attaching', Owner.USER, 'connection_info is stored; the host may connect.'),
    A.CONNECTING: StateInfo('attaching', Owner.HOST, 'The host agent connects the device and gives it to the server.'),
    A.ATTACHED: StateInfo('attached', Owner.NOBODY, 'The server has the volume.'),
    A.DETACHING: StateInfo('detaching', Owner.HOST, 'The host agent takes the device from the server.'),
    A.UNEXPORTING: StateInfo('detaching', Owner.VOLUME, 'The volume worker is to turn the initiator away.'),
    A.FENCING: StateInfo(
        'detaching', Owner.VOLUME, 'The volume worker is to cut the initiator off, whatever its host does.'
    ),
    A.FENCED: StateInfo(
        'error_detaching',
        Owner.USER,
        'Cut off, and seen on the target to be: its host writes no more. It takes no place on the volume.',
    ),
    A.ERROR_ATTACHING: StateInfo(
        'error_attaching', Owner.USER, 'The attach failed and was undone; delete or try again.'
    ),
    A.ERROR_DETACHING: StateInfo('error_detaching', Owner.USER, 'The detach failed; delete again.'),
    A.DETACHED: StateInfo('detached', Owner.NOBODY, 'Gone; the row is kept for its timeline.'),
}


def _rows(*rows: tuple[str, tuple[str, ...], str | None, str]) -> dict[str, Transition]:
    return {row[0]: Transition(row[0], frozenset(row[1]), row[2], row[3]) for row in rows}


ATTACHMENT_EVENTS: dict[str, Transition] = _rows(
    (
        'export',
        (A.RESERVED, A.EXPORTING, A.ATTACHED),
        A.EXPORTING,
        'A connector was given: the initiator is to be admitted (attached without one: unshelved servers).',
    ),
    (
        'exported',
        (A.EXPORTING,),
        A.EXPORTED,
        'The target admits the initiator; connection_info is stored with the state.',
    ),
    (
        'export_failed',
        (A.EXPORTING,),
        A.RESERVED,
        'The export failed for good and was undone; another connector may be tried.',
    ),
    ('connect', (A.EXPORTED, A.CONNECTING), A.CONNECTING, 'The host agent is about to touch its host.'),
    (
        'complete',
        (A.RESERVED, A.EXPORTED, A.CONNECTING, A.ATTACHED),
        A.ATTACHED,
        'The server has the volume (also without connector: shelved servers, contract 2.3).',
    ),
    (
        'attach_failed',
        (A.RESERVED, A.EXPORTING, A.EXPORTED, A.CONNECTING, A.UNEXPORTING),
        A.ERROR_ATTACHING,
        'The attach ended in an error, and what it did was undone.',
    ),
    ('detach', (A.ATTACHED, A.DETACHING, A.ERROR_DETACHING), A.DETACHING, 'The server is to lose the volume.'),
    ('detach_refused', (A.DETACHING,), A.ATTACHED, 'The server kept the device: nothing was taken away.'),
    (
        'detach_failed',
        (A.DETACHING, A.UNEXPORTING),
        A.ERROR_DETACHING,
        'The detach stopped half-way; it may be asked for again.',
    ),
    (
        'unexport',
        (A.EXPORTING, A.EXPORTED, A.CONNECTING, A.ATTACHED, A.DETACHING, A.UNEXPORTING, A.ERROR_DETACHING),
        A.UNEXPORTING,
        'The initiator is to be turned away, the export removed with the last one.',
    ),
    (
        'fence',
        (
            A.RESERVED,
            A.EXPORTING,
            A.EXPORTED,
            A.CONNECTING,
            A.ATTACHED,
            A.DETACHING,
            A.UNEXPORTING,
            A.FENCING,
            A.ERROR_ATTACHING,
            A.ERROR_DETACHING,
        ),
        A.FENCING,
        'The initiator is to be cut off; its host is not asked.',
    ),
    (
        'fenced',
        (A.FENCING,),
        A.FENCED,
        'The target was read again: no leave to log in, no account and no session is left.',
    ),
    (
        'fence_failed',
        (A.FENCING,),
        A.FENCING,
        'The target refused, or still showed something; the worker tries again by itself.',
    ),
    (
        'remove',
        (A.RESERVED, A.UNEXPORTING, A.FENCED, A.ERROR_ATTACHING, A.ATTACHED, A.DETACHING, A.ERROR_DETACHING),
        A.DETACHED,
        'Nothing of the attachment is left on a target or a host.',
    ),
    (
        'abandon',
        tuple(state for state in A if state != A.DETACHED),
        A.DETACHED,
        'Its backend is gone for good, and a person removes the volume: nobody was asked what is left.',
    ),
)

# Statuses that say who uses the volume; each is derived from the volume's attachments.
DERIVED_STATUSES: frozenset[str] = frozenset({V.AVAILABLE, V.RESERVED, V.ATTACHING, V.IN_USE, V.DETACHING})

# First match wins: one sharer in flight never hides the others (contract 11.4 number 1).
DERIVATION: tuple[tuple[frozenset[str], Volume], ...] = (
    (frozenset({A.ATTACHED}), V.IN_USE),
    (frozenset({A.EXPORTING, A.EXPORTED, A.CONNECTING}), V.ATTACHING),
    (frozenset({A.RESERVED}), V.RESERVED),
    (frozenset({A.DETACHING, A.UNEXPORTING, A.FENCING}), V.DETACHING),
)

VOLUME_EVENTS: dict[str, Transition] = _rows(
    ('created', (V.CREATING,), None, 'The storage is there.'),
    ('create_failed', (V.CREATING,), V.ERROR, 'No place, or the backend failed; a message says why.'),
    (
        'delete',
        (V.AVAILABLE, V.ERROR, V.ERROR_EXTENDING),
        V.DELETING,
        'The storage is to go; no attachment may be alive (contract 3.4).',
    ),
    (
        'force_delete',
        (
            V.CREATING,
            V.AVAILABLE,
            V.RESERVED,
            V.ATTACHING,
            V.IN_USE,
            V.DETACHING,
            V.RETYPING,
            V.EXTENDING,
            V.MAINTENANCE,
            V.ERROR,
            V.ERROR_DELETING,
            V.ERROR_EXTENDING,
        ),
        V.DELETING,
        'An admin asks for the same in any status; attachments still refuse.',
    ),
    ('deleted', (V.DELETING,), V.DELETED, 'The storage is gone.'),
    ('delete_failed', (V.DELETING,), V.ERROR_DELETING, 'The backend could not delete.'),
    ('retype', (V.AVAILABLE, V.IN_USE), V.RETYPING, 'The type is to change (contract 5).'),
    ('retyped', (V.RETYPING,), None, 'Type and multiattach flag changed in one transaction.'),
    ('retype_failed', (V.RETYPING,), None, 'Type and flag stay as they were; a message says why.'),
    (
        'extend',
        (V.AVAILABLE, V.IN_USE, V.DETACHING),
        V.EXTENDING,
        'The storage is to grow (detaching: while servers have it that do not).',
    ),
    ('extended', (V.EXTENDING,), None, 'The storage has grown.'),
    ('extend_failed', (V.EXTENDING,), V.ERROR_EXTENDING, 'The backend could not extend.'),
)

# Who carries on after a crash: the worker of the volume's backend.
VOLUME_WORKER_STATUSES: frozenset[str] = frozenset({V.CREATING, V.DELETING, V.RETYPING, V.EXTENDING})

# States in which a target may know the attachment's initiator.
ON_TARGET: frozenset[str] = frozenset(
    {A.EXPORTING, A.EXPORTED, A.CONNECTING, A.ATTACHED, A.DETACHING, A.UNEXPORTING, A.FENCING, A.ERROR_DETACHING}
)
# States in which a target must admit the initiator; UNEXPORTING and FENCING are on their way out.
ADMITTED: frozenset[str] = frozenset({A.EXPORTED, A.CONNECTING, A.ATTACHED, A.DETACHING, A.ERROR_DETACHING})
# States in which the attachment's host may hold a session and a device for it.
ON_HOST: frozenset[str] = frozenset({A.CONNECTING, A.ATTACHED, A.DETACHING, A.ERROR_DETACHING})
# States that take no place on a volume: nothing of them is left but the row.
PLACELESS: frozenset[str] = frozenset({A.FENCED, A.ERROR_ATTACHING, A.DETACHED})


def public_status(state: str) -> str:
    """Return the ``attach_status`` that the API shows for an attachment's state.

    :param state: value of :class:`Attachment`.
    :returns: a value of contract 3.1's enumeration.
    """
    return ATTACHMENT_STATES[Attachment(state)].public


def states_of(status: str) -> tuple[str, ...]:
    """Return the states that the API shows as one ``attach_status``.

    :param status: public status, for instance from a list filter.
    :returns: the states; empty for a word that is no status.
    """
    return tuple(state for state, info in ATTACHMENT_STATES.items() if info.public == status)


def owned_states(owner: Owner) -> tuple[str, ...]:
    """Return the attachment states in which *owner* takes the next step.

    :param owner: a role.
    :returns: states, in the order of the table.
    """
    return tuple(state for state, info in ATTACHMENT_STATES.items() if info.owner is owner)


def derive_status(counts: dict[str, int], claim: str | None) -> str:
    """Return the status of a volume that only its attachments decide.

    :param counts: number of live attachments by state.
    :param claim: marks of legacy actions, a key of :data:`MARKS`.
    :returns: one of :data:`DERIVED_STATUSES`.
    """
    for states, status in DERIVATION:
        if not any(counts.get(state, 0) for state in states):
            continue
        return V.DETACHING if status is V.IN_USE and claim in DETACHING_CLAIMS else status
    return V.ATTACHING if claim in ATTACHING_CLAIMS else V.AVAILABLE
