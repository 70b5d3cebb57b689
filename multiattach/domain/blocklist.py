# SPDX-License-Identifier: Apache-2.0
"""Entries of Ceph's blocklist that this service made: why, and until when each is needed."""

import dataclasses
import datetime
import enum

_SETTLING = 60.0  # s that whoever began with an entry has for it


class Cause(enum.StrEnum):
    """Why an instance of a client is not served any more."""

    FENCE = 'fence'  # an initiator is cut off a volume
    GATEWAY = 'gateway'  # a gateway is lost


class EntryState(enum.StrEnum):
    """How far an entry is; each is written before the act."""

    ADDING = 'adding'
    HELD = 'held'
    REMOVING = 'removing'


@dataclasses.dataclass(frozen=True)
class Reason:
    """Why an entry is made.

    :param owner: the initiator that is cut off, or the name of the gateway.
    :param volume_id: of the volume that the initiator is cut off.
    """

    cause: Cause
    owner: str
    volume_id: str | None = None

    def describe(self) -> str:
        where = f' of volume {self.volume_id}' if self.volume_id else ''
        return f'{self.cause} of {self.owner}{where}'


@dataclasses.dataclass(frozen=True)
class Entry:
    """An entry as it is recorded.

    :param address: of one instance, ``ADDRESS:PORT/NONCE``.
    :param until: when Ceph ends it, in UTC without zone; None as long as that is not known.
    :param is_needed: its fence is in force, or its host may still have the volume open.
    """

    fsid: str
    address: str
    reason: Reason
    state: str
    state_at: datetime.datetime
    until: datetime.datetime | None
    is_needed: bool

    def is_under_way(self, now: datetime.datetime) -> bool:
        """Whether somebody may still be at its act.

        :param now: in UTC without zone.
        """
        return self.state != EntryState.HELD and (now - self.state_at).total_seconds() < _SETTLING
