# SPDX-License-Identifier: Apache-2.0
"""The life of an attachment as two tables; those of a volume are in :mod:`multiattach.domain.volume_states`.

Each row says which event leads from which states to which state. The writer of states
(:mod:`multiattach.db.transitions`), the API's enumerations, the documentation and the tests
read these tables; nothing else knows an order of states, or builds a set of them.
"""

import dataclasses
import enum
from typing import NamedTuple

from multiattach.domain.volume_states import (
    BUSY as BUSY,
    COPYING as COPYING,
    DERIVED_STATUSES as DERIVED_STATUSES,
    FAILED as FAILED,
    REIMAGEABLE as REIMAGEABLE,
    REIMAGEABLE_RESERVED as REIMAGEABLE_RESERVED,
    RESETTABLE as RESETTABLE,
    SETTLED as SETTLED,
    TAKEN as TAKEN,
    VOLUME_EVENTS as VOLUME_EVENTS,
    VOLUME_STATES as VOLUME_STATES,
    WITH_SERVER as WITH_SERVER,
    WITH_STEP as WITH_STEP,
    WITHOUT_STORAGE as WITHOUT_STORAGE,
    WORKER_STATUSES as WORKER_STATUSES,
    Owner as Owner,
    Transition as Transition,
    Volume as Volume,
    find_status_owner as find_status_owner,
    rows,
)


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


class Claim(enum.StrEnum):
    """Mark that a legacy action leaves on the volume row, where no attachment row tells it."""

    ATTACHING = 'attaching'  # os-reserve
    DETACHING = 'detaching'  # os-begin_detaching


# Servers that may begin to detach at once, each counted; further ones are not.
_MOST_DETACHING = 9


class Marks(NamedTuple):
    """What a volume's ``claim`` says: one os-reserve, and how many os-begin_detaching have not ended."""

    attaching: bool = False
    detaching: int = 0

    @property
    def claim(self) -> str | None:
        name = Claim.ATTACHING if self.attaching else Claim.DETACHING if self.detaching else None
        return name if self.detaching <= (0 if self.attaching else 1) else f'{name} {self.detaching}'

    def add_detaching(self) -> 'Marks':
        return self._replace(detaching=min(self.detaching + 1, _MOST_DETACHING))

    def end_detaching(self) -> 'Marks':
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
    """What a state of an attachment means.

    :param owner: who takes the next step where a client, such as Nova, drives the attachment.
    :param makes: status that it gives its volume; None for none.
    :param agent: who takes the next step where a host agent drives it; None for the same.
    :param on_target: a target may know the initiator.
    :param admitted: a target must admit the initiator.
    :param on_host: the host may hold a session and a device for it.
    :param takes_place: it takes a place on the volume: more of it than the row is left.
    :param at_rest: nobody has a step of it in hand, and it is to be removed if its server is gone.
    :param ordered: an order to whoever acts next may be on its way.
    """

    public: str
    owner: Owner
    makes: Volume | None
    doc: str
    agent: Owner | None = None
    on_target: bool = False
    admitted: bool = False
    on_host: bool = False
    takes_place: bool = True
    at_rest: bool = False
    ordered: bool = False


A = Attachment
V = Volume

ATTACHMENT_STATES: dict[Attachment, StateInfo] = {
    A.RESERVED: StateInfo(
        'reserved',
        Owner.USER,
        V.RESERVED,
        'Reserved for a server; no connector yet.',
        agent=Owner.HOST,
        at_rest=True,
        ordered=True,
    ),
    A.EXPORTING: StateInfo(
        'attaching',
        Owner.VOLUME,
        V.ATTACHING,
        'The volume worker exports the volume to the initiator.',
        on_target=True,
        ordered=True,
    ),
    A.EXPORTED: StateInfo(
        'attaching',
        Owner.USER,
        V.ATTACHING,
        'connection_info is stored; the host may connect.',
        agent=Owner.HOST,
        on_target=True,
        admitted=True,
        at_rest=True,
    ),
    A.CONNECTING: StateInfo(
        'attaching',
        Owner.HOST,
        V.ATTACHING,
        'The host agent connects the device and attaches it to the server.',
        on_target=True,
        admitted=True,
        on_host=True,
    ),
    A.ATTACHED: StateInfo(
        'attached',
        Owner.NOBODY,
        V.IN_USE,
        'The server has the volume.',
        on_target=True,
        admitted=True,
        on_host=True,
        at_rest=True,
    ),
    A.DETACHING: StateInfo(
        'detaching',
        Owner.HOST,
        V.DETACHING,
        'The host agent detaches the device from the server.',
        on_target=True,
        admitted=True,
        on_host=True,
        ordered=True,
    ),
    A.UNEXPORTING: StateInfo(
        'detaching',
        Owner.VOLUME,
        V.DETACHING,
        'The volume worker removes the access of the initiator.',
        on_target=True,
        ordered=True,
    ),
    A.FENCING: StateInfo(
        'detaching',
        Owner.VOLUME,
        V.DETACHING,
        'The volume worker fences the initiator, whatever its host does.',
        on_target=True,
        ordered=True,
    ),
    A.FENCED: StateInfo(
        'error_detaching',
        Owner.USER,
        None,
        'Fenced, with proof read from the target: its host can no longer write. It is no use of the volume any more.',
        takes_place=False,
    ),
    A.ERROR_ATTACHING: StateInfo(
        'error_attaching',
        Owner.USER,
        None,
        'The attach failed and was reverted; delete the attachment or try again.',
        takes_place=False,
        at_rest=True,
    ),
    A.ERROR_DETACHING: StateInfo(
        'error_detaching',
        Owner.USER,
        None,
        'The detach failed; delete the attachment again.',
        on_target=True,
        admitted=True,
        on_host=True,
        at_rest=True,
    ),
    A.DETACHED: StateInfo(
        'detached', Owner.NOBODY, None, 'Deleted; the record is kept for its timeline.', takes_place=False
    ),
}

ATTACHMENT_EVENTS: dict[str, Transition] = rows(
    (
        'export',
        (A.RESERVED, A.EXPORTING, A.ATTACHED),
        A.EXPORTING,
        'A connector was supplied: the volume is to be exported to its initiator (from attached: unshelved servers).',
    ),
    (
        'exported',
        (A.EXPORTING,),
        A.EXPORTED,
        'The initiator has access to the target; connection_info is stored with the state.',
    ),
    (
        'export_failed',
        (A.EXPORTING,),
        A.RESERVED,
        'The export failed permanently and was reverted; another connector can be tried.',
    ),
    ('connect', (A.EXPORTED, A.CONNECTING), A.CONNECTING, 'The host agent is about to change its host.'),
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
        'The attach failed and was reverted.',
    ),
    (
        'detach',
        (A.ATTACHED, A.DETACHING, A.ERROR_DETACHING),
        A.DETACHING,
        'The volume is to be detached from the server.',
    ),
    ('detach_refused', (A.DETACHING,), A.ATTACHED, 'The server did not release the device: nothing changed.'),
    (
        'detach_failed',
        (A.DETACHING, A.UNEXPORTING),
        A.ERROR_DETACHING,
        'The detach stopped half-way; it can be requested again.',
    ),
    (
        'unexport',
        (A.EXPORTING, A.EXPORTED, A.CONNECTING, A.ATTACHED, A.DETACHING, A.UNEXPORTING, A.ERROR_DETACHING),
        A.UNEXPORTING,
        'The access of the initiator is to be removed; with the last one, the export as well.',
    ),
    (
        'fence',
        tuple(state for state in A if state not in (A.FENCED, A.DETACHED)),
        A.FENCING,
        'The initiator is to be fenced; its host is not contacted.',
    ),
    ('fenced', (A.FENCING,), A.FENCED, 'The target was read again: no ACL entry, account or session remains.'),
    (
        'fence_failed',
        (A.FENCING,),
        A.FENCING,
        'The target refused, or still showed something; the worker retries automatically.',
    ),
    (
        'remove',
        (A.RESERVED, A.UNEXPORTING, A.FENCED, A.ERROR_ATTACHING, A.ATTACHED, A.DETACHING, A.ERROR_DETACHING),
        A.DETACHED,
        'Nothing of the attachment remains on a target or a host.',
    ),
    (
        'abandon',
        tuple(state for state in A if state != A.DETACHED),
        A.DETACHED,
        'Its backend is lost, and an operator removes the volume; what remains was not checked.',
    ),
)

# First match wins: one sharer in flight never hides the others (contract 11.4 number 1).
DERIVATION: tuple[tuple[frozenset[str], Volume], ...] = tuple(
    (frozenset(state for state, info in ATTACHMENT_STATES.items() if info.makes is status), status)
    for status in (V.IN_USE, V.ATTACHING, V.RESERVED, V.DETACHING)
)

# -- sets of states ---------------------------------------------------------------------------------


def owned_states(owner: Owner, *, by_agent: bool = False) -> tuple[str, ...]:
    """Return the attachment states in which *owner* takes the next step, in the order of the table.

    :param by_agent: of attachments that a host agent drives.
    """
    return tuple(state for state in ATTACHMENT_STATES if find_owner(state, by_agent=by_agent) is owner)


def find_owner(state: str, *, by_agent: bool) -> Owner:
    """Return who takes the next step of an attachment.

    :param by_agent: a host agent of this service drives it; else Nova or another client does.
    """
    info = ATTACHMENT_STATES[Attachment(state)]
    return (info.agent or info.owner) if by_agent else info.owner


_INFOS = ATTACHMENT_STATES.items()
# What a target may know, and what it must admit: UNEXPORTING and FENCING are on their way out.
ON_TARGET: frozenset[str] = frozenset(state for state, info in _INFOS if info.on_target)
ADMITTED: frozenset[str] = frozenset(state for state, info in _INFOS if info.admitted)
ON_HOST: frozenset[str] = frozenset(state for state, info in _INFOS if info.on_host)
PLACELESS: frozenset[str] = frozenset(state for state, info in _INFOS if not info.takes_place)
AT_REST: frozenset[str] = frozenset(state for state, info in _INFOS if info.at_rest)
ORDERED: frozenset[str] = frozenset(state for state, info in _INFOS if info.ordered)
# Somebody is to act, or to go on; the public statuses attaching and detaching.
IN_FLIGHT: frozenset[str] = frozenset(state for state, info in _INFOS if info.makes in (V.ATTACHING, V.DETACHING))
# The server is to get the volume, and has not got it.
ON_THE_WAY: frozenset[str] = frozenset(state for state, info in _INFOS if info.makes in (V.RESERVED, V.ATTACHING))
# The server is not to get the volume, or to keep it, unless somebody asks anew.
OVER: frozenset[str] = frozenset(state for state, info in _INFOS if info.makes is None)
# A detach has begun, and something of the attachment is left on the target.
LEAVING: frozenset[str] = frozenset(state for state, info in _INFOS if info.on_target and 'detaching' in info.public)
CUT_OFF: frozenset[str] = frozenset(str(ATTACHMENT_EVENTS[event].target) for event in ('fence', 'fenced'))
LIVE: frozenset[str] = ATTACHMENT_EVENTS['abandon'].sources
# What the service itself carries on with after a crash: a worker, an agent, and an agent of what it drives.
WORKER_STATES: frozenset[str] = frozenset(owned_states(Owner.VOLUME))
AGENT_STATES: frozenset[str] = frozenset(owned_states(Owner.HOST, by_agent=True))
OWN_STATES: frozenset[str] = frozenset(owned_states(Owner.HOST)) | WORKER_STATES
# What an agent carries on with after a restart; for an export it waits, which the worker resumes itself.
AGENT_OPEN: frozenset[str] = AGENT_STATES | ON_THE_WAY
# Where an agent drives, those at rest are fewer: what is reserved or exported is its to go on with.
AGENT_AT_REST: frozenset[str] = AT_REST - AGENT_STATES

# What marks of legacy actions make of a volume, where no attachment does.
MARKED: frozenset[str] = frozenset(Volume(claim) for claim in Claim)


def public_status(state: str) -> str:
    """Return the ``attach_status`` that the API shows for an attachment's state."""
    return ATTACHMENT_STATES[Attachment(state)].public


def states_of(status: str) -> tuple[str, ...]:
    """Return the states that the API shows as one ``attach_status``; none for a word that is no status."""
    return tuple(state for state, info in ATTACHMENT_STATES.items() if info.public == status)


def derive_status(counts: dict[str, int], claim: str | None) -> str:
    """Return the status of a volume that only its attachments decide, one of :data:`DERIVED_STATUSES`.

    :param counts: number of live attachments by state.
    :param claim: marks of legacy actions, a key of :data:`MARKS`.
    """
    for states, status in DERIVATION:
        if not any(counts.get(state, 0) for state in states):
            continue
        return V.DETACHING if status is V.IN_USE and claim in DETACHING_CLAIMS else status
    return V.ATTACHING if claim in ATTACHING_CLAIMS else V.AVAILABLE


_RANKS: dict[str, int] = {state: rank for rank, (names, _) in enumerate(DERIVATION) for state in names}
_ORDER: tuple[str, ...] = (*(status for _, status in DERIVATION), V.AVAILABLE)


def follow_status(status: str, before: str, after: str) -> str | None:
    """Return the status that a volume without marks takes when one of its attachments moves.

    :param status: the volume's status before; one that attachments do not decide stays.
    :param before: state of the attachment before; ``detached`` for a new one.
    :param after: its state afterwards.
    :returns: None where only the volume's other attachments tell.
    """
    if status not in DERIVED_STATUSES:
        return status
    rank, lowest = _ORDER.index(status), len(DERIVATION)
    new = _RANKS.get(after, lowest)
    if new <= rank:
        return _ORDER[new]
    return status if rank < _RANKS.get(before, lowest) else None  # another one makes it what it is
