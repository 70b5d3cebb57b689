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
    'This volume is attached to several servers. ext4, XFS and NTFS are file systems for one server: if two servers '
    'mount one, data is corrupted, even if one of them only reads. Use a cluster file system (GFS2, OCFS2), software '
    "that lets one server write at a time by SCSI-3 persistent reservations (Pacemaker's fence_scsi, Windows failover "
    'clusters), or an application that coordinates access itself.'
)


@dataclasses.dataclass(frozen=True)
class Outlook:
    owner: Owner
    meaning: str
    next: str
    advice: str


@dataclasses.dataclass(frozen=True)
class AttachmentFacts:
    """What the outlook of an attachment depends on.

    :param driven_by_agent: a host agent of this service drives it; else Nova or another client does.
    :param owner_is_up: whether the worker or agent that acts next reports; None if nobody of the
        service does, or if it is unknown.
    """

    id: str
    state: str
    driven_by_agent: bool
    seconds: float = 0.0
    error: str | None = None
    owner_is_up: bool | None = None


_NOTHING = 'No action needed; it stays in this state until a request changes it.'
_WAIT = 'Wait: the step continues automatically, even after a restart.'
# The client's commands exist from a microversion on only, and the client does not ask for it by itself.
_DELETE = 'openstack --os-volume-api-version 3.27 volume attachment delete {id}'
_MESSAGES = 'openstack --os-volume-api-version 3.3 volume message list'

# State → what happens, advice; of some another one if a host agent drives it.
_AGENT = {
    A.RESERVED: ('The host agent requests the export, connects the device and attaches it to the server.', _WAIT),
    A.EXPORTED: ('The host agent connects the device and attaches it to the server.', _WAIT),
}
_ANY = {
    A.RESERVED: (
        'Nova, or the client that made the reservation, supplies the connector of a host; then the volume worker '
        'exports the volume to its initiator.',
        f'If the attach was abandoned, delete the reservation: {_DELETE}',
    ),
    A.EXPORTED: (
        'The host logs in with connection_info, and Nova, or the client that attaches, completes the attachment.',
        f'If the attach was abandoned, delete the attachment: {_DELETE}',
    ),
    A.EXPORTING: ('The volume worker exports the volume to the initiator and stores connection_info.', _WAIT),
    A.CONNECTING: ('The host agent completes the attach, or reverts it and records the reason.', _WAIT),
    A.ATTACHED: (_NOTHING, 'To detach it: openstack server remove volume SERVER VOLUME'),
    A.DETACHING: (
        'The host agent detaches the device from the server; then the volume worker removes the '
        "initiator's access. If the server does not release the device, the attachment becomes attached again.",
        _WAIT,
    ),
    A.UNEXPORTING: ("The volume worker removes the initiator's access, and the attachment is deleted.", _WAIT),
    A.FENCING: (
        "The volume worker removes the initiator's ACL entry and account, ends its sessions and verifies the target.",
        _WAIT,
    ),
    A.FENCED: (
        'A host agent that returns detaches the disk from the server and drops the device; '
        'otherwise nothing. The attachment can be deleted without its host.',
        f'Attach the volume again, which issues new credentials, or delete the attachment: {_DELETE}',
    ),
    A.ERROR_ATTACHING: (
        'Nothing: the attach was reverted and no longer counts as a use of the volume.',
        f'Fix the reported error and attach again, or delete the attachment: {_DELETE}',
    ),
    A.ERROR_DETACHING: (
        'Nothing: the initiator may still have access to the target.',
        f'Fix the reported error and detach again, or: {_DELETE}',
    ),
    A.DETACHED: ('Nothing: the record is kept for its timeline until it is purged.', 'No action needed.'),
}


def explain_attachment(facts: AttachmentFacts) -> Outlook:
    state = Attachment(facts.state)
    owner = states.find_owner(state, by_agent=facts.driven_by_agent)
    coming, advice = (facts.driven_by_agent and _AGENT.get(state)) or _ANY[state]
    if state is A.UNEXPORTING and facts.error:
        coming = "The volume worker removes the initiator's access; then the attachment goes to error_attaching."
    if state is A.RESERVED and facts.error and not facts.driven_by_agent:
        coming = 'The export failed and was reverted; the same or another connector can be supplied.'
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
        return f'The {owner} does not report: restart it. It then continues with this step automatically.'
    if seconds > LONG:
        return (
            f'The step is taking long ({seconds:.0f} s). It is retried automatically; the log of the {owner} '
            'says what it is waiting for.'
        )
    return advice


# Status → meaning, what happens, advice; the derived ones are told by what they are derived from.
_VOLUME: dict[str, tuple[str, str, str]] = {
    V.CREATING: (
        'Its storage is being created.',
        'The volume worker creates the storage; then the volume becomes available, or goes to error with a message.',
        _WAIT,
    ),
    V.DOWNLOADING: (
        'Its storage is being filled from an image.',
        'The volume worker fetches the image, checks and converts it; then the volume is what it was before, or '
        'available, or goes to error with a message.',
        _WAIT,
    ),
    V.UPLOADING: (
        'An image is being made of it.',
        'The volume worker reads the volume and sends it to the Image service; then the volume is what it was before.',
        _WAIT,
    ),
    V.AVAILABLE: ('It is not attached to any server.', _NOTHING, 'Attach, retype, extend or delete it.'),
    V.RESERVED: (
        'It is reserved for a server, and no host has connected yet.',
        'See its attachments.',
        'See its attachments.',
    ),
    V.ATTACHING: ('It is being attached.', 'See its attachments.', 'See its attachments.'),
    V.IN_USE: (
        'It is attached to at least one server.',
        _NOTHING,
        'It can be extended; if it is multiattach, it can be attached to further servers.',
    ),
    V.DETACHING: ('It is being detached.', 'See its attachments.', 'See its attachments.'),
    V.EXTENDING: (
        'It is being extended.',
        'The volume worker extends the storage and announces the new size to the servers.',
        _WAIT,
    ),
    V.REVERTING: (
        'It is being reverted to its latest snapshot.',
        'The volume worker gives it what the snapshot has; then the volume becomes available, or goes to error with a '
        'message. Until then it may have some of both.',
        _WAIT,
    ),
    V.MAINTENANCE: (
        'An administrator put it into maintenance.',
        'Nothing until an administrator sets another status.',
        'As an administrator: openstack volume set --state available VOLUME',
    ),
    V.DELETING: ('Its storage is being deleted.', 'The volume worker deletes the storage, and then the volume.', _WAIT),
    V.DELETED: ('It is deleted.', 'Nothing.', 'No action needed.'),
    V.ERROR: (
        'It could not be created, or an administrator set this status.',
        'Nothing until a request changes it.',
        f'{_MESSAGES} says why. Delete it, or as an administrator: openstack volume set --state available VOLUME',
    ),
    V.ERROR_DELETING: (
        'Its storage could not be deleted.',
        'Nothing until a request changes it.',
        f'{_MESSAGES} says why. Fix that, then as an administrator: openstack volume delete --force VOLUME',
    ),
    V.ERROR_EXTENDING: (
        'Its storage could not be extended; its data is intact.',
        'Nothing until a request changes it.',
        f'{_MESSAGES} says why. As an administrator: '
        'openstack volume set --state available VOLUME (or in-use), and extend it again',
    ),
    V.RETYPING: (
        'It is being moved to a backend that has what its new type asks for.',
        'The volume worker of that backend copies it; then the volume has its new type and is available.',
        _WAIT,
    ),
    V.MANAGING: (
        'Storage that is there is being taken over.',
        'The volume worker gives the storage the name of the volume; then the volume becomes available.',
        _WAIT,
    ),
    V.ERROR_MANAGING: (
        'Its storage could not be taken over, and is untouched.',
        'Nothing until a request changes it.',
        f'{_MESSAGES} says why. Delete it, which leaves the storage alone, and manage the storage again.',
    ),
    V.UNMANAGING: (
        'It goes, and its storage stays.',
        'The volume worker removes what is left of its target, and then the volume.',
        _WAIT,
    ),
    V.AWAITING_TRANSFER: (
        'It is offered to another project.',
        'Who has the key accepts the transfer, and the volume is of that project and available.',
        'To withdraw the offer: openstack volume transfer request delete TRANSFER',
    ),
}


# Set with os-reset_status of a release that allowed it: nobody acts on it.
_UNKNOWN = (
    'An administrator set this status, which nobody acts on.',
    'Nothing until an administrator sets another status.',
    'As an administrator: openstack volume set --state available VOLUME',
)


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Why a volume has its status.

    :param derived: its attachments (or a legacy action's mark) decide the status.
    :param decided_by: ids of the attachments that make it so.
    """

    derived: bool
    reason: str
    decided_by: tuple[str, ...] = ()


def judge_status(
    status: str, claim: str | None, attachments: Mapping[str, str], claimed: float | None = None
) -> Verdict:
    """Tell what makes a volume's status, also when the record and its attachments disagree.

    :param claim: mark of a legacy action, or None.
    :param attachments: states of its live attachments by id.
    :param claimed: seconds for which the mark is there, None if nobody wrote it down.
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
            'The volume worker corrects it automatically; to correct it now: openstack multiattach '
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
        return Verdict(True, f'The action {action} was called{since}, and nothing has followed it yet.')
    return Verdict(True, 'No attachment uses it.')


def explain_volume(
    status: str, deciding: Iterable[Outlook], seconds: float = 0.0, worker_is_up: bool | None = None
) -> Outlook:
    """Tell what is to be expected of a volume; where a step of an attachment is in flight, what that one's outlook is.

    :param deciding: outlooks of the attachments that decide the status.
    """
    owner, (meaning, coming, advice) = states.find_status_owner(status), _VOLUME.get(status, _UNKNOWN)
    for outlook in deciding:
        if outlook.owner is not Owner.NOBODY:
            return Outlook(outlook.owner, meaning, outlook.next, outlook.advice)
    if owner is Owner.USER and status in states.MARKED:
        back, before = ('os-unreserve', V.AVAILABLE) if status == V.ATTACHING else ('os-roll_detaching', V.IN_USE)
        return Outlook(
            owner,
            meaning,
            'The client that called the action continues, or reverts it.',
            f'If it does not: the action {back}, or as an administrator: openstack volume set --state {before} VOLUME',
        )
    return Outlook(owner, meaning, coming, _advise(owner, advice, seconds, worker_is_up))


def must_warn(multiattach: bool, servers: int) -> bool:
    """Return whether file systems that do not share are to be warned of: from the second server on."""
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
    if facts.is_fenced:
        return Outlook(
            Owner.USER,
            'It is fenced: it has no access to any volume and gets none.',
            'Nothing until an operator unfences it; its agent releases the devices it had.',
            f'When the host is healthy again: openstack multiattach host unfence {facts.name}',
        )
    if not facts.has_agent:
        return Outlook(
            Owner.USER,
            'It has no agent of this service: Nova or another client manages it.',
            'The client that manages it continues.',
            'Use the tools of the host to see its actual state (virsh, iscsiadm -m session).',
        )
    if not facts.is_up:
        return Outlook(
            Owner.HOST,
            'Its agent does not report.',
            f'When the agent is back, it continues with {facts.waiting} steps and repairs drift.',
            f'Restart the agent. If the host is lost: openstack multiattach host fence {facts.name} --out-of-service',
        )
    if facts.drifted:
        return Outlook(
            Owner.HOST,
            'Its actual state differs from the records.',
            'The agent repairs what it is allowed to when the grace period of each finding ends.',
            'See the findings. To repair them now: openstack multiattach doctor --fix',
        )
    if facts.waiting:
        return Outlook(Owner.HOST, 'Its agent is working.', f'{facts.waiting} steps are in progress.', _WAIT)
    return Outlook(Owner.NOBODY, 'Its actual state matches the records.', _NOTHING, 'No action needed.')
