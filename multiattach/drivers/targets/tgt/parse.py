# SPDX-License-Identifier: Apache-2.0
"""tgtd's show texts as data.

The list of targets has foreign text in it: the alias of each live session, up to 1 kB of whatever
the initiator likes, line ends and whole targets included. tgtd prints it before the logical units,
the accounts and the ACL of the same target, and nowhere else. So a target's own part is what stands
after the *last* heading of its logical units, and sessions are never read from the list, but from
the list of connections, which has no alias. Which headings of targets are tgtd's own is decided by
:mod:`multiattach.drivers.targets.tgt.roster`.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from multiattach.drivers.errors import TargetError
from multiattach.drivers.targets.tgt.protocol import NOBODY_ADDRESS, looks_like_address

_HEAD = 'Target '
_NEXT_HEAD = '\nTarget '
_TARGET_LINE = re.compile(r'Target (\d{1,10}): (\S+)$', re.MULTILINE)
_SECTION = '    '
_ITEM = '        '
_DETAIL = '            '
_NEXUS_SECTION = '    I_T nexus information:\n'
_LUN_SECTION = '    LUN information:\n'
_READY = '\n        State: ready\n'
_NEXUS = re.compile(
    r'        I_T nexus: (?P<sid>\d+)\n'
    r'            Initiator: (?P<initiator>\S+) alias: [^\n]*\n'
    r'            Connection: \d+\n'
    r'                [^\n]*\n'
)


@dataclass(frozen=True)
class Connection:
    """One connection of a session.

    :param cid: its number, unique within the session.
    :param address: the initiator's address, "" when not shown.
    """

    cid: int
    address: str = ''


@dataclass
class Nexus:
    sid: int
    initiator: str = ''
    connections: list[Connection] = field(default_factory=list)


@dataclass
class Lun:
    """One logical unit.

    :param number: its number; 0 is the controller.
    :param details: the shown properties by name, for example ``SCSI ID``.
    """

    number: int
    details: dict[str, str] = field(default_factory=dict)

    @classmethod
    def make(cls, number: int, path: str, scsi_id: str = '') -> 'Lun':
        """Make what tgtd shows of one that it has opened."""
        return cls(number, {'Backing store path': path, 'Online': 'Yes', 'SCSI ID': scsi_id})

    @property
    def path(self) -> str:
        """Path of the backing store, "" when it has none."""
        path = self.details.get('Backing store path', 'None')
        return '' if path == 'None' else path

    @property
    def online(self) -> bool:
        return self.details.get('Online') == 'Yes'

    @property
    def scsi_id(self) -> str:
        return self.details.get('SCSI ID', '')


@dataclass
class ShownTarget:
    """One target, without its sessions.

    :param luns: logical units by number, the controller (0) included.
    :param accounts: incoming CHAP names, in the order of tgtd's slots.
    :param initiators: names that may log in.
    :param addresses: addresses that may log in whatever their name (``ALL``: everybody).
    :param is_open: whether it takes logins and commands at all (its state is "ready").
    """

    tid: int
    iqn: str
    luns: dict[int, Lun] = field(default_factory=dict)
    accounts: list[str] = field(default_factory=list)
    initiators: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)
    is_open: bool = True

    @property
    def strangers(self) -> list[str]:
        """Addresses that may log in, without the one that nobody has."""
        return [address for address in self.addresses if address != NOBODY_ADDRESS]


class Head(NamedTuple):
    """A line that looks like the heading of a target."""

    tid: int
    iqn: str
    start: int
    end: int


def find_heads(text: str) -> list[Head]:
    """Look for lines that could be headings of targets; those of tgtd are among them."""
    heads = []
    start = 0 if text.startswith(_HEAD) else text.find(_NEXT_HEAD) + 1
    while text.startswith(_HEAD, start):  # plain search: a regex takes ten times as long
        after = text.find(_NEXT_HEAD, start) + 1 or len(text)
        line = _TARGET_LINE.match(text, start)
        if line is not None:
            heads.append(Head(int(line[1]), line[2], start, line.end()))
        start = after
    return heads


class Listing:
    """tgtd's list of all targets, of which only the parts asked for are parsed.

    :param heads: the headings in it that tgtd wrote; None to take all for that.
    :raises TargetError: headings contradict each other.
    """

    def __init__(self, text: str, heads: Sequence[Head] | None = None) -> None:
        self._text = text
        self._places: dict[str, tuple[int, int, int]] = {}
        heads = find_heads(text) if heads is None else heads
        last = -1
        for number, head in enumerate(heads):
            if head.tid <= last or head.iqn in self._places:
                raise TargetError("tgtd's list of targets is inconsistent: forged or broken")
            last = head.tid
            after = heads[number + 1].start if number + 1 < len(heads) else len(text)
            self._places[head.iqn] = (head.tid, head.end, after)

    def tids(self) -> set[int]:
        return {tid for tid, _, _ in self._places.values()}

    def texts(self) -> dict[str, str]:
        """Return by name what is said of each target, from its number on."""
        return {iqn: f'{tid}{self._text[start:end]}' for iqn, (tid, start, end) in self._places.items()}

    def find(self, iqn: str) -> ShownTarget | None:
        """Return one target, None when there is none of that name.

        :raises TargetError: what tgtd says of it cannot be read.
        """
        place = self._places.get(iqn)
        if place is None:
            return None
        tid, start, end = place
        return parse_body(tid, iqn, self._text[start:end])

    def find_sessions(self, iqn: str) -> str:
        """Return what is said of a listed target's sessions: foreign text, good only to see that it changed."""
        _, start, end = self._places[iqn]
        begin = self._text.find(_NEXUS_SECTION, start, end) + len(_NEXUS_SECTION)
        return self._text[begin : max(self._text.rfind(_LUN_SECTION, start, end), begin)]

    def __iter__(self) -> Iterator[ShownTarget]:
        for iqn in self._places:
            target = self.find(iqn)
            assert target is not None
            yield target

    def bound_elsewhere(self, user: str, iqn: str) -> bool:
        """Return whether an account belongs to another target too."""
        shown = self._text.count(f'\n{_ITEM}{user}\n')
        own = self.find(iqn)
        if shown <= (own is not None and user in own.accounts):
            return False
        return any(user in other.accounts for other in self if other.iqn != iqn)


def parse_body(tid: int, iqn: str, text: str) -> ShownTarget:
    """Read what stands under a target's heading.

    :raises TargetError: it is broken.
    """
    head = text.find(_NEXUS_SECTION)
    tail = text.rfind(_LUN_SECTION)
    if head < 0 or tail < head:
        raise TargetError(f"tgtd's list of targets is broken at {iqn}: its logical units are missing")
    target = ShownTarget(tid, iqn, is_open=_READY in text[:head])
    section = ''
    lun: Lun | None = None
    for line in text[tail:].split('\n'):
        body = line.strip()
        if line.startswith(_SECTION) and not line.startswith(_ITEM):
            section = body
        elif section == 'LUN information:':
            key, _, value = body.partition(':')
            if key == 'LUN' and not line.startswith(_DETAIL):
                lun = Lun(int(value))
                target.luns[lun.number] = lun
            elif lun is not None:
                lun.details[key] = value.strip()
        elif section == 'Account information:' and body and not body.endswith(' (outgoing)'):
            target.accounts.append(body)
        elif section == 'ACL information:' and body:
            names = target.addresses if looks_like_address(body) else target.initiators
            names.append(body)
    return target


def tells_of(text: str, nexuses: Sequence[Nexus]) -> bool:
    """Return whether the foreign text of a target's sessions says what is true, and nothing else.

    False when an alias has made it something else, or when a session came or went in between.

    :param text: as :meth:`Listing.find_sessions` returns it.
    :param nexuses: its sessions, as the list of connections has them.
    """
    end, found = 0, set()
    while match := _NEXUS.match(text, end):
        found.add((int(match['sid']), match['initiator']))
        end = match.end()
    return end == len(text) and found == {(nexus.sid, nexus.initiator) for nexus in nexuses}


def parse_connections(text: str) -> list[Nexus]:
    """Read a target's live connections from the reply to "show connections"."""
    nexuses: dict[int, Nexus] = {}
    current: Nexus | None = None
    for line in text.split('\n'):
        key, _, value = line.strip().partition(': ')
        if key == 'Session':
            current = nexuses.setdefault(int(value), Nexus(int(value)))
        elif current is None:
            continue
        elif key == 'Connection':
            current.connections.append(Connection(int(value)))
        elif key == 'Initiator':
            current.initiator = value
        elif key == 'IP Address' and current.connections:
            current.connections[-1] = Connection(current.connections[-1].cid, value)
    return list(nexuses.values())


def parse_busy(text: str) -> list[int]:
    """Read at which targets there are sessions from tgtd's statistics: a line for each session and logical unit."""
    return sorted({int(line.split()[0]) for line in text.split('\n')[1:] if line.strip()})


def parse_portals(text: str) -> list[str]:
    """Read where tgtd listens, ``address:port`` each, from the reply to "show portals"."""
    found = re.findall(r'^Portal: (\S+),\d+$', text, re.MULTILINE)
    return [str(portal) for portal in found]


def parse_stores(text: str) -> list[str]:
    """Return the kinds of backing stores that the text of the system names."""
    _, _, after = text.partition('Backing stores:\n')
    found, _, _ = after.partition('Device types:\n')
    return [line.split()[0] for line in found.splitlines()]


def parse_accounts(text: str) -> list[str]:
    """Read all CHAP names, the newest first, from the reply to "show accounts"."""
    return [line.strip() for line in text.split('\n') if line.startswith(_SECTION)]
