# SPDX-License-Identifier: Apache-2.0
"""What one target has, compared with what is recorded of its volume."""

import dataclasses
from collections.abc import Iterable, Sequence

from multiattach.domain.connection import find_address
from multiattach.domain.drift import TABLE, Drift
from multiattach.domain.states import ADMITTED, ON_TARGET

_NAMED = 5  # places that a finding names


@dataclasses.dataclass(frozen=True)
class Difference:
    kind: Drift
    about: str
    text: str


@dataclasses.dataclass(frozen=True)
class Recorded:
    """What the database says of one attachment on a target.

    :param account: CHAP name in connection_info, None if none is stored.
    """

    state: str
    initiator: str
    account: str | None = None


@dataclasses.dataclass(frozen=True)
class Shown:
    """What a target shows of itself.

    :param luns_online: whether it has a logical unit and all of them serve I/O.
    :param accounts: CHAP names that are bound to it.
    :param logins: initiators of live logins with their addresses, as far as these are shown.
    :param registered: initiators with persistent reservations, in any case of letters.
    :param admits_all: it lets everybody in, as Cinder made it, and is to stay so for now.
    """

    luns_online: bool
    initiators: Sequence[str]
    accounts: Sequence[str]
    sessions: Sequence[str]
    is_open: bool = True
    logins: Sequence[tuple[str, str]] = ()
    admits_all: bool = False
    registered: Sequence[str] = ()


def compare(volume_id: str, recorded: Sequence[Recorded] | None, shown: Shown | None) -> list[Difference]:
    """Compare one target with what is recorded of its volume; list differences, most serious first.

    Steps in flight (being exported, being taken back) may be seen before or after: neither differs.

    :param recorded: attachments in a state of :data:`~multiattach.domain.states.ON_TARGET`; None if
        there is no such volume.
    :param shown: the target, None if there is none.
    """
    rows = [row for row in recorded or () if row.state in ON_TARGET]
    known = {row.initiator for row in rows}
    kept = [row for row in rows if find_address(row.initiator) is None]  # of others the storage keeps nothing
    needed = [row for row in kept if row.state in ADMITTED]
    if shown is None:
        return [_differ(Drift.NO_TARGET, volume_id)] if needed else []
    found = []
    if recorded is None:
        found.append(_differ(Drift.NO_VOLUME, volume_id))
    elif not rows:
        found.append(_differ(Drift.UNUSED, volume_id))
    if needed and not shown.luns_online:
        found.append(_differ(Drift.NO_LUN, volume_id))
    if needed and not shown.is_open:
        found.append(_differ(Drift.SHUT, volume_id))
    accounts = {row.account for row in needed if row.account}
    # A step in flight whose account is not stored yet may have bound one already.
    settled = all(row.account for row in kept)
    if not shown.admits_all:
        found += _missing(Drift.SHUT_OUT, {row.initiator for row in needed}, shown.initiators)
    found += _missing(Drift.NO_ACCOUNT, accounts, shown.accounts)
    found += _missing(Drift.ADMITTED, set(shown.initiators), known)
    if settled:
        found += _missing(Drift.ACCOUNT, set(shown.accounts), {row.account or '' for row in rows})
    found += _missing(Drift.SESSION, set(shown.sessions), known)
    found += _find_unknown(shown.registered, known)
    return found + _find_shared(shown.logins)


def _find_unknown(registered: Sequence[str], known: set[str]) -> list[Difference]:
    names = {one.lower() for one in known}
    return [_differ(Drift.STRAY_REGISTRATION, one) for one in sorted(set(registered)) if one.lower() not in names]


def _find_shared(logins: Sequence[tuple[str, str]]) -> list[Difference]:
    by_name: dict[str, set[str]] = {}
    for initiator, address in logins:
        if address:
            # Clients of Ceph on one host differ in what comes after it.
            host = address.rpartition(':')[0] if '/' in address else address
            by_name.setdefault(initiator, set()).add(host)
    return [
        Difference(Drift.SHARED_LOGIN, name_places(initiator, addresses), TABLE[Drift.SHARED_LOGIN].means)
        for initiator, addresses in sorted(by_name.items())
        if len(addresses) > 1
    ]


def name_places(initiator: str, places: Iterable[str]) -> str:
    """Say where an initiator name was seen."""
    found = sorted(places)
    more = f' and {len(found) - _NAMED} more' if len(found) > _NAMED else ''
    return f'{initiator}: {", ".join(found[:_NAMED])}{more}'


def _differ(kind: Drift, about: str) -> Difference:
    return Difference(kind, about, TABLE[kind].means)


def _missing(kind: Drift, wanted: set[str], there: Sequence[str] | set[str]) -> list[Difference]:
    return [_differ(kind, about) for about in sorted(wanted - set(there))]
