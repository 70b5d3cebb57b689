# SPDX-License-Identifier: Apache-2.0
"""What a target driver is: the protocol and its data. It exports a volume's device to initiators."""

import base64
import contextlib
import dataclasses
import hashlib
import secrets
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self, TypeVar

from oslo_utils import strutils

from multiattach.domain import sharing
from multiattach.domain.connection import Address
from multiattach.drivers.errors import DriverError, TargetError

T = TypeVar('T')

#: of a volume, at each target of this service
LUN = 1
ACCOUNT_LENGTH = 20
SECRET_LENGTH = 16
_SECRET_ALPHABET = string.ascii_letters + string.digits


@dataclass(frozen=True)
class Grant:
    """Leave for one initiator to use one volume; the account is one per volume and initiator.

    :param username: name of the account, "" for none.
    :param secret: what it is opened with, "" for one that the storage makes, or keeps.
    :param mode: ``rw`` or ``ro``, for those who can hold it to that.
    :param luns: numbers by which it knows the volume: Cinder may have told it another one than is told here.
    """

    initiator: str
    username: str
    secret: str = field(repr=False)
    mode: str = sharing.READ_WRITE
    luns: tuple[int, ...] = (LUN,)


@dataclass(frozen=True)
class Export:
    """What a target is to be."""

    volume_id: str
    device: str
    grants: tuple[Grant, ...] = ()


class Access(Protocol):
    """What a driver tells of a volume to whom it granted it."""

    def tell(self, grant: Grant, connector: Mapping[str, Any]) -> dict[str, Any]:
        """Return it as keys of a flat connection_info, secrets included (contract 8.2)."""


@dataclass(frozen=True)
class TargetInfo:
    """Where iSCSI initiators find a volume.

    :param portal: ``address:port``.
    :param lun: logical unit number of the volume.
    :param tid: the target's number in its daemon; it changes when the daemon restarts.
    """

    iqn: str
    portal: str
    lun: int
    tid: int

    def tell(self, grant: Grant, connector: Mapping[str, Any]) -> dict[str, Any]:
        multipath = strutils.bool_from_string(str(connector.get('multipath', False)))
        told: dict[str, Any] = {
            'driver_volume_type': 'iscsi',
            'target_discovered': False,
            'target_iqn': self.iqn,
            'target_portal': self.portal,
            'target_lun': self.lun,
            'auth_method': 'CHAP',
            'auth_username': grant.username,
            'auth_password': grant.secret,
            'enforce_multipath': strutils.bool_from_string(str(connector.get('enforce_multipath', False))),
        }
        lists = {'target_iqns': [self.iqn], 'target_portals': [self.portal], 'target_luns': [self.lun]}
        return told | (lists if multipath else {})


@dataclass(frozen=True)
class LunState:
    """One logical unit as the target shows it.

    :param device: path of its backing store, "" when it has none.
    :param scsi_id: the id from which the WWN is made.
    """

    lun: int
    device: str
    online: bool
    scsi_id: str


@dataclass(frozen=True)
class SessionState:
    """One live login; *address* is "" when not shown."""

    initiator: str
    address: str = ''


@dataclass(frozen=True)
class TargetState:
    """What a target really is now, to be compared with the database.

    :param luns: logical units without the controller (LUN 0).
    :param accounts: CHAP names that are bound to it.
    :param sessions: live logins, also those of initiators that may not log in again.
    :param addresses: rules by which it admits whoever comes from somewhere, ``ALL`` for everybody: none of this
        service, which names initiators.
    :param registered: initiators with persistent reservations, in force or kept for the target's next life.
    :param has_others_units: it has a logical unit where none of this service is.
    """

    volume_id: str
    iqn: str
    tid: int
    luns: tuple[LunState, ...]
    initiators: tuple[str, ...]
    accounts: tuple[str, ...]
    sessions: tuple[SessionState, ...]
    is_open: bool = True
    addresses: tuple[str, ...] = ()
    registered: tuple[str, ...] = ()
    has_others_units: bool = False

    @property
    def is_foreign(self) -> bool:
        """Whether another service made it, such as Cinder."""
        return bool(self.addresses) or self.has_others_units


@dataclass(frozen=True)
class Registration:
    """One I_T nexus that is registered with SCSI-3 persistent reservations.

    :param key: 16 hex digits.
    :param is_holder: whether it holds the reservation.
    """

    initiator: str
    key: str
    is_holder: bool = False


@dataclass(frozen=True)
class Reservations:
    """What a volume's logical unit has of persistent reservations.

    :param generation: PRGENERATION, which each change by an initiator adds to.
    :param kind: SCSI type code of the reservation (1, 3, 5, 6, 7 or 8); None if there is none.
    """

    generation: int = 0
    kind: int | None = None
    registrations: tuple[Registration, ...] = ()

    def has(self, initiator: str) -> bool:
        return any(one.initiator == initiator for one in self.registrations)


@dataclass(frozen=True)
class Cut:
    """What a fence found of one initiator at a target, and what its last read still showed: nothing.

    :param volume_id: as for :meth:`Target.fence`; so are *initiator* and *again*.
    :param sessions: its live logins that were ended.
    :param others: live logins of other names that were ended, as each of them could have been its own;
        whoever has an account logs in again by itself.
    :param logins: addresses of logins that were held open half-way, and were ended.
    :param whole: whether every session that could be the initiator's was ended, whatever name it gave.
    :param registration: whether it was registered with persistent reservations; what it held is free.
    :param left_sessions: its logins that are still live.
    :param more: what a driver tells besides, ready for a message; it holds no secret.
    """

    volume_id: str = ''
    initiator: str = ''
    again: bool = False
    acl: bool = False
    account: bool = False
    sessions: tuple[SessionState, ...] = ()
    others: tuple[SessionState, ...] = ()
    logins: tuple[str, ...] = ()
    whole: bool = False
    left_acl: bool = False
    left_account: bool = False
    left_sessions: tuple[SessionState, ...] = ()
    registration: bool = False
    left_registration: bool = False
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_left(self) -> bool:
        """Whether the initiator can still read or write, or log in, or keeps others off by a reservation."""
        return self.left_acl or self.left_account or self.left_registration or bool(self.left_sessions)

    def after(self, before: Self | None) -> Self:
        """Add what an earlier cut found, of which nobody knows yet."""
        if before is None:
            return self
        return dataclasses.replace(
            self,
            acl=self.acl or before.acl,
            account=self.account or before.account,
            sessions=_join(before.sessions, self.sessions),
            others=_join(before.others, self.others),
            logins=_join(before.logins, self.logins),
            whole=self.whole or before.whole,
            registration=self.registration or before.registration,
        )

    def describe(self) -> str:
        """Say what is left, for an error."""
        rights = {
            'leave to log in': self.left_acl,
            'an account': self.left_account,
            'a registration': self.left_registration,
        }
        found = [name for name, left in rights.items() if left]
        return ', '.join([*found, f'{len(self.left_sessions)} sessions'])


def _join(some: tuple[T, ...], more: tuple[T, ...]) -> tuple[T, ...]:
    return (*some, *(one for one in more if one not in some))


class Target(Protocol):
    """A target driver. The caller serialises the calls for one volume; volumes run in parallel.

    All methods may raise ``TargetError`` and ``TargetUnavailable`` (:mod:`multiattach.drivers.errors`).
    """

    @property
    def protocol(self) -> str:
        """Name of the transport as connectors know it, for example ``iscsi``."""

    def name_account(self, volume_id: str, initiator: str) -> str:
        """Name the account of an initiator at a volume, "" if it has none; nothing is asked."""

    def make_grant(self, volume_id: str, initiator: str, mode: str, known: Mapping[str, Any] | None) -> Grant:
        """Make up what an initiator is granted; nothing is asked.

        :param known: connection_info of the same initiator, whose secret it keeps; None if it has none.
        """

    def ensure_export(self, export: Export) -> Access:
        """Make or repair a target so that it is exactly what is asked for; others are shut out, sessions included."""

    def grant(self, volume_id: str, device: str, grant: Grant) -> Access:
        """Admit one initiator; the target is made when absent, other initiators are left alone.

        :param device: backing path, used when the target must be made or repaired.
        :param grant: who is admitted; an account of that name gets this secret.
        """

    def restrict(self, volume_id: str, grants: Sequence[Grant]) -> None:
        """Have a target that admits everybody, as those that Cinder made, admit these only.

        Nobody who is logged in notices. One that names its initiators already is left as it is.
        """

    def revoke(self, volume_id: str, initiator: str, username: str, *, alone: bool = False) -> None:
        """Shut one initiator out: first no new login, then no live session.

        :param username: its account; "" leaves all of them as they are, for one that others have, too.
        :param alone: nobody else uses the target: it is removed, too.
        """

    def fence(self, volume_id: str, initiator: str, username: str, *, alone: bool = False, again: bool = False) -> Cut:
        """Shut one initiator out, with every session that could be its own, and read the target again.

        Nothing that it began before, such as a login that is held open half-way, reads or writes once
        :meth:`settle` has returned.

        :param username: its account; "" leaves all of them as they are, for one that others have, too. It can then
            log in under the name of one of these.
        :param alone: nobody else uses the target: it is removed, too.
        :param again: it was cut off before and was given no leave since: only what is there under its name
            is cut.
        :returns: what was cut.
        """

    def settle(self, cuts: Sequence[Cut]) -> Sequence[Cut | DriverError]:
        """Have what :meth:`fence` began hold everywhere, for any number at once.

        :returns: of each what was cut, and that nothing is left, or why that is not known.
        """

    def remove_export(self, volume_id: str) -> None:
        """Remove the target, its accounts and its file; absent is success."""

    @property
    def keeps_reservations(self) -> bool:
        """Whether SCSI-3 registrations outlast the session, the target, its host and this process."""

    @property
    def holds_read_only(self) -> bool:
        """Whether nobody who is granted ``ro`` can write at the target, whatever its host does."""

    def read_reservations(self, volume_id: str) -> Reservations:
        """Read who is registered at a volume; without an export nobody is.

        :raises TargetError: it does not tell.
        """

    def clear_reservations(self, volume_id: str, initiator: str | None) -> Reservations:
        """End the registrations of an initiator, or all, and what they hold; return what is left.

        Who may log in does not change.

        :raises TargetError: it cannot.
        """

    def extend(self, volume_id: str, device: str) -> None:
        """Show the grown size of the device to the initiators without stopping I/O."""

    def locate(self, volume_id: str) -> Address:
        """Tell where initiators find a volume, or would; nothing is asked."""

    def list_exports(self) -> dict[str, TargetState]:
        """Read the state of all targets of this driver; one that has not changed since is the same object."""

    def show(self, volume_id: str) -> TargetState | None:
        """Read the state of one target, for people: as in :meth:`list_exports`, and who else uses it."""

    def within(self, seconds: float) -> contextlib.AbstractContextManager[None]:
        """Wait no longer for the target, in this thread, while the block lasts: for those whom a person waits for."""

    def list_files(self) -> frozenset[str] | None:
        """List the volumes with a file from which the target daemon restores them by itself; None if it keeps none."""

    def check(self) -> None:
        """See that the target can serve.

        :raises TargetUnavailable: with what to do about it.
        """

    def keep_alive(self) -> None:
        """See to what the target needs, such as a daemon of its own; the main thread calls it every other second."""

    def close(self) -> None:
        """End what was started for the target; it is used no more. Exports may stay."""

    def generation(self) -> int:
        """Return a number that changes when the target daemon was restarted and lost its targets."""


class NoReservations:
    """The part of a target driver that neither keeps registrations nor tells of them."""

    keeps_reservations = False

    def read_reservations(self, volume_id: str) -> Reservations:
        raise TargetError('this target does not tell of persistent reservations')

    def clear_reservations(self, volume_id: str, initiator: str | None) -> Reservations:
        raise TargetError('this target cannot end persistent reservations')


def account_name(volume_id: str, initiator: str) -> str:
    """Derive the CHAP name of an initiator at a volume: 20 characters of a-z and 2-7.

    It is deterministic so that an account left over from a crash is recognised and replaced.
    """
    digest = hashlib.sha256(f'{volume_id}\0{initiator}'.encode()).digest()
    return base64.b32encode(digest).decode().lower()[:ACCOUNT_LENGTH]


def make_chap_grant(volume_id: str, initiator: str, mode: str, known: Mapping[str, Any] | None) -> Grant:
    """Make credentials of CHAP; attachments of one initiator share a session and so a secret."""
    if known:
        luns = tuple(sorted({LUN, int(known.get('target_lun', LUN))}))
        return Grant(initiator, str(known['auth_username']), str(known['auth_password']), mode, luns)
    return Grant(initiator, account_name(volume_id, initiator), generate_secret(), mode)


def generate_secret() -> str:
    """Make a CHAP secret of 16 letters and digits: the longest that every initiator takes."""
    return ''.join(secrets.choice(_SECRET_ALPHABET) for _ in range(SECRET_LENGTH))
