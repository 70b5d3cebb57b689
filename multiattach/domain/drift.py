# SPDX-License-Identifier: Apache-2.0
"""What a target has next to what is recorded: where they differ, and what that means."""

import dataclasses
import enum
from collections.abc import Mapping, Sequence

from multiattach.domain.states import ADMITTED, ON_TARGET


class Drift(enum.StrEnum):
    """Kinds of difference between the database and a target."""

    NO_TARGET = 'no_target'
    NO_VOLUME = 'no_volume'
    UNUSED = 'unused'
    NO_LUN = 'no_lun'
    SHUT_OUT = 'shut_out'
    ADMITTED = 'admitted'
    NO_ACCOUNT = 'no_account'
    ACCOUNT = 'account'
    SESSION = 'session'


@dataclasses.dataclass(frozen=True)
class Difference:
    """One difference.

    :param kind: which.
    :param about: initiator, account or volume that it is about.
    :param text: what it means.
    """

    kind: Drift
    about: str
    text: str


@dataclasses.dataclass(frozen=True)
class Recorded:
    """What the database says of one attachment on a target.

    :param state: internal state.
    :param initiator: whom the target is to admit.
    :param account: CHAP name in connection_info, None if none is stored.
    """

    state: str
    initiator: str
    account: str | None = None


@dataclasses.dataclass(frozen=True)
class Shown:
    """What a target shows of itself.

    :param luns_online: whether it has a logical unit and all of them serve I/O.
    :param initiators: who may log in.
    :param accounts: CHAP names that are bound to it.
    :param sessions: initiators of live logins.
    """

    luns_online: bool
    initiators: Sequence[str]
    accounts: Sequence[str]
    sessions: Sequence[str]


_TEXTS: Mapping[Drift, str] = {
    Drift.NO_TARGET: 'Attachments need a target, and there is none. The volume worker makes it again when it '
                     'notices that the target daemon was restarted, or is itself restarted.',
    Drift.NO_VOLUME: 'There is a target of a volume that is not recorded.',
    Drift.UNUSED: 'There is a target, and no attachment needs it.',
    Drift.NO_LUN: 'The target has no logical unit that serves I/O.',
    Drift.SHUT_OUT: 'An attachment needs this initiator to be admitted, and it is not.',
    Drift.ADMITTED: 'The target admits an initiator that no attachment names.',
    Drift.NO_ACCOUNT: 'The account of an attachment is not bound to the target.',
    Drift.ACCOUNT: 'An account is bound to the target that no attachment names.',
    Drift.SESSION: 'An initiator is logged in that no attachment names.',
}


def compare(volume_id: str, recorded: Sequence[Recorded] | None, shown: Shown | None) -> list[Difference]:
    """Compare one target with what is recorded of its volume.

    Steps in flight (being exported, being taken back) may be seen before or after: neither differs.

    :param volume_id: UUID.
    :param recorded: attachments in a state of :data:`~multiattach.domain.states.ON_TARGET`; None if
        there is no such volume.
    :param shown: the target, None if there is none.
    :returns: differences, most serious first; empty if there are none.
    """
    rows = [row for row in recorded or () if row.state in ON_TARGET]
    needed = [row for row in rows if row.state in ADMITTED]
    if shown is None:
        return [_differ(Drift.NO_TARGET, volume_id)] if needed else []
    found = []
    if recorded is None:
        found.append(_differ(Drift.NO_VOLUME, volume_id))
    elif not rows:
        found.append(_differ(Drift.UNUSED, volume_id))
    if needed and not shown.luns_online:
        found.append(_differ(Drift.NO_LUN, volume_id))
    accounts = {row.account for row in needed if row.account}
    # A step in flight whose account is not stored yet may have bound one already.
    settled = all(row.account for row in rows)
    found += _missing(Drift.SHUT_OUT, {row.initiator for row in needed}, shown.initiators)
    found += _missing(Drift.NO_ACCOUNT, accounts, shown.accounts)
    known = {row.initiator for row in rows}
    found += _missing(Drift.ADMITTED, set(shown.initiators), known)
    if settled:
        found += _missing(Drift.ACCOUNT, set(shown.accounts), {row.account or '' for row in rows})
    found += _missing(Drift.SESSION, set(shown.sessions), known)
    return found


def _differ(kind: Drift, about: str) -> Difference:
    return Difference(kind, about, _TEXTS[kind])


def _missing(kind: Drift, wanted: set[str], there: Sequence[str] | set[str]) -> list[Difference]:
    return [_differ(kind, about) for about in sorted(wanted - set(there))]
