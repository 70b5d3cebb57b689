# SPDX-License-Identifier: Apache-2.0
"""The lio target driver: one target of the kernel per volume, an entry with an account of its own per initiator."""

import contextlib
import dataclasses
import functools
import hashlib
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from oslo_log import log

from multiattach.domain.connection import TargetAddress
from multiattach.drivers.errors import DriverError, TargetError, TargetUnavailable
from multiattach.drivers.targets.base import (
    LUN,
    Cut,
    Export,
    Grant,
    LunState,
    Reservations,
    SessionState,
    TargetInfo,
    TargetState,
    account_name,
    make_chap_grant,
)
from multiattach.drivers.targets.exclusion import Exclusion
from multiattach.drivers.targets.lio import identity
from multiattach.drivers.targets.lio.backstore import Backstores
from multiattach.drivers.targets.lio.configfs import Configfs
from multiattach.drivers.targets.lio.memory import Memory, RegistrationsLost
from multiattach.drivers.targets.lio.portal_group import PortalGroup, is_entry_name
from multiattach.drivers.targets.lio.registrations import Nexus, for_any_session, hands_over, without

LOG = log.getLogger(__name__)
R = TypeVar('R')

_BOOT_ID = Path('/proc/sys/kernel/random/boot_id')
_TID = 1  # the kernel numbers no targets
_EVERYBODY = 'ALL'


class LioTarget:
    """Targets of this machine's kernel. Safe for several threads as long as each volume is with one of them.

    :param portal: ``address:port`` that initiators are told.
    :param listen: ``address:port`` at which the kernel listens; empty if it is the portal.
    :param iqn_prefix: what stands before ``volume-UUID`` in target names.
    :param write_cache: False makes the kernel write a file through before it answers.
    :param reservations_dir: for the registrations of volumes that are no files; those of a file are beside it.
    """

    protocol = 'iscsi'
    keeps_reservations = True
    holds_read_only = True

    def __init__(
        self,
        configfs: Configfs,
        *,
        portal: str,
        listen: str = '',
        iqn_prefix: str = 'iqn.2010-10.org.openstack:',
        write_cache: bool = True,
        reservations_dir: Path,
    ) -> None:
        self._configfs = configfs
        self._portal = portal
        self._listen = listen or portal
        self._prefix = f'{iqn_prefix}volume-'
        self._pattern = re.compile(re.escape(self._prefix) + r'([0-9a-f-]{36})')
        self._stores = Backstores(configfs, self.iqn, write_cache=write_cache)
        self._memory = Memory(configfs, self._stores, reservations_dir, self._is_in_force)
        self._known: dict[str, TargetState] = {}
        self._exclusion = Exclusion(suffix='')

    # Names ------------------------------------------------------------------------------

    def iqn(self, volume_id: str) -> str:
        identity.make_serial(volume_id)
        return f'{self._prefix}{volume_id}'

    def _group(self, volume_id: str) -> PortalGroup:
        """Find the target of a volume.

        :raises TargetUnavailable: an earlier change of it has not come back.
        """
        group = PortalGroup(self._configfs, self.iqn(volume_id), self._listen)
        if group.is_stuck():
            raise TargetUnavailable(f'an earlier change of target {group.iqn} has not come back from the kernel')
        return group

    def _info(self, volume_id: str) -> TargetInfo:
        return TargetInfo(self.iqn(volume_id), self._portal, LUN, _TID)

    def locate(self, volume_id: str) -> TargetAddress:
        return TargetAddress(self.iqn(volume_id), self._portal, LUN)

    def learn_devices(self, find: Callable[[str], str]) -> None:
        """Be told by which paths a backend has its volumes: their registrations are beside those that are files."""
        self._memory.devices.append(find)

    def name_account(self, volume_id: str, initiator: str) -> str:
        return account_name(volume_id, initiator)

    def make_grant(self, volume_id: str, initiator: str, mode: str, known: Mapping[str, Any] | None) -> Grant:
        return make_chap_grant(volume_id, initiator, mode, known)

    @contextlib.contextmanager
    def _changing(self, volume_id: str) -> Iterator[None]:
        """Be the only process that changes a target, whatever became of the lock in the coordination backend.

        Who makes a target anew gives its initiators back what they had: one that another process cut off meanwhile,
        and proved it, would be among them.
        """
        # A file of the kernel's own: no disk, no container and no mount namespace is between the processes and it.
        path, iqn, deadline = self._configfs.root / 'dbroot', self.iqn(volume_id), self._configfs.find_deadline()
        with self._exclusion.hold(str(path), iqn, deadline):
            self._probe(volume_id)
            yield

    def _probe(self, volume_id: str) -> None:
        """See that the target can be read: a change that a process began which has ended may keep it, without a limit.

        :raises TargetUnavailable: it cannot.
        """
        self._look(volume_id, self._group(volume_id).probe)

    # Exporting --------------------------------------------------------------------------

    def ensure_export(self, export: Export) -> TargetInfo:
        with self._changing(export.volume_id):
            return self._ensure_export(export)

    def _ensure_export(self, export: Export) -> TargetInfo:
        group = self._settle(export.volume_id, export.device)
        # What only a registration has is called as the kernel writes it, in small letters.
        wanted = {grant.initiator.lower() for grant in export.grants}
        for name in dict.fromkeys((*group.list_initiators(), *self._memory.list_registered(export.volume_id))):
            if name.lower() not in wanted:
                self._shut_out(group, export.volume_id, name)
        self._admit(group, export.volume_id, export.grants)
        group.set_open(True)
        return self._info(export.volume_id)

    def grant(self, volume_id: str, device: str, grant: Grant) -> TargetInfo:
        with self._changing(volume_id):
            _check_grant(grant)
            if self._is_of_another(self._group(volume_id), grant.initiator, grant.username):
                raise TargetError(
                    f'the kernel cannot admit {grant.initiator!r}: to it, that is the name of another initiator of the '
                    'volume. Names that differ in capitals only are one name: change one of them'
                )
            group = self._settle(volume_id, device)
            self._admit(group, volume_id, [grant])
            group.set_open(True)
            return self._info(volume_id)

    def _is_of_another(self, group: PortalGroup, initiator: str, username: str) -> bool:
        """Whether the entry that an initiator would have is of one whose name differs in capitals only."""
        account = group.read_account(initiator)
        return bool(account and username) and account != username and group.find_name(initiator.lower()) != initiator

    def _admit(self, group: PortalGroup, volume_id: str, grants: Sequence[Grant]) -> None:
        for grant in grants:
            _check_grant(grant)
        for grant in grants:
            group.admit(grant)

    def restrict(self, volume_id: str, grants: Sequence[Grant]) -> None:
        with self._changing(volume_id):
            group = self._group(volume_id)
            if group.exists() and group.is_public():
                self._admit(group, volume_id, grants)
                group.make()

    def _settle(self, volume_id: str, device: str) -> PortalGroup:
        """Make or repair target and logical unit; who may log in is left as it is, and nobody new can."""
        group, place = self._group(volume_id), self._stores.find(volume_id)
        if place is None or not self._is_over(place, device) or not self._is_complete(group, place):
            return self._rebuild(group, volume_id, device)
        group.make()
        return group

    def _is_over(self, place: Path, device: str) -> bool:
        shown = self._stores.read_device(place)
        is_same = os.path.realpath(shown) == os.path.realpath(device)
        return shown == device or (is_same and not self._stores.is_own(place))

    def _is_complete(self, group: PortalGroup, place: Path) -> bool:
        """Whether a target was made to the end; one of Cinder is to be made anew when nobody knows it as that."""
        if not self._stores.is_ready(place) or group.find_place() != place:
            return False
        if not group.is_adopted():
            return group.is_listening()
        return group.was_made() and (group.serves_adopted() or bool(group.list_sessions()))

    def _is_in_force(self, volume_id: str) -> bool:
        """Whether what was registered is in force, all of it; if not, nobody is logged in either."""
        group, place = self._group(volume_id), self._stores.find(volume_id)
        return place is not None and self._stores.is_ready(place) and group.find_place() == place and group.was_made()

    def _read_nexuses(self, group: PortalGroup, volume_id: str, device: str = '') -> list[Nexus]:
        if self._is_in_force(volume_id):
            return self._memory.read_in_force(volume_id, group.iqn)
        return self._memory.read(volume_id, device)

    def _rebuild(
        self, group: PortalGroup, volume_id: str, device: str, ended: Collection[str] = (), gone: str = ''
    ) -> PortalGroup:
        """Make a target anew, with the initiators that it has and what they have registered; it is not open yet.

        :param ended: initiators whose registrations end.
        :param gone: one that has no entry any more, and no registration.
        """
        self._stores.look(device)  # before anything is taken away
        if group.exists():
            group.set_open(False)  # nobody registers any more
        entries = [group.read_entry(name) for name in group.list_initiators() if name.lower() != gone.lower()]
        nexuses = for_any_session(without(self._read_nexuses(group, volume_id, device), {*ended, gone.lower()}))
        self._remove(group, volume_id, device)
        self._memory.prepare(volume_id, device, nexuses)
        place = self._stores.make(volume_id, device)
        self._memory.load(place, nexuses)
        group.make()
        group.attach(place)
        # Before anybody logs in: what is registered is in force only for those who have an entry.
        for name in dict.fromkeys(nexus.initiator for nexus in nexuses):
            group.expect(name)
        for entry in entries:
            group.admit(Grant(entry.initiator, entry.username, entry.secret, entry.mode, entry.luns))
        group.listen()  # last of all: one that does not was not made to the end
        return group

    # Turning away -----------------------------------------------------------------------

    def revoke(self, volume_id: str, initiator: str, username: str, *, alone: bool = False) -> None:
        self.fence(volume_id, initiator, username, alone=alone)

    def fence(self, volume_id: str, initiator: str, username: str, *, alone: bool = False, again: bool = False) -> Cut:
        with self._changing(volume_id):
            return self._cut(volume_id, initiator, username, alone)

    def _cut(self, volume_id: str, initiator: str, username: str, alone: bool) -> Cut:
        group = self._group(volume_id)
        if not is_entry_name(initiator):  # it was never admitted, and what was begun for it is to come to an end
            if alone:
                self.remove_export(volume_id)
            return Cut(whole=bool(username))
        if not alone and self._is_of_another(group, initiator, username):
            return Cut(whole=True)  # it was never admitted
        sessions, device = self._list_sessions(group, initiator), self._memory.find_shown(volume_id)
        had = Cut(
            acl=group.has(initiator),
            account=bool(username) and group.read_account(initiator) == username,
            registration=self._is_registered(group, volume_id, initiator),
            sessions=tuple(sessions),
            # An account opens the entry that it belongs to, and no other one.
            whole=bool(username),
        )
        if alone:
            self.remove_export(volume_id)
        else:
            self._shut_out(group, volume_id, initiator)
        left = Cut(
            left_acl=group.has(initiator),
            left_sessions=tuple(self._list_sessions(group, initiator)),
            left_registration=self._is_registered(group, volume_id, initiator, device),
        )
        if left.is_left:
            raise TargetError(f'{initiator} is still at target {group.iqn}: {left.describe()}')
        return had

    def _shut_out(self, group: PortalGroup, volume_id: str, initiator: str) -> None:
        place = self._stores.find(volume_id) if self._is_in_force(volume_id) else None
        if place is not None and hands_over(self._read_nexuses(group, volume_id), initiator.lower()):
            # Were it released, one that was fenced off by its peers could write until they reserve anew.
            LOG.info('Target %s: the reservation of %s goes on with another registrant', group.iqn, initiator)
            is_open, device = group.is_open(), self._stores.read_device(place)
            self._rebuild(group, volume_id, device, gone=initiator)
            group.set_open(is_open)
            return
        group.shut_out(initiator)
        if not self._memory.forget(volume_id, group.iqn, initiator.lower()):
            # No initiator can keep another one's fence from being proven.
            is_open = group.is_open()
            group.set_open(False)
            self._memory.forget(volume_id, group.iqn, initiator.lower())
            group.set_open(is_open)

    def _list_sessions(self, group: PortalGroup, initiator: str) -> list[SessionState]:
        return [one for one in group.list_sessions() if one.initiator.lower() == initiator.lower()]

    def _is_registered(self, group: PortalGroup, volume_id: str, initiator: str, device: str = '') -> bool:
        try:
            # Asked by the kernel's name: the other one goes with the entry.
            return self._memory.read_reservations(volume_id, group.iqn, device, partly=True).has(initiator.lower())
        except RegistrationsLost:
            if self._is_in_force(volume_id):
                raise
            return False  # nor will it be: nobody is let in before all of them are cleared

    def settle(self, cuts: Sequence[Cut]) -> Sequence[Cut | DriverError]:
        return cuts  # a fence here ends with a look of its own

    def remove_export(self, volume_id: str) -> None:
        with self._changing(volume_id):
            device = self._memory.find_shown(volume_id)
            self._remove(self._group(volume_id), volume_id)
            self._memory.remove(volume_id, device)

    def _remove(self, group: PortalGroup, volume_id: str, keep: str = '') -> None:
        group.remove()
        self._stores.remove(volume_id, keep)

    def extend(self, volume_id: str, device: str) -> None:
        place = self._stores.find(volume_id)
        if place is None:
            raise TargetError(f'there is no LUN {LUN} at target {self.iqn(volume_id)} to extend')
        self._stores.grow(place, device)

    # Reservations -----------------------------------------------------------------------

    def read_reservations(self, volume_id: str) -> Reservations:
        """Read who is registered; of whom the kernel tells in small letters, by the name that was admitted."""
        return self._look(volume_id, functools.partial(self._read_reservations, volume_id))

    def _read_reservations(self, volume_id: str) -> Reservations:
        group = self._group(volume_id)
        found = self._memory.read_reservations(volume_id, group.iqn)
        named = (dataclasses.replace(one, initiator=group.find_name(one.initiator)) for one in found.registrations)
        return dataclasses.replace(found, registrations=tuple(named))

    def clear_reservations(self, volume_id: str, initiator: str | None) -> Reservations:
        """End registrations; all sessions of the volume end for a moment, and come back."""
        with self._changing(volume_id):
            return self._clear(volume_id, initiator)

    def _clear(self, volume_id: str, initiator: str | None) -> Reservations:
        group = self._group(volume_id)
        place = self._stores.find(volume_id) if self._is_in_force(volume_id) else None
        if place is None:
            nexuses = [] if initiator is None else without(self._memory.read(volume_id), [initiator.lower()])
            self._memory.replace(volume_id, nexuses)
            return self.read_reservations(volume_id)
        known = self._memory.read_reservations(volume_id, group.iqn, partly=True)
        going = {one.initiator for one in known.registrations}
        if initiator is not None:
            going &= {initiator.lower()}
        if going:
            is_open = group.is_open()
            self._rebuild(group, volume_id, self._stores.read_device(place), ended=going)
            group.set_open(is_open)
        return self.read_reservations(volume_id)

    # Reading ----------------------------------------------------------------------------

    def list_exports(self) -> dict[str, TargetState]:
        found = {}
        for name in self._configfs.list_names(self._configfs.root / 'iscsi'):
            match = self._pattern.fullmatch(name)
            if match is None:
                continue
            try:
                state = self._look(match[1], functools.partial(self._read, match[1]))
            except DriverError as exc:  # the others are none the worse for it
                LOG.error('Target %s cannot be read: %s', name, exc)
                continue
            before = self._known.get(state.volume_id)
            found[state.volume_id] = before if before is not None and before == state else state
        self._known = found
        return dict(found)

    def _read(self, volume_id: str) -> TargetState:
        group = self._group(volume_id)
        place = group.find_place()
        luns: tuple[LunState, ...] = ()
        if place is not None:
            device, serial = self._stores.read_device(place), self._stores.read_serial(place)
            luns = (LunState(group.find_lun(), device, self._stores.is_ready(place), identity.read_serial(serial)),)
        initiators = group.list_initiators()
        accounts = (group.read_account(name) for name in initiators)
        return TargetState(
            volume_id,
            group.iqn,
            _TID,
            luns,
            tuple(initiators),
            tuple(filter(None, accounts)),
            tuple(group.list_sessions()),
            group.is_open(),
            (_EVERYBODY,) if group.is_public() else (),
            tuple(group.find_name(name) for name in self._memory.list_registered(volume_id)),
            group.has_others_units(),
        )

    def show(self, volume_id: str) -> TargetState | None:
        return self._look(volume_id, lambda: self._read(volume_id) if self._group(volume_id).exists() else None)

    def _look(self, volume_id: str, act: Callable[[], R]) -> R:
        """Read a target without its lock: what waits in the kernel there must not keep whoever reads."""
        return self._configfs.look(self._configfs.root / 'iscsi' / self.iqn(volume_id), act)

    def within(self, seconds: float) -> contextlib.AbstractContextManager[None]:
        return self._configfs.within(seconds)

    def list_files(self) -> frozenset[str] | None:
        return None

    def check(self) -> None:
        root = self._configfs.root
        if not root.is_dir():
            raise TargetUnavailable(
                f'the kernel shows no target at {root}: load the module target_core_mod, and mount configfs at '
                f'{root.parent}',
                delivered=False,
            )
        try:
            self._configfs.make(root / 'iscsi')  # it loads the module
        except DriverError as exc:
            raise TargetUnavailable(
                f'the kernel has no iSCSI target ({exc}): this driver needs the module iscsi_target_mod, and root',
                delivered=False,
            ) from exc
        self._memory.check()

    def check_images(self) -> None:
        """See that images of Ceph can be exported.

        :raises DriverError: a program is missing, or a module.
        """
        self._stores.check_images()

    def generation(self) -> int:
        try:
            boot, folder = _BOOT_ID.read_text(), os.stat(self._configfs.root / 'iscsi').st_ino
        except OSError as exc:
            raise TargetUnavailable(f'the kernel shows no iSCSI target: {exc.strerror}', delivered=False) from exc
        return int(hashlib.sha256(f'{boot}{folder}'.encode()).hexdigest()[:12], 16)


def _check_grant(grant: Grant) -> None:
    """Refuse what would end up as another path, or as no account at all."""
    name = grant.initiator
    if not grant.username or not grant.secret or not is_entry_name(name):
        raise TargetError(f'the kernel cannot admit {name!r}: it has no account, or no name for a folder')
    if name != name.lower() and len(name) > _LONGEST_TAG:
        raise TargetError(f'the kernel cannot admit {name!r}: of {_LONGEST_TAG} characters or more all must be small')


_LONGEST_TAG = 60
