# SPDX-License-Identifier: Apache-2.0
"""One iSCSI target of the kernel: its portal, its logical unit, and who may log in.

The name of an initiator and its CHAP account are one entry here (a node ACL), so nobody can log in under another's
name with an account of its own. The entry goes only when all that it has begun has ended, logins that are held open
half-way included: whoever removed it has the proof.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

from multiattach.domain import sharing
from multiattach.drivers.errors import TargetRequestInvalid
from multiattach.drivers.targets.base import LUN, Grant, SessionState
from multiattach.drivers.targets.lio import adopted
from multiattach.drivers.targets.lio.configfs import Configfs
from multiattach.drivers.targets.lio.half_open import end_half_open
from multiattach.drivers.targets.lio.session_text import read_sessions

_ATTRIBUTES = {
    'authentication': '1',
    'generate_node_acls': '0',
    'cache_dynamic_acls': '0',
    'demo_mode_discovery': '0',  # whoever is not admitted is not told of it
    'demo_mode_write_protect': '1',
    'prod_mode_write_protect': '0',
    'login_timeout': '5',  # s, the least that the kernel takes
}
_NAME = re.compile(r'(?!\.)[!-.0-~]{1,223}')
_MAPPED = re.compile(r'lun_(\d{1,5})')
_UNSET = 'NULL'  # what the kernel takes for no value
_UNIT = f'lun_{LUN}'


@dataclass(frozen=True)
class Entry:
    """A node ACL.

    :param luns: numbers by which it knows the unit.
    """

    initiator: str
    username: str
    secret: str = field(repr=False)
    mode: str
    luns: tuple[int, ...]


class PortalGroup:
    """The target of one volume.

    :param portal: ``address:port`` where the kernel listens.
    """

    def __init__(self, configfs: Configfs, iqn: str, portal: str) -> None:
        self._configfs = configfs
        self.iqn = iqn
        self._portal = portal

    @property
    def _target(self) -> Path:
        return self._configfs.root / 'iscsi' / self.iqn

    @property
    def _group(self) -> Path:
        return self._target / 'tpgt_1'

    @property
    def _lun(self) -> Path:
        theirs = self._group / 'lun' / adopted.UNIT
        return theirs if theirs.is_dir() else self._group / 'lun' / _UNIT

    def _entry(self, initiator: str) -> Path:
        if not is_entry_name(initiator):
            raise TargetRequestInvalid(f'the kernel can have no entry of {initiator!r}')
        # The kernel compares what an initiator calls itself in small letters, as RFC 3722 has it.
        return self._group / 'acls' / initiator.lower()

    # Making and removing ----------------------------------------------------------------

    def make(self) -> None:
        """Make it, or what it lacks; it takes logins only when it is opened."""
        self._configfs.make(self._target)
        self._configfs.make(self._group)
        for name, value in _ATTRIBUTES.items():
            self._configfs.settle(self._group / 'attrib' / name, value)

    def attach(self, place: Path) -> None:
        """Show a storage object as the logical unit."""
        self._configfs.make(self._lun)
        self._configfs.link(self._lun / place.name, place)

    def find_place(self) -> Path | None:
        """Find the storage object of the logical unit."""
        return next((link.resolve() for link in self._configfs.list_links(self._lun)), None)

    def listen(self) -> None:
        """Listen at the portal, and nowhere else."""
        folder = self._group / 'np'
        for name in self._configfs.list_names(folder):
            if name != self._portal:
                self._remove_waiting(folder / name)
        self._configfs.make(folder / self._portal)

    def is_listening(self) -> bool:
        return self._configfs.list_names(self._group / 'np') == [self._portal]

    def was_made(self) -> bool:
        """Whether it listens somewhere: the last thing when it is made, and the first to go when it is removed."""
        return bool(self._configfs.list_names(self._group / 'np'))

    def set_open(self, is_open: bool) -> None:
        """Take logins, or end all sessions and take none."""
        self._configfs.settle(self._group / 'enable', str(int(is_open)))

    def remove(self) -> None:
        """Remove it with all that it has; absent is success."""
        if not self.exists():
            return
        if (self._group / 'enable').exists():
            self.set_open(False)
        for name in self._configfs.list_names(self._group / 'np'):
            self._remove_waiting(self._group / 'np' / name)
        for name in self.list_initiators():
            self.shut_out(name)
        self.detach()
        self._configfs.remove(self._group)
        self._configfs.remove(self._target)

    def detach(self) -> None:
        """Take the logical unit away; nobody may have it mapped any more."""
        folder = self._group / 'lun'
        for name in self._configfs.list_names(folder):
            self._remove_linked(folder / name)

    def _remove_linked(self, folder: Path) -> None:
        for link in self._configfs.list_links(folder):
            self._configfs.unlink(link)
        self._configfs.remove(folder)

    # Who may log in ---------------------------------------------------------------------

    def expect(self, initiator: str, *luns: int) -> bool:
        """Make the entry of an initiator that cannot log in yet; its registration is in force from now on.

        :param luns: numbers by which it knows the unit. One that is new to a live session is news to it.
        :returns: whether there was none.
        """
        entry = self._entry(initiator)
        made = self._configfs.make(entry)
        if initiator != entry.name:
            self._configfs.settle(entry / 'tag', initiator)
        for lun in luns or (LUN,):
            mapped = entry / f'lun_{lun}'
            if self._configfs.make(mapped) or not self._configfs.list_links(mapped):
                self._configfs.link(mapped / 'lun', self._lun)
        return made

    def admit(self, grant: Grant) -> bool:
        """Let an initiator log in; tell whether it had no entry."""
        made = self.expect(grant.initiator, *grant.luns)
        entry = self._entry(grant.initiator)
        for lun in self.list_luns(grant.initiator):
            self._configfs.settle(entry / f'lun_{lun}' / 'write_protect', _write_protect(grant.mode))
        # Last of all: without them nobody logs in.
        self._configfs.settle(entry / 'auth' / 'userid', grant.username or _UNSET)
        self._configfs.settle(entry / 'auth' / 'password', grant.secret or _UNSET)
        return made

    def shut_out(self, initiator: str) -> None:
        """Remove the entry of an initiator with all that it has begun; absent is success.

        Its registration, and what it holds, goes with it.
        """
        entry = self._entry(initiator)
        if not entry.exists():
            return
        self._configfs.write(entry / 'auth' / 'userid', _UNSET)
        for lun in self.list_luns(initiator):
            self._remove_linked(entry / f'lun_{lun}')
        self._remove_waiting(entry)

    def _remove_waiting(self, folder: Path) -> None:
        """Remove a folder for which the kernel waits for logins."""
        self._configfs.remove(folder, lambda: end_half_open(self._configfs, self._portal))

    # Reading ----------------------------------------------------------------------------

    def exists(self) -> bool:
        return self._target.is_dir()

    def probe(self) -> None:
        """Read what the kernel keeps from readers while it waits for something here."""
        for name in ('acls', 'np'):
            self._configfs.list_names(self._group / name)
        self.is_public()

    def is_open(self) -> bool:
        return self._configfs.read(self._group / 'enable') == '1'

    def is_public(self) -> bool:
        """Whether it admits everybody, as none of this driver does."""
        return self._configfs.read(self._group / 'attrib' / 'generate_node_acls') == '1'

    def has_others_units(self) -> bool:
        """Whether it has logical units by other numbers than this driver's; Cinder begins with 0."""
        return bool({*self._configfs.list_names(self._group / 'lun')} - {_UNIT})

    def is_adopted(self) -> bool:
        """Whether Cinder made it."""
        return self._lun.name == adopted.UNIT

    def find_lun(self) -> int:
        """Find the number of the logical unit; an entry may know it by another one."""
        return adopted.LUN if self.is_adopted() else LUN

    def list_luns(self, initiator: str) -> list[int]:
        """List the numbers by which an initiator knows the unit."""
        names = (_MAPPED.fullmatch(name) for name in self._configfs.list_names(self._entry(initiator)))
        return [int(match[1]) for match in names if match is not None]

    def serves_adopted(self) -> bool:
        """Whether somebody has an entry whom Cinder let in."""
        return any(adopted.LUN in self.list_luns(name) for name in self._configfs.list_names(self._group / 'acls'))

    def is_stuck(self) -> bool:
        return self._configfs.is_stuck(self._target)

    def list_initiators(self) -> list[str]:
        """List them by the names that they were admitted by."""
        return [self.find_name(name) for name in self._configfs.list_names(self._group / 'acls')]

    def find_name(self, name: str) -> str:
        """Find the name by which an initiator was admitted that the kernel tells of."""
        tag = self._configfs.read(self._entry(name) / 'tag')
        return tag if tag.lower() == name else name

    def has(self, initiator: str) -> bool:
        return self._entry(initiator).is_dir()

    def read_entry(self, initiator: str) -> Entry:
        entry = self._entry(initiator)
        luns = self.list_luns(initiator)
        protected = any(self._configfs.read(entry / f'lun_{lun}' / 'write_protect') == '1' for lun in luns)
        return Entry(
            initiator,
            self.read_account(initiator),
            self._read_auth(initiator, 'password'),
            sharing.READ_ONLY if protected else sharing.READ_WRITE,
            tuple(luns),
        )

    def read_account(self, initiator: str) -> str:
        return self._read_auth(initiator, 'userid')

    def _read_auth(self, initiator: str, name: str) -> str:
        found = self._configfs.read(self._entry(initiator) / 'auth' / name)
        return '' if found == _UNSET else found

    def list_sessions(self) -> list[SessionState]:
        """List the live logins; of several of one initiator the kernel shows the newest."""
        found = []
        for name in self.list_initiators():
            addresses = read_sessions(self._configfs.read(self._entry(name) / 'info'))
            found += [SessionState(name, address) for address in addresses[:1]]
        return found


def is_entry_name(initiator: str) -> bool:
    """Whether an initiator's name can be a folder's, and of no other folder than its entry."""
    return _NAME.fullmatch(initiator) is not None


def _write_protect(mode: str) -> str:
    return '1' if mode == sharing.READ_ONLY else '0'
