# SPDX-License-Identifier: Apache-2.0
"""Gateways: members of a cluster of volume workers that export the same images, each on a target daemon of its own."""

import dataclasses
import datetime
import enum
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple


class State(enum.StrEnum):
    """What is known of a gateway."""

    SERVING = 'serving'
    # It did not answer: all that it has open in Ceph is being blocklisted.
    LOSING = 'losing'
    # Nothing that it had open reaches Ceph any more; it serves again once it has begun anew.
    LOST = 'lost'


class Export(enum.StrEnum):
    """What is known of a volume at one gateway. Without a row nothing was ever begun there."""

    # It is to be exported; whether it is nobody knows until there is an answer.
    EXPORTING = 'exporting'
    EXPORTED = 'exported'
    FAILED = 'failed'
    # Nobody answered: what was to be done was done, or not.
    UNKNOWN = 'unknown'
    REMOVING = 'removing'
    LOST = 'lost'


# Instances that a proof names: a gateway has one for each image.
_TOLD = 16
# Exports that their gateway is to see to by itself.
UNSETTLED = frozenset({Export.EXPORTING, Export.FAILED, Export.UNKNOWN})


@dataclasses.dataclass(frozen=True)
class Gateway:
    """A gateway as it is recorded.

    :param name: of the worker, ``host@backend``.
    :param user: cephx user, without ``client.``, that nobody else has.
    :param entries: what is blocklisted of it: by instance until when, in ISO 8601.
    :param heartbeat_at: of its worker, UTC.
    """

    name: str
    portal: str
    user: str
    state: str
    state_at: datetime.datetime
    entries: Mapping[str, str]
    heartbeat_at: datetime.datetime | None

    @property
    def is_serving(self) -> bool:
        return self.state == State.SERVING

    def tell_age(self, now: datetime.datetime) -> float:
        """Return for how many seconds it has had its state."""
        return (now - self.state_at).total_seconds()

    def tell_exclusion(self) -> dict[str, Any]:
        """Write for a proof that nothing of it reaches the image any more, and until when."""
        return tell_exclusion(self.portal, self.entries)


class VolumeExport(NamedTuple):
    """A volume at one gateway, and what is known of the gateway itself."""

    gateway: str
    portal: str | None
    gateway_state: str | None
    state: str
    since: datetime.datetime
    error: str | None


def tell_exclusion(portal: str, entries: Mapping[str, str]) -> dict[str, Any]:
    """Write the same of entries that were just made; of many instances some."""
    return {'portal': portal, 'instances': len(entries), 'blocklisted': dict(sorted(entries.items())[:_TOLD])}


def order_portals(key: str, portals: Iterable[str], first: str | None = None) -> list[str]:
    """Put portals in an order that spreads volumes and hosts over them, and changes little when one comes or goes.

    :param first: one that comes first if it is among them: who has a session there makes no second one.
    """
    # Not a CRC: of two texts with one beginning it says the same bits again and again.
    return sorted(set(portals), key=lambda one: (one != first, hashlib.sha256(f'{key} {one}'.encode()).digest()))
