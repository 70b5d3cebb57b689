# SPDX-License-Identifier: Apache-2.0
"""A target that is several: each step is taken at all gateways of the cluster, side by side.

What a gateway is asked stands in its row before: without an answer nobody knows what it has. An attach needs one of
them; what the others lack they see to by themselves. A detach and a fence need all that may have the volume: one that
does not answer is shut out of Ceph, and what it still has in hand reaches nothing.
"""

import concurrent.futures
import contextlib
import dataclasses
import datetime
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

from oslo_log import log

from multiattach.db import models
from multiattach.domain import errors
from multiattach.domain.connection import Address, GatewayAddress, TargetAddress
from multiattach.domain.gateways import Export as State, Gateway
from multiattach.drivers.errors import DriverError, TargetError, TargetUnavailable
from multiattach.drivers.targets.base import Access, Cut, Export, Grant, Reservations, TargetInfo, TargetState
from multiattach.rpc.clients import GatewayPeers
from multiattach.steps.gateways import GatewayRows
from multiattach.volume.gateway_losses import GatewayLosses
from multiattach.volume.own_gateway import OwnGateway, read_cut, write_cut

LOG = log.getLogger(__name__)
R = TypeVar('R')

_PARALLEL = 16
_SILENT = 'silent'


@dataclasses.dataclass(frozen=True)
class GatewayAccess:
    """Where an initiator finds a volume: at each gateway that admits it."""

    address: GatewayAddress

    def tell(self, grant: Grant, connector: Mapping[str, Any]) -> dict[str, Any]:
        one = TargetInfo(self.address.iqn, self.address.portal, self.address.lun, 0)
        return {**one.tell(grant, connector), **self.address.tell()}


class GatewayTarget:
    """The targets of all gateways of a backend, for whoever takes a step. What is read is read of this member's own.

    :param down_time: seconds without a heartbeat after which a member is down.
    """

    def __init__(
        self, own: OwnGateway, rows: GatewayRows, peers: GatewayPeers, losses: GatewayLosses, down_time: float
    ) -> None:
        self._own = own
        self._rows = rows
        self._peers = peers
        self._losses = losses
        self._down_time = datetime.timedelta(seconds=down_time)
        # Members that gave no answer, with the heartbeat that was seen then: until the next one they are not asked.
        self._silent: dict[str, datetime.datetime | None] = {}
        self._pool = concurrent.futures.ThreadPoolExecutor(_PARALLEL, 'gateways')
        self.here = HereTarget(own, rows)

    # -- admitting -----------------------------------------------------------------------------

    def grant(self, volume_id: str, device: str, grant: Grant) -> Access:
        gateways = self._rows.list_gateways()
        able = {name for name, one in gateways.items() if one.is_serving and self._is_there(one)}
        asked = self._rows.begin_export(
            volume_id, able, grant.initiator, {'auth_username': grant.username, 'auth_password': grant.secret}
        )
        found = self._ask(
            asked, lambda name: self._own.admit(volume_id, grant.initiator), ('admit', volume_id, grant.initiator)
        )
        self._rows.put_exports(volume_id, {name: _judge(one) for name, one in found.items()})
        reached = [gateways[name].portal for name, one in found.items() if not isinstance(one, DriverError)]
        if not reached:
            raise _choose(found) or TargetUnavailable('No gateway of the backend serves now.', delivered=False)
        address = GatewayAddress.make(self._locate(volume_id), reached)
        return GatewayAccess(address.put_first(f'{volume_id} {grant.initiator}', self._find_used(volume_id, grant)))

    def _find_used(self, volume_id: str, grant: Grant) -> str | None:
        """Find the portal of a session that the initiator has already."""
        known = self._rows.list_wanted(volume_id).get(grant.initiator)
        return known.get('target_portal') if known else None

    def ensure_export(self, export: Export) -> Access:
        return self.here.ensure_export(export)

    # -- turning away --------------------------------------------------------------------------

    def restrict(self, volume_id: str, grants: Sequence[Grant]) -> None:
        """Nothing is to be done: no other service makes targets of gateways."""

    def revoke(self, volume_id: str, initiator: str, username: str, *, alone: bool = False) -> None:
        names = self._begin(volume_id, removing=alone)
        found = self._ask(
            names, lambda _name: self._own.revoke(volume_id, initiator, alone), ('revoke', volume_id, initiator, alone)
        )
        self._finish(volume_id, found, removing=alone)

    def remove_export(self, volume_id: str) -> None:
        names = self._begin(volume_id, removing=True)
        found = self._ask(names, lambda _name: self._own.remove(volume_id), ('remove', volume_id))
        self._finish(volume_id, found, removing=True)

    def _begin(self, volume_id: str, *, removing: bool) -> list[str]:
        """Find the gateways that may have something of a volume; write that all of it is to go."""
        known = self._rows.list_exports(volume_id)
        names = [name for name, state in known.items() if state != State.LOST]
        if removing and names:
            self._rows.put_exports(volume_id, dict.fromkeys(names, (State.REMOVING, None)))
        # What nobody wrote down may be here all the same: this member looks after its own target.
        return sorted({*names, self._rows.name})

    def _finish(self, volume_id: str, found: Mapping[str, Any], *, removing: bool) -> None:
        """Write what became of it; who gave no answer, and whose member is down, is shut out.

        :raises DriverError: one refused; or one gave no answer, and its member lives.
        """
        gateways = self._rows.list_gateways()
        left: dict[str, DriverError] = {}
        for name, one in found.items():
            if isinstance(one, TargetUnavailable) and name in gateways and not self._beats(gateways[name]):
                self._losses.cut_off(name)
            elif isinstance(one, DriverError):
                left[name] = one
        if removing:
            self._rows.drop_exports(volume_id, [name for name in found if name not in left])
        unknown = {name: _judge(one) for name, one in left.items() if name in gateways and not removing}
        if unknown:
            self._rows.put_exports(volume_id, unknown)
        if left:
            raise _choose(left) or AssertionError

    def fence(self, volume_id: str, initiator: str, username: str, *, alone: bool = False, again: bool = False) -> Cut:
        known = self._rows.list_exports(volume_id)
        gateways = self._rows.list_gateways()
        may = sorted({*(name for name, state in known.items() if state != State.LOST), self._rows.name})
        asked = [name for name in may if name not in gateways or self._is_there(gateways[name])]
        found: dict[str, Any] = dict.fromkeys(may, TargetUnavailable('it gave no answer before'))
        found |= self._ask(
            asked,
            lambda _name: write_cut(self._own.fence(volume_id, initiator, alone, again)),
            ('fence', volume_id, initiator, alone, again),
        )
        lost = [name for name, state in known.items() if state == State.LOST and name in gateways]
        told: dict[str, Any] = {name: gateways[name].tell_exclusion() for name in lost}
        cuts = []
        for name, one in found.items():
            portal = gateways[name].portal if name in gateways else None
            if isinstance(one, TargetUnavailable) and name in gateways:
                told[name] = {'portal': portal, _SILENT: str(one)}
            elif isinstance(one, DriverError):
                raise one
            else:
                cuts.append(read_cut(one))
                told[name] = {'portal': portal, **_describe(cuts[-1])}
        if alone:
            self._rows.drop_exports(volume_id, [name for name in found if _SILENT not in told[name]])
        return _add(Cut(volume_id, initiator, again, whole=True), cuts, {'gateways': told})

    def settle(self, cuts: Sequence[Cut]) -> Sequence[Cut | DriverError]:
        """Shut out the gateways that gave no answer; once for all."""
        silent = {name for cut in cuts for name, told in cut.more.get('gateways', {}).items() if _SILENT in told}
        outcomes: dict[str, dict[str, Any] | DriverError] = {}
        for name in sorted(silent):
            LOG.warning('Gateway %s gave no answer to a fence', name)
            try:
                outcomes[name] = self._losses.cut_off(name)
            except DriverError as exc:
                outcomes[name] = exc
        return [_settle(cut, outcomes) for cut in cuts]

    # -- the rest ------------------------------------------------------------------------------

    def extend(self, volume_id: str, device: str) -> None:
        """Show the new size at one gateway after the other: who has several paths keeps one at any time."""
        names = [name for name, state in self._rows.list_exports(volume_id).items() if state != State.LOST]
        for name in sorted(names):
            found = self._ask([name], lambda _name: self._own.extend(volume_id), ('extend', volume_id))
            self._finish(volume_id, found, removing=False)

    def locate(self, volume_id: str) -> Address:
        portals = self._rows.list_portals([volume_id]).get(volume_id)
        own = self._locate(volume_id)
        return GatewayAddress.make(own, sorted(portals)) if portals else own

    def _locate(self, volume_id: str) -> TargetAddress:
        return self.here.locate(volume_id)

    # -- asking --------------------------------------------------------------------------------

    def _beats(self, one: Gateway) -> bool:
        return one.heartbeat_at is not None and models.now() - one.heartbeat_at < self._down_time

    def _is_there(self, one: Gateway) -> bool:
        """Whether a gateway is worth asking: nobody waits for the same silence twice."""
        if one.name == self._rows.name:
            return True
        if one.name in self._silent:
            if self._silent[one.name] == one.heartbeat_at:
                return False
            del self._silent[one.name]
        return self._beats(one)

    def _ask(
        self, names: Collection[str], own: Callable[[str], R], order: tuple[Any, ...]
    ) -> dict[str, R | DriverError]:
        """Have gateways do something, side by side.

        :param own: does it here.
        :param order: method and arguments for the others.
        """
        verb, *words = order
        asked = {
            name: self._pool.submit(getattr(self._peers, verb), name, *words)
            for name in names
            if name != self._rows.name
        }
        found: dict[str, R | DriverError] = {}
        if self._rows.name in names:
            found[self._rows.name] = _catch(lambda: own(self._rows.name))
        for name, answer in asked.items():
            found[name] = _catch(answer.result)
            if isinstance(found[name], TargetUnavailable):
                one = self._rows.list_gateways().get(name)
                self._silent[name] = one.heartbeat_at if one is not None else None
                LOG.warning('Gateway %s was asked to %s volume %s: %s', name, verb, words[0], found[name])
        return found

    def list_lost(self) -> list[Gateway]:
        """List the gateways that are shut out of Ceph, or are being shut out."""
        return [one for one in self._rows.list_gateways().values() if not one.is_serving]

    @property
    def is_serving(self) -> bool:
        """Whether this member's own gateway is to have exports at all."""
        return self._rows.is_serving

    def bury(self, generation: int, volume_ids: Collection[str]) -> None:
        """Take this member's target daemon, which is a new one, into service: see that the one before it is gone.

        :param volume_ids: what is to be exported.
        :raises DriverError: nobody knows.
        """
        self._losses.bury(volume_ids)
        self._own.ready = generation

    # -- this member's own ---------------------------------------------------------------------

    @property
    def protocol(self) -> str:
        return self._own.target.protocol

    def name_account(self, volume_id: str, initiator: str) -> str:
        return self._own.target.name_account(volume_id, initiator)

    def make_grant(self, volume_id: str, initiator: str, mode: str, known: Mapping[str, Any] | None) -> Grant:
        return self._own.target.make_grant(volume_id, initiator, mode, known)

    def list_exports(self) -> dict[str, TargetState]:
        return self._own.target.list_exports()

    def show(self, volume_id: str) -> TargetState | None:
        return self._own.target.show(volume_id)

    def within(self, seconds: float) -> contextlib.AbstractContextManager[None]:
        return self._own.target.within(seconds)

    def list_files(self) -> frozenset[str] | None:
        return self._own.target.list_files()

    def check(self) -> None:
        self._own.target.check()

    @property
    def keeps_reservations(self) -> bool:
        """Each gateway would have registrations of its own, of which the others know nothing."""
        return False

    @property
    def holds_read_only(self) -> bool:
        return self._own.target.holds_read_only

    def read_reservations(self, volume_id: str) -> Reservations:
        return self._own.target.read_reservations(volume_id)

    def clear_reservations(self, volume_id: str, initiator: str | None) -> Reservations:
        return self._own.target.clear_reservations(volume_id, initiator)

    def keep_alive(self) -> None:
        self._own.target.keep_alive()

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def generation(self) -> int:
        return self._own.target.generation()


class HereTarget:
    """This member's own target, with the rows of its gateway: for what one gateway lacks, or has too much."""

    def __init__(self, own: OwnGateway, rows: GatewayRows) -> None:
        self._own = own
        self._rows = rows

    def grant(self, volume_id: str, device: str, grant: Grant) -> None:
        """Admit an initiator here, and tell the hosts of the volume."""
        self._act(volume_id, lambda: self._own.admit(volume_id, grant.initiator))

    def ensure_export(self, export: Export) -> Access:
        found: list[Access] = []
        self._act(export.volume_id, lambda: found.append(self._own.make_exact(export)))
        return found[0]

    def remove_export(self, volume_id: str) -> None:
        self._own.remove(volume_id)
        self._rows.drop_exports(volume_id, [self._rows.name])

    def _act(self, volume_id: str, act: Callable[[], None]) -> None:
        if not self._rows.begin_own_export(volume_id):
            raise TargetUnavailable('This gateway is lost: it begins anew first.', delivered=False)
        done = _catch(act)
        self._rows.put_exports(volume_id, {self._rows.name: _judge(done)})
        if isinstance(done, DriverError):
            raise done
        self._rows.relocate(volume_id, self.locate(volume_id))

    def list_exports(self) -> dict[str, TargetState]:
        return self._own.target.list_exports()

    def locate(self, volume_id: str) -> TargetAddress:
        found = self._own.target.locate(volume_id)
        assert isinstance(found, TargetAddress)
        return found


def _catch(act: Callable[[], R]) -> R | DriverError:
    """Do something; what it raises is an outcome. Whether nothing was done, or that is unknown, differs."""
    try:
        return act()
    except DriverError as exc:
        return exc
    except (errors.OutcomeUnknown, errors.Unavailable) as exc:
        return TargetUnavailable(exc.message)
    except errors.MultiattachError as exc:
        return TargetError(exc.message)


def _judge(outcome: Any) -> tuple[str, str | None]:
    if isinstance(outcome, TargetError):
        return State.FAILED, str(outcome)
    return (State.UNKNOWN, str(outcome)) if isinstance(outcome, DriverError) else (State.EXPORTED, None)


def _choose(found: Mapping[str, Any]) -> DriverError | None:
    """Choose what to say of several failures: as long as one is unknown the whole is."""
    failed = [one for one in found.values() if isinstance(one, DriverError)]
    return next((one for one in failed if not isinstance(one, TargetError)), failed[0] if failed else None)


def _describe(cut: Cut) -> dict[str, Any]:
    """Write what was cut at one gateway, and what its last read still showed."""
    sessions = [{'initiator': one.initiator, 'address': one.address} for one in (*cut.sessions, *cut.others)]
    left = [{'initiator': one.initiator, 'address': one.address} for one in cut.left_sessions]
    return {
        'cut': {'acl': cut.acl, 'account': cut.account, 'sessions': sessions, 'logins': list(cut.logins)},
        'left': {'acl': cut.left_acl, 'account': cut.left_account, 'sessions': left},
    }


def _add(whole: Cut, cuts: Sequence[Cut], more: Mapping[str, Any]) -> Cut:
    """Add up what was cut at several gateways."""
    return dataclasses.replace(
        whole,
        acl=any(one.acl for one in cuts),
        account=any(one.account for one in cuts),
        sessions=tuple(session for one in cuts for session in one.sessions),
        others=tuple(session for one in cuts for session in one.others),
        logins=tuple(login for one in cuts for login in one.logins),
        whole=all(one.whole for one in cuts),
        left_acl=any(one.left_acl for one in cuts),
        left_account=any(one.left_account for one in cuts),
        left_sessions=tuple(session for one in cuts for session in one.left_sessions),
        registration=any(one.registration for one in cuts),
        left_registration=any(one.left_registration for one in cuts),
        more=more,
    )


def _settle(cut: Cut, outcomes: Mapping[str, dict[str, Any] | DriverError]) -> Cut | DriverError:
    told = dict(cut.more.get('gateways', {}))
    for name in [name for name, one in told.items() if _SILENT in one]:
        outcome = outcomes[name]
        if isinstance(outcome, DriverError):
            return outcome
        told[name] = outcome
    return dataclasses.replace(cut, more={**cut.more, 'gateways': told}) if told else cut
