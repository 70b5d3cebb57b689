# SPDX-License-Identifier: Apache-2.0
"""tgtd's show texts as data.

Part of the text is an initiator's own words (its alias, shown with its session). Therefore the
sections are read by position and indent, and a listing whose target numbers are not strictly
rising, or that names a target twice, is refused: it was forged or is broken.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from multiattach.drivers.target import TargetError

_HEAD = "Target "
_NEXT_HEAD = "\nTarget "
_TARGET_LINE = re.compile(r"Target (\d+): (\S+)$", re.MULTILINE)
_NAME = re.compile(r"(?:iqn|eui|naa)\.")
_SECTION = "    "
_ITEM = "        "
_DETAIL = "            "


@dataclass(frozen=True)
class Connection:
    """One connection of a session.

    :param cid: its number, unique within the session.
    :param address: the initiator's address, "" when not shown.
    """

    cid: int
    address: str = ""


@dataclass
class Nexus:
    """One session.

    :param sid: its number.
    :param initiator: the initiator's name.
    :param connections: its connections.
    """

    sid: int
    initiator: str = ""
    connections: list[Connection] = field(default_factory=list)


@dataclass
class Lun:
    """One logical unit.

    :param number: its number; 0 is the controller.
    :param details: the shown properties by name, for example ``SCSI ID``.
    """

    number: int
    details: dict[str, str] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """Path of the backing store, "" when it has none."""
        path = self.details.get("Backing store path", "None")
        return "" if path == "None" else path

    @property
    def online(self) -> bool:
        """Whether it serves I/O."""
        return self.details.get("Online") == "Yes"

    @property
    def scsi_id(self) -> str:
        """The id from which the WWN is made."""
        return self.details.get("SCSI ID", "")


@dataclass
class ShownTarget:
    """One target.

    :param tid: its number.
    :param iqn: its name.
    :param luns: logical units by number, the controller (0) included.
    :param nexuses: live sessions.
    :param accounts: incoming CHAP names, in the order of tgtd's slots.
    :param initiators: names that may log in.
    :param addresses: addresses that may log in whatever their name (``ALL``: everybody).
    """

    tid: int
    iqn: str
    luns: dict[int, Lun] = field(default_factory=dict)
    nexuses: list[Nexus] = field(default_factory=list)
    accounts: list[str] = field(default_factory=list)
    initiators: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)


class Listing:
    """tgtd's list of all targets, of which only the parts asked for are parsed.

    :param text: reply to "show targets".
    :raises TargetError: the list is not what tgtd writes.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._places: dict[str, tuple[int, int, int]] = {}
        last = 0
        start = 0 if text.startswith(_HEAD) else text.find(_NEXT_HEAD) + 1
        while text.startswith(_HEAD, start):  # plain search: a regex takes ten times as long
            after = text.find(_NEXT_HEAD, start) + 1 or len(text)
            head = _TARGET_LINE.match(text, start)
            if head is None or int(head[1]) <= last or head[2] in self._places:
                raise TargetError("tgtd's list of targets is inconsistent: forged or broken")
            last = int(head[1])
            self._places[head[2]] = (last, head.end(), after)
            start = after

    def tids(self) -> set[int]:
        """List the numbers in use.

        :returns: target numbers.
        """
        return {tid for tid, _, _ in self._places.values()}

    def texts(self) -> dict[str, str]:
        """List what is said of each target.

        :returns: by name the text from its number on.
        """
        return {iqn: f"{tid}{self._text[start:end]}" for iqn, (tid, start, end) in self._places.items()}

    def find(self, iqn: str) -> ShownTarget | None:
        """Look for one target.

        :param iqn: its name.
        :returns: the target, None when there is none of that name.
        """
        place = self._places.get(iqn)
        if place is None:
            return None
        tid, start, end = place
        return _parse_body(ShownTarget(tid, iqn), self._text[start:end])

    def __iter__(self) -> Iterator[ShownTarget]:
        for iqn in self._places:
            target = self.find(iqn)
            assert target is not None
            yield target

    def bound_elsewhere(self, user: str, iqn: str) -> bool:
        """Tell whether an account belongs to another target too.

        :param user: CHAP name.
        :param iqn: the target that is not counted.
        :returns: True when another target has it.
        """
        shown = self._text.count(f"\n{_ITEM}{user}\n")
        own = self.find(iqn)
        if shown <= (own is not None and user in own.accounts):
            return False
        return any(user in other.accounts for other in self if other.iqn != iqn)


def _parse_body(target: ShownTarget, text: str) -> ShownTarget:
    section = ""
    lun: Lun | None = None
    for line in text.splitlines():
        body = line.strip()
        if line.startswith(_SECTION) and not line.startswith(_ITEM):
            section = body
        elif section == "I_T nexus information:":
            _parse_nexus_line(target.nexuses, line, body)
        elif section == "LUN information:":
            key, _, value = body.partition(":")
            if key == "LUN" and not line.startswith(_DETAIL):
                lun = Lun(int(value))
                target.luns[lun.number] = lun
            elif lun is not None:
                lun.details[key] = value.strip()
        elif section == "Account information:" and body and not body.endswith(" (outgoing)"):
            target.accounts.append(body)
        elif section == "ACL information:" and body:
            names = target.initiators if _NAME.match(body) else target.addresses
            names.append(body)
    return target


def _parse_nexus_line(nexuses: list[Nexus], line: str, body: str) -> None:
    key, _, value = body.partition(": ")
    if key == "I_T nexus" and not line.startswith(_DETAIL):
        nexuses.append(Nexus(int(value)))
    elif not nexuses:
        return
    elif key == "Initiator" and not nexuses[-1].initiator:
        nexuses[-1].initiator = value.split(" ", 1)[0]
    elif key == "Connection" and not nexuses[-1].connections:
        nexuses[-1].connections.append(Connection(int(value)))
    elif key == "IP Address" and nexuses[-1].connections:
        last = nexuses[-1].connections[-1]
        nexuses[-1].connections[-1] = Connection(last.cid, value)


def parse_connections(text: str) -> list[Nexus]:
    """Read a target's live connections.

    :param text: reply to "show connections".
    :returns: its sessions, each with its connections.
    """
    nexuses: dict[int, Nexus] = {}
    current: Nexus | None = None
    for line in text.splitlines():
        key, _, value = line.strip().partition(": ")
        if key == "Session":
            current = nexuses.setdefault(int(value), Nexus(int(value)))
        elif current is None:
            continue
        elif key == "Connection":
            current.connections.append(Connection(int(value)))
        elif key == "Initiator":
            current.initiator = value
        elif key == "IP Address" and current.connections:
            current.connections[-1] = Connection(current.connections[-1].cid, value)
    return list(nexuses.values())


def parse_portals(text: str) -> list[str]:
    """Read where tgtd listens.

    :param text: reply to "show portals".
    :returns: ``address:port`` of each portal.
    """
    found = re.findall(r"^Portal: (\S+),\d+$", text, re.MULTILINE)
    return [str(portal) for portal in found]


def parse_accounts(text: str) -> list[str]:
    """Read all CHAP names.

    :param text: reply to "show accounts".
    :returns: names, the newest first.
    """
    return [line.strip() for line in text.splitlines() if line.startswith(_SECTION)]


def parse_in_flight(text: str) -> int:
    """Count commands that were begun and are not done.

    :param text: reply to "statistics of a logical unit": per session its number of target, unit
        and session, then bytes and commands of reads begun and done and of writes begun and done.
    :returns: number of commands.
    """
    count = 0
    for line in text.splitlines()[1:]:
        fields = [int(field) for field in line.split()]
        count += fields[4] - fields[6] + fields[8] - fields[10]
    return count
