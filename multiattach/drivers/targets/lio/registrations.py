# SPDX-License-Identifier: Apache-2.0
"""Persistent reservations as the kernel writes them down (``drivers/target/target_core_pr.c``), and as it shows them.

It rewrites the file ``pr/aptpl_SERIAL`` beneath its ``dbroot`` at each change that an initiator makes, and reads it
never: whoever makes a target gives it the lines again, before a logical unit has them.
"""

import dataclasses
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from multiattach.drivers.targets.base import LUN, Registration, Reservations

# Types whose reservation lets every registrant in: whoever of them holds it may change.
FOR_REGISTRANTS = (5, 6, 7, 8)
_FOR_ALL = (7, 8)
_KINDS = {
    'Write Exclusive Access': 1,
    'Exclusive Access': 3,
    'Write Exclusive Access, Registrants Only': 5,
    'Exclusive Access, Registrants Only': 6,
    'Write Exclusive Access, All Registrants': 7,
    'Exclusive Access, All Registrants': 8,
}
_NODE, _KEY, _ISID = 'initiator_node', 'sa_res_key', 'initiator_sid'
_HOLDER, _TYPE, _SCOPE = 'res_holder', 'res_type', 'res_scope'
_START, _END, _NOTHING = 'PR_REG_START', 'PR_REG_END', 'No Registrations or Reservations'
_SHOWN = re.compile(r'^\S+ Node: (?P<node>\S+?)(?:,i,0x(?P<isid>\w+))? Key: 0x(?P<key>[0-9a-fA-F]+) PRgen: ', re.M)
_SHOWN_HOLDER = re.compile(r'Initiator: (?P<node>\S+?)(?:,i,0x(?P<isid>\w+))?$', re.M)
_SHOWN_TYPE = 'SPC-3 Reservation Type: '
# The kernel shows as many as a page of 4096 bytes takes.
_PAGE, _LINE = 4096, 384


class TornState(ValueError):
    """A file of registrations ends in the middle."""


@dataclass(frozen=True)
class Nexus:
    """One registration with all that the kernel keeps of it, by its names, in its order."""

    values: Mapping[str, str]

    @property
    def initiator(self) -> str:
        return self.values[_NODE]

    @property
    def is_holder(self) -> bool:
        return self.values.get(_HOLDER) == '1'

    @property
    def kind(self) -> int | None:
        # The file has two hex digits, of which "08" would be no number to whoever reads it back.
        return int(self.values[_TYPE], 16) if self.is_holder else None

    def tell(self) -> str:
        """Write it as ``res_aptpl_metadata`` takes it."""
        return ','.join(f'{key}={int(value, 16) if key == _TYPE else value}' for key, value in self.values.items())


def parse_state(text: str) -> list[Nexus]:
    """Read a file of registrations.

    :raises TornState: it is not whole; an empty one is that, too.
    """
    if text.strip('\0\n ') == _NOTHING:
        return []
    found: list[Nexus] = []
    values: dict[str, str] | None = None
    for line in text.strip('\0\n ').splitlines():
        if line.startswith(_START):
            values = {}
        elif line == f'{_END}: {len(found)}' and values is not None and _NODE in values:
            found.append(Nexus(values))
            values = None
        elif values is not None and '=' in line:
            key, _, value = line.partition('=')
            values[key] = value
        else:
            raise TornState(line)
    if values is not None or not found:
        raise TornState('it has no end')
    return found


def write_state(nexuses: Iterable[Nexus]) -> str:
    """Write a file of registrations as the kernel does."""
    text = ''
    for number, nexus in enumerate(nexuses):
        lines = ''.join(f'{key}={value}\n' for key, value in nexus.values.items())
        text += f'{_START}: {number}\n{lines}{_END}: {number}\n'
    return text or f'{_NOTHING}\n'


def without(nexuses: Sequence[Nexus], initiators: Collection[str]) -> list[Nexus]:
    """Take initiators away; a reservation that is for registrants goes on with another one of them."""
    left = [nexus for nexus in nexuses if nexus.initiator not in initiators]
    holder = next((nexus for nexus in nexuses if nexus.is_holder), None)
    if not left or holder is None or holder in left or holder.kind not in FOR_REGISTRANTS:
        return left
    return [_hold(left[0], holder), *left[1:]]


def for_any_session(nexuses: Iterable[Nexus]) -> list[Nexus]:
    """Have each initiator registered once, with its last key, whatever session it comes back with.

    QEMU's initiator makes up a new session identifier at each login; the kernel would take it for somebody else, and a
    reservation that went on with it for one that keeps it off.
    """
    found: dict[str, Nexus] = {}
    holder: Nexus | None = None
    for nexus in nexuses:
        if nexus.is_holder:
            holder = nexus
        found[nexus.initiator] = Nexus({key: value for key, value in nexus.values.items() if key != _ISID})
    if holder is not None and not found[holder.initiator].is_holder:
        found[holder.initiator] = _hold(found[holder.initiator], holder)
    return list(found.values())


def hands_over(nexuses: Sequence[Nexus], initiator: str) -> bool:
    """Whether a reservation has to go on with another one when an initiator goes."""
    holds = any(one.is_holder and one.initiator == initiator for one in nexuses)
    return holds and any(one.is_holder for one in without(nexuses, [initiator]))


def _hold(nexus: Nexus, before: Nexus) -> Nexus:
    held: dict[str, str] = {}
    for key, value in nexus.values.items():
        if key != _HOLDER:
            held[key] = value
            continue
        held |= {_HOLDER: '1', _TYPE: before.values[_TYPE], _SCOPE: before.values[_SCOPE]}
    return Nexus(held)


def tell(generation: int, nexuses: Iterable[Nexus]) -> Reservations:
    found = list(nexuses)
    kind = next((nexus.kind for nexus in found if nexus.is_holder), None)
    return Reservations(
        generation,
        kind,
        tuple(
            Registration(one.initiator, f'{int(one.values[_KEY]):016x}', one.is_holder or kind in _FOR_ALL)
            for one in found
        ),
    )


@dataclass(frozen=True)
class Shown:
    """What the kernel shows of a logical unit.

    :param isids: of each registration the session's, None for one without.
    :param holder: number of the registration that the kernel names as the holder, also where all of them are.
    :param is_whole: whether these are all that are registered.
    """

    reservations: Reservations
    isids: tuple[str | None, ...]
    holder: int | None
    is_whole: bool


def describe(shown: Shown, iqn: str) -> list[Nexus]:
    """Write down registrations as the kernel would."""
    found = shown.reservations
    return [
        Nexus(_describe(dataclasses.replace(one, is_holder=number == shown.holder), isid, found.kind, iqn))
        for number, (one, isid) in enumerate(zip(found.registrations, shown.isids, strict=True))
    ]


def _describe(one: Registration, isid: str | None, kind: int | None, iqn: str) -> dict[str, str]:
    session = {} if isid is None else {_ISID: isid}
    held = {_HOLDER: '1', _TYPE: f'{kind:02x}', _SCOPE: '00'} if one.is_holder else {_HOLDER: '0'}
    return {
        'initiator_fabric': 'iSCSI',
        _NODE: one.initiator,
        **session,
        _KEY: str(int(one.key, 16)),
        **held,
        'res_all_tg_pt': '0',
        'mapped_lun': str(LUN),
        'target_fabric': 'iSCSI',
        'target_node': iqn,
        'tpgt': '1',
        'port_rtpi': '1',
        'target_lun': str(LUN),
    }


def parse_shown(registered: str, holder: str, kind: str, generation: str) -> Shown:
    """Read the attributes in ``pr``."""
    match, code = _SHOWN_HOLDER.search(holder), _KINDS.get(kind.removeprefix(_SHOWN_TYPE).strip())
    holding = (match['node'], match['isid']) if match else None
    lines = list(_SHOWN.finditer(registered))
    found = tuple(
        Registration(
            one['node'],
            one['key'].rjust(16, '0').lower(),
            (one['node'], one['isid']) == holding or (code in _FOR_ALL and holding is not None),
        )
        for one in lines
    )
    return Shown(
        Reservations(int(generation or '0', 0), code, found),
        tuple(one['isid'] for one in lines),
        next((number for number, one in enumerate(lines) if (one['node'], one['isid']) == holding), None),
        len(registered) < _PAGE - _LINE,
    )
