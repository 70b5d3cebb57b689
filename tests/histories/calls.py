# SPDX-License-Identifier: Apache-2.0
"""What clients asked, when, and what they were told."""

import dataclasses
import enum
import math
from typing import Any


class Kind(enum.StrEnum):
    """Calls of the API, and the look at the rows at the end of a history."""

    CREATE = 'create'
    UPDATE = 'update'
    COMPLETE = 'complete'
    DELETE = 'delete'
    FENCE = 'fence'
    RETYPE = 'retype'
    EXTEND = 'extend'
    REMOVE = 'remove'  # DELETE of the volume
    SHOW = 'show'
    SHOW_ATTACHMENT = 'show_attachment'
    LIST = 'list'
    OBSERVE = 'observe'


@dataclasses.dataclass(frozen=True)
class Call:
    """One request.

    :param kind: which.
    :param volume: UUID of the volume.
    :param attachment: UUID of the attachment it is about, None where it is about none.
    :param server: UUID of the server of a reservation.
    :param host: host of the connector, None without.
    :param type: name of the new type.
    :param size: new size, GiB.
    :param force: of a fence.
    """

    kind: Kind
    volume: str
    attachment: str | None = None
    server: str | None = None
    host: str | None = None
    type: str | None = None
    size: int | None = None
    force: bool = False

    @property
    def initiator(self) -> str | None:
        """Initiator of the connector."""
        return None if self.host is None else f'iqn.1994-05.com.redhat:{self.host}'


@dataclasses.dataclass(frozen=True)
class Reply:
    """An answer, reduced to what the model tells.

    :param code: HTTP status.
    :param facts: what the body says.
    """

    code: int
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Event:
    """A call with its interval.

    :param client: who made it.
    :param number: its place among the client's calls.
    :param call: what was asked.
    :param start: when, in seconds of the machine's monotonic clock.
    :param end: when the answer was there; infinity if none came: it may have taken effect at any
        later time, or never.
    :param reply: the answer, None if none came.
    :param partial: the answer says that something failed on the way: the steps before it count.
    :param request: id of the request, if there was an answer.
    :param made: UUID of the attachment whose row names that request; what answers do not tell.
    """

    client: int
    number: int
    call: Call
    start: float
    end: float = math.inf
    reply: Reply | None = None
    partial: bool = False
    request: str | None = None
    made: str | None = None

    def describe(self, origin: float = 0.0, names: dict[str, str] | None = None) -> str:
        """Write it in one line.

        :param origin: the moment that is shown as zero.
        :param names: short names of ids.
        """
        names = names or {}
        words = [
            f'{key}={names.get(str(value), value)}'
            for key, value in dataclasses.asdict(self.call).items()
            if key not in ('kind', 'volume') and value
        ]
        told = '(no answer)'
        if self.reply is not None:
            facts = {key: _shorten(value, names) for key, value in self.reply.facts.items()}
            told = f'{self.reply.code} {facts or ""}'.strip() + (' (partly)' if self.partial else '')
        end = '      ' if math.isinf(self.end) else f'{self.end - origin:6.3f}'
        return (
            f'{self.start - origin:6.3f} - {end}  client {self.client} #{self.number:<3} '
            f'{" ".join((self.call.kind, *words))} → {told}'
        )


def _shorten(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {names.get(key, key): one for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [names.get(one, one) for one in value]
    return names.get(value, value) if isinstance(value, str) else value


def to_json(event: Event) -> dict[str, Any]:
    """Write an event as JSON can carry it."""
    found = dataclasses.asdict(event)
    if math.isinf(event.end):
        found['end'] = None
    return found


def from_json(found: dict[str, Any]) -> Event:
    """Read an event back."""
    call = Call(**found['call'] | {'kind': Kind(found['call']['kind'])})
    reply = Reply(**found['reply']) if found['reply'] is not None else None
    end = math.inf if found['end'] is None else found['end']
    return Event(**found | {'call': call, 'reply': reply, 'end': end})
