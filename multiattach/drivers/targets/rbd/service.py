# SPDX-License-Identifier: Apache-2.0
"""The target driver ``rbd``: what is granted is a cephx user, and Ceph itself keeps a fence."""

import contextlib
import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any, Self

from multiattach.conf import plugins, volume as volume_conf
from multiattach.domain import connection, errors, sharing
from multiattach.domain.connection import USER_PREFIX, ImageAddress, find_address
from multiattach.drivers.ceph import library
from multiattach.drivers.ceph.access import check_access
from multiattach.drivers.ceph.images import name_image
from multiattach.drivers.ceph.pool import Cluster, Pool
from multiattach.drivers.ceph.users import Users
from multiattach.drivers.errors import DriverError
from multiattach.drivers.targets.base import Cut, Export, Grant, LunState, NoReservations, SessionState, TargetState
from multiattach.drivers.targets.rbd.cuts import Cuts, find_attachment

_KEY = re.compile(r'^\s*key = (\S+)$', re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class RbdAccess:
    """What a client of Ceph needs to open an image.

    :param user: cephx user, without ``client.``.
    :param secret_uuid: under which libvirt has its key; None if the host knows.
    :param keyring: text of a keyring file, None if the host has the key.
    """

    address: ImageAddress
    user: str
    secret_uuid: str | None
    keyring: str | None = dataclasses.field(repr=False)

    def tell(self, grant: Grant, connector: Mapping[str, Any]) -> dict[str, Any]:
        return {
            'driver_volume_type': 'rbd',
            **self.address.tell(),
            'auth_enabled': True,
            'auth_username': self.user,
            'secret_type': 'ceph',
            'secret_uuid': self.secret_uuid,
            'discard': True,
            **({} if self.keyring is None else {'keyring': self.keyring}),
        }


class RbdTarget(NoReservations):
    """Images of one pool, opened by hosts themselves.

    An initiator is a cephx user that reaches one image; or, of hosts that share the operator's user, an address.

    :param secret_uuid: under which the hosts' libvirt has the key of the operator's user.
    """

    OPTS = (*volume_conf.RBD_OPTS, *volume_conf.RBD_TARGET_OPTS)
    IS_REMOTE = True
    protocol = connection.RBD
    # A user of an attachment is held to it; hosts that share the operator's user are not.
    holds_read_only = False

    def __init__(self, pool: Pool, secret_uuid: str | None = None) -> None:
        self._pool = pool
        self._secret_uuid = secret_uuid
        self._users = Users(pool)
        self._cuts = Cuts(pool, self._users)
        self._monitors: tuple[tuple[str, str], ...] = ()
        self._shown: dict[str, TargetState] = {}

    @classmethod
    def from_options(cls, options: Any, surroundings: plugins.Surroundings) -> Self:
        if options.driver != 'rbd':
            raise errors.ConfigurationError(
                f'Option target_driver in [{surroundings.section}]: rbd is for images of Ceph, and driver is '
                f'{options.driver}. Set driver to rbd, or target_driver to tgt.'
            )
        cluster = Cluster(options.rbd_ceph_conf, options.rbd_user, options.rbd_cluster_name, options.rbd_pool)
        return cls(Pool(library.load(), cluster, options.rados_connect_timeout), options.rbd_secret_uuid or None)

    @property
    def pool(self) -> Pool:
        return self._pool

    # Granting ---------------------------------------------------------------------------

    def name_account(self, volume_id: str, initiator: str) -> str:
        return initiator if initiator.startswith(USER_PREFIX) else ''

    def make_grant(self, volume_id: str, initiator: str, mode: str, known: Mapping[str, Any] | None) -> Grant:
        found = _KEY.search(str((known or {}).get('keyring', '')))
        return Grant(initiator, self.name_account(volume_id, initiator), found[1] if found else '', mode)

    def grant(self, volume_id: str, device: str, grant: Grant) -> RbdAccess:
        address = self.locate(volume_id)
        if find_address(grant.initiator) is not None:
            return RbdAccess(address, self._pool.cluster.user, self._secret_uuid, None)
        attachment_id = find_attachment(grant.initiator)
        read_only = grant.mode == sharing.READ_ONLY
        user = self._users.make(attachment_id, name_image(volume_id), read_only=read_only, key=grant.secret or None)
        return RbdAccess(address, user.name, attachment_id, user.keyring)

    def ensure_export(self, export: Export) -> RbdAccess:
        wanted = {grant.initiator for grant in export.grants}
        self._put_out(export.volume_id, wanted)
        told = [self.grant(export.volume_id, export.device, grant) for grant in export.grants]
        return told[-1]

    def restrict(self, volume_id: str, grants: Sequence[Grant]) -> None:
        """Nothing is to be done: whoever has no account is not let in."""

    def revoke(self, volume_id: str, initiator: str, username: str, *, alone: bool = False) -> None:
        """Shut one initiator out; of the operator's user nothing can be taken away, and its host is to let go."""
        if find_address(initiator) is None:
            self._check_settled([self.fence(volume_id, initiator, username)])

    def fence(self, volume_id: str, initiator: str, username: str, *, alone: bool = False, again: bool = False) -> Cut:
        cut = Cut(volume_id, initiator, again)
        if find_address(initiator) is not None:
            return cut
        return dataclasses.replace(cut, account=self._users.find(find_attachment(initiator)) is not None)

    def settle(self, cuts: Sequence[Cut]) -> Sequence[Cut | DriverError]:
        return self._cuts.settle(cuts, is_proof=True)

    def remove_export(self, volume_id: str) -> None:
        self._put_out(volume_id, ())

    def _put_out(self, volume_id: str, wanted: Sequence[str] | set[str]) -> None:
        there = [user.name for user in self._users.list_users() if user.image == self._name(volume_id)]
        self._check_settled([self.fence(volume_id, name, name) for name in there if name not in wanted])

    def _check_settled(self, cuts: Sequence[Cut]) -> None:
        # The host has let go of it; that some monitor is silent is no reason to keep it waiting.
        for done in self._cuts.settle(cuts, is_proof=False):
            if isinstance(done, DriverError):
                raise done

    def extend(self, volume_id: str, device: str) -> None:
        """Nothing is to be done: who has an image open is told by Ceph."""

    # Reading ----------------------------------------------------------------------------

    def locate(self, volume_id: str) -> ImageAddress:
        cluster = self._pool.cluster
        return ImageAddress(f'{cluster.pool}/{name_image(volume_id)}', cluster.name, self._monitors)

    def list_exports(self) -> dict[str, TargetState]:
        self._monitors = self._read_monitors()
        sessions: dict[str, list[str]] = {}
        users = self._users.list_users()
        for one in self._cuts.read_sessions().found:
            sessions.setdefault(one.entity, []).append(one.address)
        self._cuts.note({user.entity: sessions.get(user.entity, ()) for user in users})
        by_image: dict[str, list[str]] = {}
        for user in users:
            if user.image is not None and user.image[1].startswith(_VOLUME):
                by_image.setdefault(user.image[1].removeprefix(_VOLUME), []).append(user.name)
        found = {ident: self._show(ident, sorted(names), sessions) for ident, names in by_image.items()}
        old = self._shown
        self._shown = {ident: old[ident] if old.get(ident) == state else state for ident, state in found.items()}
        return dict(self._shown)

    def show(self, volume_id: str) -> TargetState | None:
        found = self.list_exports().get(volume_id)
        strangers = self._cuts.list_shared(volume_id)
        if not strangers:
            return found
        found = found or self._show(volume_id, (), {})
        return dataclasses.replace(found, sessions=(*found.sessions, *strangers))

    def _show(self, volume_id: str, names: Sequence[str], sessions: Mapping[str, Sequence[str]]) -> TargetState:
        logins = [SessionState(name, one) for name in names for one in sorted(sessions.get(f'client.{name}', ()))]
        image = '/'.join(self._name(volume_id))
        return TargetState(
            volume_id, image, 0, (LunState(0, image, True, ''),), tuple(names), tuple(names), tuple(logins)
        )

    def _name(self, volume_id: str) -> tuple[str, str]:
        return self._pool.cluster.pool, name_image(volume_id)

    def _read_monitors(self) -> tuple[tuple[str, str], ...]:
        dump = self._pool.run('list the monitors', lambda _io, _progress: self._pool.ask('mon dump'))
        found = []
        for one in dump['mons']:
            host, _, port = one['addr'].partition('/')[0].rpartition(':')
            found.append((host.strip('[]'), port))
        return tuple(found)

    def within(self, seconds: float) -> contextlib.AbstractContextManager[None]:
        return self._pool.within(seconds)

    def list_files(self) -> frozenset[str] | None:
        return None

    def check(self) -> None:
        check_access(self._pool, users=True)
        self.list_exports()
        self._cuts.check()

    def keep_alive(self) -> None: ...

    def close(self) -> None: ...

    def generation(self) -> int:
        """Ceph keeps users over restarts of all its daemons."""
        return 1


_VOLUME = name_image('')
