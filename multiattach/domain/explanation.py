# SPDX-License-Identifier: Apache-2.0
"""What a state means to people: who acts next, what will happen, and what they can do.

Tables over the states of :mod:`multiattach.domain.states`; nothing here asks a database.
"""

import dataclasses
from collections.abc import Iterable, Mapping

from multiattach.domain import states
from multiattach.domain.states import Attachment, Owner, Volume

A = Attachment
V = Volume

# A step that takes longer than this deserves a look into the log of its owner, seconds.
LONG = 60.0

# Requirement row 23: the service cannot see what is on a volume, so it says this where a person looks.
SHARED_WARNING = (
    'Several servers have this volume at once. ext4, XFS and NTFS are made for one server: mounted by two '
    "they destroy each other's data, even if one of them only reads. Use a cluster file system (GFS2, "
    'OCFS2), or software that lets one server write at a time by SCSI-3 persistent reservations '
    "(Pacemaker's fence_scsi, Windows failover clusters), or an application that coordinates by itself."
)


@dataclasses.dataclass(frozen=True)
class Outlook:
    """What is to be expected of something in a state.

    :param owner: who takes the next step.
    :param meaning: what the state means.
    :param next: what will happen next, and if by itself.
    :param advice: what a person can do.
    """

    owner: Owner
    meaning: str
    next: str
    advice: str


@dataclasses.dataclass(frozen=True)
class AttachmentFacts:
    """What the outlook of an attachment depends on.

    :param driven_by_agent: a host agent of this service drives it; else Nova or another client does.
    :param seconds: how long it has been in the state.
    :param error: why the last step failed, None if it did not.
    :param owner_is_up: whether the worker or agent that acts next reports; None if nobody of the
        service does, or if it is unknown.
    """

    id: str
    state: str
    driven_by_agent: bool
    seconds: float = 0.0
    error: str | None = None
    owner_is_up: bool | None = None


_NOTHING = 'Nothing: it stays so until somebody asks for something.'
_WAIT = 'Wait: the step carries on by itself, also after a restart.'
# The client's commands exist from a microversion on only, and the client does not ask for it by itself.
_DELETE = 'openstack --os-volume-api-version 3.27 volume attachment delete {id}'
_MESSAGES = 'openstack --os-volume-api-version 3.3 volume message list'

# State → (if a host agent drives it, if a client such as Nova does): next owner, what happens, advice.
_AGENT = {
    A.RESERVED: (
        Owner.HOST,
        'The host agent asks for the export, connects the device and gives it to the server.',
        _WAIT,
    ),
    A.EXPORTED: (Owner.HOST, 'The host agent connects the device and gives it to the server.', _WAIT),
}
_CLIENT = {
    A.RESERVED: (
        Owner.USER,
        'Nova, or whoever made the reservation, gives the connector of a host; then the '
        'volume worker admits its initiator.',
        f'If no server is being attached any more, give the place back: {_DELETE}',
    ),
    A.EXPORTED: (
        Owner.USER,
        'The host logs in with connection_info, and Nova, or whoever attaches, completes the attachment.',
        f'If no server is being attached any more, take it back: {_DELETE}',
    ),
}
_EITHER = {
    A.EXPORTING: (
        Owner.VOLUME,
        'The volume worker admits the initiator on the target and stores connection_info.',
        _WAIT,
    ),
    A.CONNECTING: (Owner.HOST, 'The host agent finishes the attach, or undoes it and says why.', _WAIT),
    A.ATTACHED: (Owner.NOBODY, _NOTHING, 'To detach it: openstack server remove volume SERVER VOLUME'),
    A.DETACHING: (
        Owner.HOST,
        'The host agent takes the device from the server; then the volume worker turns '
        'the initiator away. If the server keeps the device, it is attached again.',
        _WAIT,
    ),
    A.UNEXPORTING: (Owner.VOLUME, 'The volume worker turns the initiator away, and the attachment is gone.', _WAIT),
    A.FENCING: (
        Owner.VOLUME,
        "The volume worker takes the initiator's leave and account away, ends its sessions and reads the target again.",
        _WAIT,
    ),
    A.FENCED: (
        Owner.USER,
        'Nothing by itself but this: a host agent that returns takes the disk from the '
        'server and forgets the device. No host needs to be there for it to be deleted.',
        f'Attach anew, which gives new credentials, or forget it: {_DELETE}',
    ),
    A.ERROR_ATTACHING: (
        Owner.USER,
        'Nothing by itself: the attach was undone and takes no place on the volume.',
        f'Put right what the error says and attach again, or forget it: {_DELETE}',
    ),
    A.ERROR_DETACHING: (
        Owner.USER,
        'Nothing by itself: the target may still admit the initiator.',
        f'Put right what the error says and detach again, or: {_DELETE}',
    ),
    A.DETACHED: (
        Owner.NOBODY,
        'Nothing: the row is kept for its timeline until it is purged.',
        'Nothing is to be done.',
    ),
}


def find_owner(state: str, *, driven_by_agent: bool) -> Owner:
    """Return who takes the next step of an attachment.

    :param driven_by_agent: a host agent of this service drives it.
    :returns: the owner; finer than the table of states, which does not know who drives.
    """
    return _find(Attachment(state), driven_by_agent)[0]


def _find(state: Attachment, driven_by_agent: bool) -> tuple[Owner, str, str]:
    return _EITHER[state] if state in _EITHER else (_AGENT if driven_by_agent else _CLIENT)[state]


def explain_attachment(facts: AttachmentFacts) -> Outlook:
    """Tell what is to be expected of an attachment.

    :param facts: what is known of it.
    """
    state = Attachment(facts.state)
    owner, coming, advice = _find(state, facts.driven_by_agent)
    if state is A.UNEXPORTING and facts.error:
        coming = 'The volume worker turns the initiator away; then the attachment is in error_attaching.'
    if state is A.RESERVED and facts.error and not facts.driven_by_agent:
        coming = 'The export failed and was undone; the same or another connector may be given.'
    return Outlook(
        owner,
        states.ATTACHMENT_STATES[state].doc,
        coming,
        _advise(owner, advice.format(id=facts.id), facts.seconds, facts.owner_is_up),
    )


def _advise(owner: Owner, advice: str, seconds: float, owner_is_up: bool | None) -> str:
    """Put what stands in the way first: an owner who does not report, or one who takes long."""
    if owner not in (Owner.HOST, Owner.VOLUME):
        return advice
    if owner_is_up is False:
        return f'The {owner} does not report: start it again. It carries on with this step by itself.'
    if seconds > LONG:
        return (
            f'The step takes long ({seconds:.0f} s). It is tried again and again; the log of the {owner} '
            'says what it waits for.'
        )
    return advice


# Status → owner, meaning, what happens, advice; the derived ones are told by what they are derived from.
_VOLUME = {
    V.CREATING: (
        Owner.VOLUME,
        'The storage is being made.',
        'The volume worker makes the storage; then the volume is available, or in error with a message that says why.',
        _WAIT,
    ),
    V.AVAILABLE: (Owner.NOBODY, 'No server uses it.', _NOTHING, 'Attach, retype, extend or delete it.'),
    V.RESERVED: (
        Owner.USER,
        'A place on it is taken, and no host yet connects.',
        'See its attachments.',
        'See its attachments.',
    ),
    V.ATTACHING: (Owner.USER, 'It is being attached.', 'See its attachments.', 'See its attachments.'),
    V.IN_USE: (
        Owner.NOBODY,
        'At least one server has it.',
        _NOTHING,
        'It can be extended; it can be shared if it is multiattach.',
    ),
    V.DETACHING: (Owner.USER, 'It is being detached.', 'See its attachments.', 'See its attachments.'),
    V.RETYPING: (
        Owner.VOLUME,
        'Its type is being changed.',
        'Type and multiattach flag change together, or stay as they are.',
        _WAIT,
    ),
    V.EXTENDING: (
        Owner.VOLUME,
        'It is growing.',
        'The volume worker grows the storage and shows the size to the servers.',
        _WAIT,
    ),
    V.MAINTENANCE: (
        Owner.USER,
        'An admin set it aside.',
        'Nothing until an admin sets another status.',
        'openstack volume set --state available VOLUME, as an admin',
    ),
    V.DELETING: (
        Owner.VOLUME,
        'The storage is being deleted.',
        'The volume worker deletes the storage, and the volume is gone.',
        _WAIT,
    ),
    V.DELETED: (Owner.NOBODY, 'It is gone.', 'Nothing.', 'Nothing is to be done.'),
    V.ERROR: (
        Owner.USER,
        'It could not be made, or an admin set this status.',
        'Nothing by itself.',
        f'{_MESSAGES} says why. Delete it, or as an admin: openstack volume set --state available VOLUME',
    ),
    V.ERROR_DELETING: (
        Owner.USER,
        'Its storage could not be deleted.',
        'Nothing by itself.',
        f'{_MESSAGES} says why. Put that right, then as an admin: openstack volume delete --force VOLUME',
    ),
    V.ERROR_EXTENDING: (
        Owner.USER,
        'Its storage could not grow; what was on it is still there.',
        'Nothing by itself.',
        f'{_MESSAGES} says why. As an admin: '
        'openstack volume set --state available VOLUME (or in-use), and extend it again',
    ),
}


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Why a volume has its status.

    :param derived: its attachments (or a legacy action's mark) decide the status.
    :param reason: one sentence.
    :param decided_by: ids of the attachments that make it so.
    """

    derived: bool
    reason: str
    decided_by: tuple[str, ...] = ()


def judge_status(
    status: str, claim: str | None, attachments: Mapping[str, str], claimed: float | None = None
) -> Verdict:
    """Tell what makes a volume's status.

    :param status: the status that is recorded.
    :param claim: mark of a legacy action, or None.
    :param attachments: states of its live attachments by id.
    :param claimed: seconds for which the mark is there, None if nobody wrote it down.
    :returns: the verdict; it says so when the record and the attachments disagree.
    """
    if status not in states.DERIVED_STATUSES:
        return Verdict(
            False, f'The status {status} was set by an operation on the volume itself; attachments do not change it.'
        )
    expected = states.derive_status(_count(attachments.values()), claim)
    if expected != status:
        return Verdict(
            True,
            f'The record says {status}, but the attachments make it {expected}. '
            'The volume worker puts it right by itself; at once: openstack multiattach '
            'doctor --fix',
        )
    leaving = claim in states.DETACHING_CLAIMS and Attachment.ATTACHED in attachments.values()
    for sources, derived in () if leaving else states.DERIVATION:
        deciding = tuple(ident for ident, state in attachments.items() if state in sources)
        if not deciding:
            continue
        if status == derived:
            found = sorted({attachments[ident] for ident in deciding})
            return Verdict(True, f'{_number(deciding)} in state {" or ".join(found)}.', deciding)
        break
    if claim is not None:
        action = 'os-reserve' if status == V.ATTACHING else 'os-begin_detaching'
        since = '' if claimed is None else f' {claimed:.0f} s ago'
        return Verdict(True, f'The action {action} left its mark{since}, and nothing has followed it yet.')
    return Verdict(True, 'No attachment takes a place on it.')


def explain_volume(
    status: str, deciding: Iterable[Outlook], seconds: float = 0.0, worker_is_up: bool | None = None
) -> Outlook:
    """Tell what is to be expected of a volume.

    :param deciding: outlooks of the attachments that decide the status.
    :param seconds: how long it has had the status.
    :param worker_is_up: whether the worker of its backend reports.
    :returns: the outlook; that of the deciding attachment where a step of one is in flight.
    """
    owner, meaning, coming, advice = _VOLUME[Volume(status)]
    for outlook in deciding:
        if outlook.owner is not Owner.NOBODY:
            return Outlook(outlook.owner, meaning, outlook.next, outlook.advice)
    if owner is Owner.USER and status in (V.ATTACHING, V.DETACHING):
        back, before = ('os-unreserve', V.AVAILABLE) if status == V.ATTACHING else ('os-roll_detaching', V.IN_USE)
        return Outlook(
            owner,
            meaning,
            'Whoever marked the volume carries on, or takes the mark back.',
            f'If nobody does: the action {back}, or as an admin: openstack volume set --state {before} VOLUME',
        )
    return Outlook(owner, meaning, coming, _advise(owner, advice, seconds, worker_is_up))


def takes_place(state: str) -> bool:
    """Tell whether an attachment takes a place on its volume.

    :returns: False if nothing of it is left but the row.
    """
    return state not in states.PLACELESS


def must_warn(multiattach: bool, servers: int) -> bool:
    """Tell whether somebody is to be warned of file systems that do not share.

    :param multiattach: the volume may be shared.
    :param servers: number of servers that have it or are about to.
    :returns: True from the second one on.
    """
    return multiattach and servers > 1


def _count(found: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for state in found:
        counts[state] = counts.get(state, 0) + 1
    return counts


def _number(idents: tuple[str, ...]) -> str:
    return 'One attachment is' if len(idents) == 1 else f'{len(idents)} attachments are'


@dataclasses.dataclass(frozen=True)
class HostFacts:
    """What the outlook of a compute host depends on.

    :param has_agent: an agent of this service is, or was, there.
    :param is_up: the agent reports.
    :param is_fenced: it is to have no volume.
    :param waiting: attachments whose next step is the agent's.
    :param drifted: differences that were found.
    """

    name: str
    has_agent: bool
    is_up: bool
    is_fenced: bool
    waiting: int = 0
    drifted: int = 0


def explain_host(facts: HostFacts) -> Outlook:
    """Tell what is to be expected of a compute host.

    :param facts: what is known of it.
    """
    if facts.is_fenced:
        return Outlook(
            Owner.USER,
            'It is fenced: it has no volume, and gets none.',
            'Nothing until a person unfences it; its agent lets go of what it had.',
            f'When it is sound again: openstack multiattach host unfence {facts.name}',
        )
    if not facts.has_agent:
        return Outlook(
            Owner.USER,
            'It is known from connectors only: Nova or another client drives it.',
            'Whoever drives it carries on.',
            'What is true on it, its own tools say (virsh, iscsiadm -m session).',
        )
    if not facts.is_up:
        return Outlook(
            Owner.HOST,
            'Its agent does not report.',
            f'When the agent is back, it carries on with {facts.waiting} steps and puts right what drifted.',
            'Start the agent again. If the host is lost: openstack multiattach host fence '
            f'{facts.name} --out-of-service',
        )
    if facts.drifted:
        return Outlook(
            Owner.HOST,
            'It is not what is recorded of it.',
            'The agent repairs what it may when the grace of each finding ends.',
            'See the findings. To have it done now: openstack multiattach doctor --fix',
        )
    if facts.waiting:
        return Outlook(Owner.HOST, 'Its agent is at work.', f'{facts.waiting} steps are on their way.', _WAIT)
    return Outlook(Owner.NOBODY, 'All is as it is recorded.', _NOTHING, 'Nothing is to be done.')
