# SPDX-License-Identifier: Apache-2.0
"""Gateways that are lost, and that come back.

One is lost when neither its portal nor its worker answers any more, or when it gives no answer to a fence. It is
shut out of Ceph first; only then is it left out of what hosts are told, and only then does a fence count it as cut.
When it is back it begins anew: what it had open is closed. Its entries in the blocklist stay for an hour: what it sent
last may still be on its way. A target daemon that was merely killed is buried before another one takes its place.
"""

import threading
import time
from collections.abc import Callable, Collection
from typing import Any, Protocol

from oslo_log import log

from multiattach.db import models
from multiattach.domain import errors
from multiattach.domain.connection import TargetAddress
from multiattach.domain.gateways import Gateway, State, tell_exclusion
from multiattach.drivers.ceph.exclusion import Exclusion
from multiattach.drivers.errors import DriverError, StorageError
from multiattach.drivers.targets import login
from multiattach.drivers.targets.base import Target
from multiattach.rpc.clients import GatewayPeers
from multiattach.steps.gateways import GatewayRows

LOG = log.getLogger(__name__)

_PROBE = 2.0  # s
# s after which a loss that another member began is carried on; by then whoever began it is dead.
_STALE = 30.0
# s between two looks at what this member runs; a client that lives may be without a session for shorter.
_NOTED = 40.0


class GatewayDaemon(Target, Protocol):
    """A target whose daemon each member has for itself.

    :ivar confirm: called when an image was opened and nobody has been let in; if it raises, nobody is.
    """

    confirm: Callable[[], None]

    def reset(self) -> None:
        """Close all that it has open, also if it hangs; what it opens later it opens as another client.

        :raises TargetError: it cannot.
        """


class GatewayLosses:
    """Shuts gateways out, and takes this member's own back.

    :param timeout: seconds without a sign of life after which a gateway is lost.
    """

    def __init__(
        self, rows: GatewayRows, exclusion: Exclusion, target: GatewayDaemon, peers: GatewayPeers, timeout: float
    ):
        self._rows = rows
        self._exclusion = exclusion
        self._target = target
        self._peers = peers
        self._timeout = timeout
        self._lock = threading.Lock()
        self._answered: dict[str, float] = {}
        self._due = 0.0
        #: called when this member's gateway has begun anew
        self.on_return: Callable[[], None] = lambda: None

    def register(self) -> None:
        """Write this member's gateway down, and begin anew if it was lost.

        :raises ConfigurationError: its user may not shut others out, or another gateway has its user or its portal.
        """
        try:
            self._exclusion.check()
        except StorageError as exc:
            raise errors.ConfigurationError(f'Option rbd_user: {exc}') from exc
        address = self._locate()
        self._rows.register(address.portal, self._exclusion.user)
        self.look()

    def bury(self, volume_ids: Collection[str]) -> None:
        """See that nothing reaches Ceph any more of a target daemon that died here.

        :param volume_ids: what it may have exported besides what its rows say.
        :raises DriverError: nobody knows.
        """
        self._exclusion.bury({*volume_ids, *self._rows.list_volumes()})

    def _locate(self) -> TargetAddress:
        found = self._target.locate('00000000-0000-0000-0000-000000000000')
        assert isinstance(found, TargetAddress)
        return found

    # -- losing --------------------------------------------------------------------------------

    def cut_off(self, name: str) -> dict[str, Any]:
        """Shut a gateway out of Ceph; one that is shut out already stays so.

        :returns: what a proof says of it.
        :raises DriverError: it is not shut out, or nobody knows.
        """
        with self._lock:
            one = self._rows.list_gateways()[name]
            if one.state == State.LOST:
                return one.tell_exclusion()
            self._rows.begin_loss(name)
            # Of an earlier attempt, which did not come to its end; their sessions may be gone by now.
            known = self._rows.list_excluded(name)
            if name == self._rows.name:
                # What hangs here is ended, so that hosts see it go; what it has sent may still be on its way.
                known |= self._exclusion.list_instances(one.user)
                self._target.reset()
            excluded = self._exclusion.exclude(name, one.user, known)
            volumes = self._rows.finish_loss(name, excluded.entries)
            if volumes is None:  # it has begun anew meanwhile, and what it opened since then is not to be shut out
                self._exclusion.admit(self._exclusion.list_instances(one.user) & (set(excluded.entries) - known))
        LOG.error('Gateway %s at %s is lost, and shut out of Ceph', name, one.portal)
        self._tell_hosts(volumes or [])
        return {
            **tell_exclusion(one.portal, excluded.entries),
            'osdmap_epoch': excluded.epoch,
            'monitors_silent': list(excluded.silent),
        }

    def _tell_hosts(self, volumes: list[str]) -> None:
        def tell() -> None:
            for volume_id in volumes:
                self._rows.relocate(volume_id, self._own_address(volume_id))

        threading.Thread(target=tell, name='gateway-relocation', daemon=True).start()

    def _own_address(self, volume_id: str) -> TargetAddress:
        found = self._target.locate(volume_id)
        assert isinstance(found, TargetAddress)
        return found

    def note(self) -> None:
        """Write down now and then what this member's gateway runs: who shuts it out while it sleeps must know."""
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + _NOTED
        try:
            self._target.generation()
            is_awake = True
        except DriverError:
            is_awake = False
        try:
            self._exclusion.note(may_forget=is_awake)
        except DriverError as exc:
            LOG.warning('What this gateway runs cannot be written down: %s', exc)

    # -- looking -------------------------------------------------------------------------------

    def look(self) -> None:
        """See who is lost, and whether this member itself was."""
        gateways = self._rows.list_gateways()
        me = gateways.pop(self._rows.name, None)
        if me is not None and not me.is_serving:
            self._come_back(me)
            return
        for one in gateways.values():
            try:
                self._look_at(one)
            except DriverError as exc:
                LOG.error('Gateway %s cannot be shut out of Ceph: %s', one.name, exc)

    def _look_at(self, one: Gateway) -> None:
        if one.state == State.LOST:
            self._answered.pop(one.name, None)
            entries = self._exclusion.renew(one.name, one.entries)
            if entries != one.entries:
                self._rows.finish_loss(one.name, entries)
        elif one.state == State.LOSING:
            if one.tell_age(models.now()) > _STALE:
                self.cut_off(one.name)
        elif self._is_silent(one):
            self.cut_off(one.name)

    def _is_silent(self, one: Gateway) -> bool:
        """Whether a gateway has given no sign of life for too long. Its target's is one, and so is its worker's."""
        now = time.monotonic()
        if login.answers(one.portal, _PROBE):
            self._answered[one.name] = now
            return False
        if now - self._answered.setdefault(one.name, now) < self._timeout:
            return False
        try:
            self._peers.check(one.name)
        except errors.MultiattachError as exc:
            LOG.error('Gateway %s does not answer at %s, nor does its worker: %s', one.name, one.portal, exc)
            return True
        LOG.warning('Gateway %s answers its worker, but not here at %s', one.name, one.portal)
        self._answered[one.name] = now
        return False

    # -- coming back ---------------------------------------------------------------------------

    def _come_back(self, me: Gateway) -> None:
        """Begin anew: what was open is shut out and stays so for a while, and is opened as another client."""
        if me.state == State.LOSING and me.tell_age(models.now()) < _STALE:
            return  # whoever began it goes on
        LOG.warning('This gateway, %s, was lost: it begins anew', me.name)
        try:
            self._target.reset()
        except DriverError as exc:
            LOG.error('Gateway %s cannot begin anew: %s', me.name, exc)
            return
        self._rows.come_back()
        self.on_return()
