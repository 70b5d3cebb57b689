# SPDX-License-Identifier: Apache-2.0
"""The tgt target driver: one iSCSI target per volume, CHAP and an ACL entry per initiator."""

import contextlib
import secrets
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from oslo_log import log

from multiattach.domain.connection import TargetAddress
from multiattach.drivers.errors import DriverError, TargetError, TargetFull, TargetUnavailable
from multiattach.drivers.targets.base import (
    LUN,
    Cut,
    Export,
    Grant,
    NoReservations,
    TargetInfo,
    TargetState,
    account_name,
    make_chap_grant,
)
from multiattach.drivers.targets.tgt import config_file
from multiattach.drivers.targets.tgt.accounts import AccountSlots
from multiattach.drivers.targets.tgt.daemon import TgtDaemon
from multiattach.drivers.targets.tgt.fence import Fence, Intruder
from multiattach.drivers.targets.tgt.identity import lun_parameters, scsi_id, scsi_serial
from multiattach.drivers.targets.tgt.ledger import View
from multiattach.drivers.targets.tgt.parse import Lun, ShownTarget
from multiattach.drivers.targets.tgt.protocol import ErrorCode, TgtError, check_value, tolerate
from multiattach.drivers.targets.tgt.reader import ExportReader
from multiattach.drivers.targets.tgt.reopen import reopen
from multiattach.drivers.targets.tgt.sessions import close_sessions, poll
from multiattach.drivers.targets.tgt.store import Store, find_store

LOG = log.getLogger(__name__)

_TRIES = 50
_MOST_TID = 2**31 - 1


class TgtTarget(NoReservations):
    """Targets of one tgtd. Safe for several threads as long as each volume is with one of them.

    :param portal: ``address:port`` that initiators are told.
    :param listen: ``address:port`` at which tgtd listens; empty if it is the portal.
    :param iqn_prefix: what stands before ``volume-UUID`` in target names.
    :param write_cache: False makes tgtd sync each write before it answers.
    :param volumes_dir: where the files for ``tgt-admin -e`` go, None for no files.
    :param close_timeout: how long a fenced session may take to end, seconds.
    """

    protocol = 'iscsi'
    # tgtd protects a logical unit from every initiator or from none.
    holds_read_only = False

    def __init__(
        self,
        daemon: TgtDaemon,
        *,
        portal: str,
        listen: str = '',
        iqn_prefix: str = 'iqn.2010-10.org.openstack:',
        write_cache: bool = True,
        volumes_dir: Path | None = None,
        close_timeout: float = 10.0,
    ) -> None:
        self._daemon = daemon
        self._portal = portal
        self._listen = listen or portal
        self._iqn_prefix = iqn_prefix
        self._write_cache = write_cache
        self._volumes_dir = volumes_dir
        self._close_timeout = close_timeout
        self._slots = AccountSlots(daemon)
        self._fence = Fence(daemon, self._slots, close_timeout, self._is_free)
        self._reader = ExportReader(daemon, iqn_prefix, volumes_dir)
        #: called when a device was opened and nobody has been let in; if it raises, the target is removed
        self.confirm: Callable[[], None] = lambda: None
        self._tid_lock = threading.Lock()
        # A login that is held open half-way may be completed at whatever has its target's number later, ACL
        # and account unasked. So no number is ever used twice: each process begins somewhere else.
        self._last_tid = secrets.randbelow(_MOST_TID // 2)

    # Names ------------------------------------------------------------------------------

    def iqn(self, volume_id: str) -> str:
        scsi_id(volume_id)
        return f'{self._iqn_prefix}volume-{volume_id}'

    def _path(self, volume_id: str) -> Path | None:
        return self._volumes_dir / f'volume-{volume_id}' if self._volumes_dir else None

    def _info(self, target: ShownTarget) -> TargetInfo:
        return TargetInfo(target.iqn, self._portal, LUN, target.tid)

    # Exporting --------------------------------------------------------------------------

    def ensure_export(self, export: Export) -> TargetInfo:
        """Make or repair a target so that it is exactly what is asked for.

        An account whose secret this process did not set itself is made anew: tgtd does not
        show secrets. See :mod:`multiattach.drivers.targets.tgt.accounts` for what others notice.
        """
        for grant in export.grants:
            _check_grant(grant)
        with self._daemon.changing(self.iqn(export.volume_id)):
            self._write_file(export.volume_id, export.device, export.grants, self._write_or_remove)
            return self._make_exact(export)

    def _make_exact(self, export: Export) -> TargetInfo:
        known = self._daemon.look(self.iqn(export.volume_id))
        if known.is_remembered:  # whoever repairs does not rely on it
            known.read()
        view, target = self._settle(export.volume_id, export.device)
        admitted = {grant.initiator for grant in export.grants}
        for initiator in [name for name in target.initiators if name not in admitted]:
            self._shut_out(target, initiator)
        wanted = {grant.username: grant.secret for grant in export.grants}
        extra = [user for user in target.accounts if user not in wanted]
        self._slots.remove(view, target, extra)
        self._slots.put(view, target, wanted, self._daemon.pinned_generation)
        for grant in export.grants:
            self._admit(target, grant.initiator)
        self._close_sessions(target.tid, keep=admitted)
        return self._info(target)

    def grant(self, volume_id: str, device: str, grant: Grant) -> TargetInfo:
        _check_grant(grant)
        with self._daemon.changing(self.iqn(volume_id)):
            if self._volumes_dir:
                others = self._read_grants(volume_id)
                self._write_file(volume_id, device, config_file.with_grant(others, grant))
            view, target = self._settle(volume_id, device)
            self._slots.put(view, target, {grant.username: grant.secret}, self._daemon.pinned_generation)
            self._admit(target, grant.initiator)
            return self._info(target)

    def name_account(self, volume_id: str, initiator: str) -> str:
        return account_name(volume_id, initiator)

    def make_grant(self, volume_id: str, initiator: str, mode: str, known: Mapping[str, Any] | None) -> Grant:
        return make_chap_grant(volume_id, initiator, mode, known)

    def restrict(self, volume_id: str, grants: Sequence[Grant]) -> None:
        with self._daemon.changing(self.iqn(volume_id)):
            target = self._daemon.look(self.iqn(volume_id)).target
            if target is None or not target.strangers:
                return
            for grant in grants:
                _check_grant(grant)
            if lun := target.luns.get(LUN):
                self._write_file(volume_id, lun.path, tuple(grants))
            # Names before addresses: at no moment somebody is kept out who is to come in again.
            for grant in grants:
                self._admit(target, grant.initiator)
            self._unbind_addresses(target)

    def revoke(self, volume_id: str, initiator: str, username: str, *, alone: bool = False) -> None:
        """Shut one initiator out: ACL entry, then account, then every live session.

        It returns when tgtd shows none of them any more. It is no fence: a session under another
        initiator's name stays, and so does a login that is held open half-way.
        """
        if alone:
            self._remove_export(volume_id, username)
            return
        with self._daemon.changing(self.iqn(volume_id)):
            self._drop_grant(volume_id, initiator, username)
            self._fence.revoke(Intruder(self.iqn(volume_id), initiator, username))

    def fence(self, volume_id: str, initiator: str, username: str, *, alone: bool = False, again: bool = False) -> Cut:
        who = Intruder(self.iqn(volume_id), initiator, username)
        path = self._path(volume_id)
        with self._daemon.changing(who.iqn):
            if alone and path:
                config_file.remove(path)
            self._drop_grant(volume_id, initiator, username)
            self._fence.check_ready()
            if alone:
                return self._fence.cut_last(who, lambda: self._remove_export(volume_id, username))
            return self._fence.confirm(who) if again else self._fence.cut(who)

    def settle(self, cuts: Sequence[Cut]) -> Sequence[Cut | DriverError]:
        return cuts  # a fence here ends with a look of its own

    def remove_export(self, volume_id: str) -> None:
        self._remove_export(volume_id)

    def _remove_export(self, volume_id: str, *leaving: str) -> set[str]:
        """Remove a target, and accounts that a crash left without it: those in its file, and of who is leaving.

        :returns: the accounts that it had.
        """
        with self._daemon.changing(self.iqn(volume_id)):
            view = self._daemon.look(self.iqn(volume_id))
            if not view.is_remembered and not self._daemon.may_have(view.iqn) and self._lend_name(view.iqn):
                view.note_removed()
            target = view.target
            bound = self._remove_target(view, target) if target is not None else set()
            for user in {*leaving, *(grant.username for grant in self._read_grants(volume_id))} - bound:
                if not view.bound_elsewhere(user):
                    self._slots.forget(user)
            path = self._path(volume_id)
            if path:
                config_file.remove(path)
            return bound

    def _remove_target(self, view: View, target: ShownTarget) -> set[str]:
        # All the time, so that a login that is held open half-way brings no command between the steps.
        accounts: set[str] = set()
        with tolerate(ErrorCode.NO_TARGET), self._daemon.shut(target.tid):
            accounts = self._remove_shut(view, target)
        view.note_removed()
        return accounts

    def _remove_shut(self, view: View, target: ShownTarget) -> set[str]:
        for address in target.addresses:
            with tolerate(ErrorCode.NO_ACL):
                self._daemon.unbind_address(target.tid, address)
        for initiator in list(target.initiators):
            self._shut_out(target, initiator)
        # Before the target: with commands in flight tgtd refuses to delete a LUN half-way
        # through, and it exits altogether when a session outlives the target.
        self._close_sessions(target.tid)
        # Accounts before the target, so that after a crash they are still found through it.
        accounts = self._slots.clear(view, target)
        if busy := poll(lambda: self._delete(target.tid), lambda error: error is None, self._close_timeout):
            raise busy
        return accounts

    def _delete(self, tid: int) -> TgtError | None:
        """Delete a target; return the error if it is busy, and may be free in a moment."""
        try:
            with tolerate(ErrorCode.NO_TARGET):
                self._daemon.delete_target(tid, force=True)
        except TgtError as exc:
            if exc.code not in (ErrorCode.LUN_ACTIVE, ErrorCode.TARGET_ACTIVE):
                raise
            return exc
        return None

    def extend(self, volume_id: str, device: str) -> None:
        """Show the grown size of the device to the initiators.

        See :mod:`multiattach.drivers.targets.tgt.reopen` for what is done against lost writes.
        """
        iqn = self.iqn(volume_id)
        with self._daemon.changing(iqn):
            target = self._daemon.look(iqn).target
            if target is None or LUN not in target.luns:
                raise TargetError(f'there is no LUN {LUN} at target {iqn} to extend')
            self._reopen(target, find_store(device).path)

    # Reading ----------------------------------------------------------------------------

    def list_exports(self) -> dict[str, TargetState]:
        return self._reader.list_exports()

    def show(self, volume_id: str) -> TargetState | None:
        return self.list_exports().get(volume_id)

    def within(self, seconds: float) -> contextlib.AbstractContextManager[None]:
        return self._daemon.within(seconds)

    def locate(self, volume_id: str) -> TargetAddress:
        return TargetAddress(self.iqn(volume_id), self._portal, LUN)

    def list_files(self) -> frozenset[str] | None:
        return self._reader.list_files()

    def check(self) -> None:
        portals = self._daemon.show_portals()
        _, _, port = self._listen.rpartition(':')
        if not {self._listen, f'0.0.0.0:{port}', f'[::]:{port}'} & set(portals):
            raise TargetUnavailable(
                f'tgtd does not listen at {self._listen} but at {", ".join(portals) or "nothing"};'
                ' start it with --iscsi portal=ADDRESS:PORT and see that the port is free, or'
                ' set the portal, or listen, to one of these',
                delivered=True,
            )

    def reset(self) -> None:
        for volume_id in self.list_exports():
            self.remove_export(volume_id)

    def generation(self) -> int:
        return self._daemon.generation

    # Steps ------------------------------------------------------------------------------

    def _settle(self, volume_id: str, device: str) -> tuple[View, ShownTarget]:
        """Make or repair target and LUN, and open it; who may log in is left as it is."""
        iqn = self.iqn(volume_id)
        view = self._daemon.look(iqn)
        if not view.is_remembered and not self._daemon.may_have(iqn):
            self._new_target(view, iqn, ())
        for _ in range(_TRIES):
            target = view.target or self._new_target(view, iqn, view.listing.tids())
            if target is not None:
                break
            view.read()
        else:
            raise TargetError(f'no number is free for target {iqn}')
        if target.strangers and not target.initiators and not self._daemon.show_connections(target.tid):
            # Another service, such as Cinder, made it for itself, and nobody uses it.
            self._remove_target(view, target)
            return self._settle(volume_id, device)
        self._unbind_addresses(target)
        self._settle_lun(target, volume_id, device)
        if not target.is_open:
            LOG.warning('Target %s was left shut: it is opened', iqn)
            self._daemon.set_open(target.tid, True)
            target.is_open = True
        return view, target

    def _unbind_addresses(self, target: ShownTarget) -> None:
        for address in target.strangers:
            LOG.warning('Target %s admits by address %s: taken away', target.iqn, address)
            with tolerate(ErrorCode.NO_ACL):
                self._daemon.unbind_address(target.tid, address)
            target.addresses.remove(address)

    def _new_target(self, view: View, iqn: str, used: Collection[int]) -> ShownTarget | None:
        """Make a target; None when somebody else has the number or the name."""
        tid = self._make_target(iqn, used)
        if tid is None:
            return None
        made = ShownTarget(tid, iqn)
        view.note_made(made)
        return made

    def _make_target(self, iqn: str, used: Collection[int]) -> int | None:
        with self._tid_lock:
            tid = self._last_tid + 1
            while tid in used:
                tid += 1
            self._last_tid = tid
        try:
            self._daemon.new_target(tid, iqn)
        except TgtError as exc:
            if exc.code is ErrorCode.TARGET_EXISTS:
                return None
            raise
        return tid

    def _is_free(self, iqn: str) -> bool:
        """See that no target has a name."""
        return self._lend_name(iqn) or self._daemon.show_targets().find(iqn) is None

    def _lend_name(self, iqn: str) -> bool:
        """Give a name to a new target for a moment, which shows without a list that none had it: each is there once.

        An empty target admits nobody. What a crash leaves of it is removed by the step that is taken up again.

        :returns: False if that does not tell: the name is taken, or the number.
        """
        tid = self._make_target(iqn, ())
        if tid is not None:
            self._daemon.delete_target(tid)
        return tid is not None

    def _settle_lun(self, target: ShownTarget, volume_id: str, device: str) -> None:
        lun, store = target.luns.get(LUN), find_store(device)
        if lun is None:
            # Of one that was left without it somebody may be logged in.
            with self._daemon.shut(target.tid) if target.initiators else contextlib.nullcontext():
                self._new_lun(target.tid, store)
                target.luns[LUN] = Lun.make(LUN, store.path)
                self._confirm(target)
        elif lun.path != store.path or not lun.online:
            self._reopen(target, store.path)
        # Identity and mode page go in one request, so one tells of the other. They are not
        # repeated: tgtd frees the old mode page while its threads may be reading it.
        if lun is not None and lun.scsi_id != scsi_id(volume_id) and self._daemon.show_connections(target.tid):
            return  # who is logged in knows it as what Cinder called it
        if lun is None or lun.scsi_id != scsi_id(volume_id):
            params = lun_parameters(volume_id, write_cache=self._write_cache)
            self._daemon.update_lun(target.tid, LUN, params)
            target.luns[LUN] = Lun.make(LUN, store.path, scsi_id(volume_id))

    def _reopen(self, target: ShownTarget, path: str) -> None:
        reopen(self._daemon, target, LUN, path, self._close_timeout, lambda: self._confirm(target))

    def _confirm(self, target: ShownTarget) -> None:
        try:
            self.confirm()
        except Exception:
            self._remove_target(self._daemon.look(target.iqn), target)
            raise

    def _new_lun(self, tid: int, store: Store) -> None:
        try:
            self._daemon.new_lun(tid, LUN, store)
        except TgtError as exc:
            if store.kind not in self._daemon.show_stores():
                raise TargetError(
                    f'tgtd has no backing store {store.kind}: install the package tgt-{store.kind}, and restart tgtd'
                ) from exc
            raise

    def _admit(self, target: ShownTarget, initiator: str) -> None:
        with tolerate(ErrorCode.ACL_EXISTS):  # also one that is remembered to be there
            self._daemon.bind_initiator(target.tid, initiator)
        if initiator not in target.initiators:
            target.initiators.append(initiator)

    def _shut_out(self, target: ShownTarget, initiator: str) -> None:
        if initiator in target.initiators:
            with tolerate(ErrorCode.NO_ACL):
                self._daemon.unbind_initiator(target.tid, initiator)
            target.initiators.remove(initiator)

    def _close_sessions(self, tid: int, *, only: set[str] | None = None, keep: set[str] | None = None) -> None:
        close_sessions(self._daemon, tid, timeout=self._close_timeout, only=only, keep=keep)

    # Files ------------------------------------------------------------------------------

    def _drop_grant(self, volume_id: str, initiator: str, username: str) -> None:
        """Take a grant out of the target's file first: a tgtd that is started now must not know it."""
        check_value('initiator-name', initiator)
        if username:
            check_value('user', username)
        path = self._path(volume_id)
        if path and path.exists():
            text = config_file.read(path) or ''
            others = config_file.without_grant(config_file.parse_grants(text), initiator, username)
            new = config_file.replace_grants(text, others)
            if new != text:
                self._write_or_remove(path, new)

    @staticmethod
    def _write_or_remove(path: Path, text: str) -> None:
        """Without room no file is better than one that admits whom it should not."""
        try:
            config_file.write(path, text)
        except TargetFull as exc:
            LOG.warning('%s is removed: %s', path, exc)
            config_file.remove(path)

    def _read_grants(self, volume_id: str) -> tuple[Grant, ...]:
        path = self._path(volume_id)
        text = config_file.read(path) if path else None
        return config_file.parse_grants(text) if text else ()

    def _write_file(
        self,
        volume_id: str,
        device: str,
        grants: tuple[Grant, ...],
        write: Callable[[Path, str], None] = config_file.write,
    ) -> None:
        path = self._path(volume_id)
        if not path:
            return
        text = config_file.render(
            config_file.TargetFile(
                self.iqn(volume_id), device, LUN, self._write_cache, scsi_id(volume_id), scsi_serial(volume_id), grants
            )
        )
        if config_file.read(path) != text:
            write(path, text)


def _check_grant(grant: Grant) -> None:
    check_value('initiator-name', grant.initiator)
    check_value('user', grant.username)
    check_value('password', grant.secret)
