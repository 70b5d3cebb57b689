# SPDX-License-Identifier: Apache-2.0
"""Who may share a volume, decided under the volume's row lock from rows read inside it; and who may write to it."""

import dataclasses
from collections.abc import Iterable, Sequence

from multiattach.domain import errors
from multiattach.domain.states import DERIVED_STATUSES, FAILED, ON_HOST, ON_TARGET, Volume

# A migration has a source and a destination: never a third attachment of one server.
MAX_PER_SERVER = 2

# Access modes of an attachment.
READ_WRITE = 'rw'
READ_ONLY = 'ro'


@dataclasses.dataclass(frozen=True)
class VolumeFacts:
    """What the rules need to know of a volume; the last two are of its type (:mod:`multiattach.domain.extra_specs`)."""

    status: str
    multiattach: bool
    keeps_reservations: bool = False
    enforces_read_only: bool = False


@dataclasses.dataclass(frozen=True)
class Sharer:
    """What the rules need to know of one live attachment; host and initiator are the stored connector's."""

    id: str
    state: str
    instance_uuid: str | None
    host: str | None = None
    initiator: str | None = None
    mode: str | None = None


def check_reserve(volume: VolumeFacts, same_server: int, others: int) -> None:
    """Decide whether one more attachment may be reserved.

    :param same_server: number of live attachments of the asking server.
    :param others: number of live attachments of other servers, or of none.
    :raises InvalidVolume: contract 3.2; 400 and never 409 (contract 11.5).
    """
    if volume.status in FAILED:
        raise errors.InvalidVolume(f'Invalid volume: status must not be error, it is {volume.status}.')
    if volume.status not in DERIVED_STATUSES:
        raise errors.InvalidVolume(
            f'Invalid volume: status must be available'
            f'{", or in use with multiattach" if volume.multiattach else ""}; it is {volume.status}.'
        )
    if same_server >= MAX_PER_SERVER:
        raise errors.InvalidVolume(
            'Invalid volume: the server has two attachments of this volume already, the most that a migration needs.'
        )
    if volume.multiattach:
        return
    if others or (not same_server and volume.status != Volume.AVAILABLE):
        raise errors.InvalidVolume(
            f'Invalid volume: it is {volume.status} and not multiattach; '
            'use a volume whose type has the property multiattach="<is> True" to share it.'
        )


def check_cap(same_server: int, servers: int, cap: int | None) -> None:
    """Decide whether a volume may get one more server.

    A second attachment of a server that has one is a migration's: it takes no further place.

    :param servers: number of servers that have the volume or are about to; each attachment without a
        server counts as one.
    :raises InvalidVolume: the cap is reached.
    """
    if cap is not None and not same_server and servers >= cap:
        raise errors.InvalidVolume(
            f'Invalid volume: it has {servers} attachments, and the most that it may have is {cap} '
            '(extra spec multiattach:max_attachments of its type, or the default of this service).'
        )


def check_connect(volume: VolumeFacts, attachment: Sharer, host: str, initiator: str, others: Sequence[Sharer]) -> None:
    """Decide whether an attachment may be connected from a host.

    :param attachment: with the mode that it would have.
    :param others: the volume's live attachments that may clash (this one may be among them).
    :raises Conflict: connected elsewhere (contract 11.4 number 26), or the server is connected
        from this host by another attachment, or the volume may have only one connector.
    :raises InvalidVolume: the storage would take it and another one for one, which its type does not allow.
    """
    if volume.status in FAILED:
        raise errors.Conflict(f'The volume is in status {volume.status} and cannot be connected.')
    if attachment.state in ON_TARGET and attachment.host is not None:
        if (attachment.host, attachment.initiator) == (host, initiator):
            return
        raise errors.Conflict(
            f'The attachment {attachment.id} is connected from host {attachment.host}; '
            'delete it and create another one to move.'
        )
    for other in others:
        if other.id == attachment.id or other.state not in ON_TARGET:
            continue
        same_server = other.instance_uuid is not None and other.instance_uuid == attachment.instance_uuid
        if same_server and other.host == host:
            raise errors.Conflict(
                f'Duplicate connectors: the server is connected from host {host} by attachment {other.id}.'
            )
        if not volume.multiattach and not same_server:
            raise errors.Conflict('Duplicate connectors: the volume is connected and not multiattach.')
        if (other.initiator or '').lower() == initiator.lower():
            _check_initiator(volume, attachment, other)


def _check_initiator(volume: VolumeFacts, attachment: Sharer, other: Sharer) -> None:
    """Refuse a second attachment of one initiator where the storage has to tell them apart.

    It may take names that differ in capitals only for one (RFC 3722).
    """
    if volume.keeps_reservations:
        raise shares_initiator(other.id)
    mode, others = attachment.mode or READ_WRITE, other.mode or READ_WRITE
    if volume.enforces_read_only and mode != others:
        raise errors.InvalidVolume(
            f'Invalid volume: its type enforces read-only attachments (extra spec multiattach:enforce_read_only), and '
            f'attachment {other.id} ({others}) has the initiator that this one ({mode}) would have: the storage lets '
            'an initiator write or not. Use a server on another host, or the same mode.'
        )


def shares_initiator(other_id: str) -> errors.InvalidVolume:
    """What is raised for a volume with reservations if the storage would take two servers for one.

    Registrations are an initiator's (SPC-4 section 5.13): servers that share one could not fence each other.
    """
    return errors.InvalidVolume(
        f'Invalid volume: its type keeps reservations (extra spec multiattach:reservations), and attachment {other_id} '
        'has the initiator that this one would have: the storage would take both servers for one, and neither could '
        'fence the other. Use a server on another host; or have this host use the connector "qemu", which has an '
        'initiator for each attachment.'
    )


def join_modes(modes: Iterable[str | None]) -> str:
    """Return what an initiator is granted that has several attachments of a volume: all that one of them needs."""
    return READ_ONLY if {*modes} == {READ_ONLY} else READ_WRITE


def is_last_on_target(attachment_id: str, sharers: Sequence[Sharer]) -> bool:
    """Return whether no other live attachment uses the export, so that it goes (contract 11.4 numbers 2, 3, 5)."""
    return not any(s.id != attachment_id and s.state in ON_TARGET for s in sharers)


def is_last_of_initiator(attachment_id: str, initiator: str, sharers: Sequence[Sharer]) -> bool:
    """Return whether the initiator has no other attachment of the volume and is to be turned away."""
    return not any(s.id != attachment_id and s.initiator == initiator and s.state in ON_TARGET for s in sharers)


def is_last_on_host(attachment_id: str, host: str, sharers: Sequence[Sharer]) -> bool:
    """Return whether the host's session serves no other attachment and is to end (requirement row 15)."""
    return not any(s.id != attachment_id and s.host == host and s.state in ON_HOST for s in sharers)


def decide_mode(requested: str | None, connector_mode: str | None, readonly: bool) -> str:
    """Decide how an attachment may use the volume: ``ro`` if request, connector or volume asks for it, else ``rw``.

    The one place that does (contract 2.8, 11.4 numbers 11, 12).
    """
    if readonly or requested == READ_ONLY:
        return READ_ONLY
    return requested or connector_mode or READ_WRITE
