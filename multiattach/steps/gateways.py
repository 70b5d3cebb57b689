# SPDX-License-Identifier: Apache-2.0
"""Gateways of one backend, and its volumes at each: what is to be done there, and what is known of it."""

import datetime
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from multiattach.db import (
    attachments as db_attachments,
    blocklist as db_blocklist,
    database,
    gateways as db_gateways,
    locks,
    models,
)
from multiattach.domain import connection, errors
from multiattach.domain.blocklist import Cause
from multiattach.domain.connection import GatewayAddress
from multiattach.domain.gateways import UNSETTLED, Export, Gateway, State

_SETTLING = 5.0  # s that whoever began an export has for its end


class GatewayRows:
    """The rows as one member of a cluster has them.

    :param backend: name of the backend, ``cluster@backend``.
    :param name: of this member's gateway, ``host@backend``.
    """

    def __init__(self, db: database.Database, backend: str, name: str) -> None:
        self._db = db
        self._backend = backend
        self.name = name

    # -- gateways ------------------------------------------------------------------------------

    @database.retry
    def register(self, portal: str, user: str) -> None:
        """Write down this member's gateway.

        :raises ConfigurationError: another one has its portal or its user.
        """
        with self._db.writer() as session:
            for one in db_gateways.list_gateways(session, self._backend):
                if one.name == self.name:
                    continue
                if one.portal == portal:
                    raise errors.ConfigurationError(
                        f'Option portal in [tgt]: gateway {one.name} has {portal} already. Each gateway has its own.'
                    )
                if one.user == user:
                    raise errors.ConfigurationError(
                        f'Option rbd_user: gateway {one.name} is client.{user} already. Give each gateway a user of '
                        'its own: one that is lost is shut out of Ceph by its user.'
                    )
            db_gateways.register(session, self._backend, self.name, portal, user)

    @database.retry
    def list_gateways(self) -> dict[str, Gateway]:
        with self._db.reader() as session:
            return {one.name: one for one in db_gateways.list_gateways(session, self._backend)}

    def list_users(self) -> set[str]:
        """List the cephx users, without ``client.``, of all gateways."""
        return {one.user for one in self.list_gateways().values()}

    @database.retry
    def list_volumes(self) -> list[str]:
        """List the volumes of which this member's gateway has something, or may."""
        with self._db.reader() as session:
            return db_gateways.list_volumes(session, self.name)

    @database.retry
    def list_excluded(self, name: str) -> set[str]:
        """List what was, or was to be, blocklisted of a gateway."""
        with self._db.reader() as session:
            return db_blocklist.list_instances(session, Cause.GATEWAY, name)

    @property
    def is_serving(self) -> bool:
        """Whether this member may export anything."""
        me = self.list_gateways().get(self.name)
        return me is not None and me.is_serving

    @database.retry
    def begin_loss(self, name: str) -> None:
        """Write the intent to shut a gateway out of Ceph."""
        with self._db.writer() as session:
            db_gateways.move(session, name, {State.SERVING}, State.LOSING, None)

    @database.retry
    def finish_loss(self, name: str, entries: Mapping[str, str]) -> list[str] | None:
        """Write that a gateway is shut out; return the volumes that were exported there, None if it is back already."""
        with self._db.writer() as session:
            if not db_gateways.move(session, name, {State.LOSING, State.LOST}, State.LOST, entries):
                return None
            return db_gateways.lose_exports(session, name)

    @database.retry
    def come_back(self) -> None:
        """Write that this member's gateway has begun anew: it exports nothing."""
        with self._db.writer() as session:
            db_gateways.drop_all_exports(session, self.name)
            db_gateways.move(session, self.name, {State.LOSING, State.LOST}, State.SERVING, None)

    # -- exports -------------------------------------------------------------------------------

    @database.retry
    def begin_export(
        self, volume_id: str, wanted: Collection[str], initiator: str, told: Mapping[str, str]
    ) -> list[str]:
        """Write the intent to admit an initiator at some gateways, and what lets it in; return those that serve.

        :param told: user and secret, as connection_info has them.
        """
        with self._db.writer() as session:
            locks.lock_volume(session, volume_id)
            serving = self._find_serving(session, wanted)
            known = db_gateways.list_exports(session, volume_id)
            new = {name: (Export.EXPORTING, None) for name in serving if known.get(name) != Export.EXPORTED}
            db_gateways.put_exports(session, volume_id, new)
            db_gateways.set_secret(session, volume_id, initiator, told)
            return serving

    @database.retry
    def begin_own_export(self, volume_id: str) -> bool:
        """Write the intent to export a volume here; return whether this member may."""
        with self._db.writer() as session:
            locks.lock_volume(session, volume_id)
            if not self._find_serving(session, {self.name}):
                return False
            if db_gateways.list_exports(session, volume_id).get(self.name) != Export.EXPORTED:
                db_gateways.put_exports(session, volume_id, {self.name: (Export.EXPORTING, None)})
            return True

    def _find_serving(self, session: Any, wanted: Collection[str]) -> list[str]:
        return [
            one.name
            for one in db_gateways.list_gateways(session, self._backend)
            if one.is_serving and one.name in wanted
        ]

    @database.retry
    def list_exports(self, volume_id: str) -> dict[str, str]:
        with self._db.reader() as session:
            return db_gateways.list_exports(session, volume_id)

    @database.retry
    def put_exports(self, volume_id: str, outcomes: Mapping[str, tuple[str, str | None]]) -> None:
        """Write what is known of a volume at some gateways; of one that was lost meanwhile that stays."""
        with self._db.writer() as session:
            known = db_gateways.list_exports(session, volume_id)
            left = {name: one for name, one in outcomes.items() if known.get(name) != Export.LOST}
            db_gateways.put_exports(session, volume_id, left)

    @database.retry
    def drop_exports(self, volume_id: str, gateways: Iterable[str]) -> None:
        """Write that nothing of a volume is left at some gateways."""
        with self._db.writer() as session:
            db_gateways.drop_exports(session, volume_id, gateways)

    @database.retry
    def list_unsettled(self) -> list[str]:
        """List the volumes of which this member's gateway lacks something, or may."""
        before = models.now() - datetime.timedelta(seconds=_SETTLING)
        with self._db.reader() as session:
            return db_gateways.list_in_state(session, self.name, UNSETTLED, before)

    # -- what hosts are told -------------------------------------------------------------------

    @database.retry
    def list_wanted(self, volume_id: str) -> dict[str, dict[str, Any]]:
        """Return connection_info by initiator of all that is to be admitted to a volume."""
        with self._db.reader() as session:
            return db_gateways.list_wanted(session, volume_id)

    @database.retry
    def list_portals(self, volume_ids: Sequence[str]) -> dict[str, list[str]]:
        with self._db.reader() as session:
            return db_gateways.list_portals(session, volume_ids)

    @database.retry
    def relocate(self, volume_id: str, address: connection.TargetAddress) -> int:
        """Tell the hosts of a volume's attachments at which gateways it is now; return how many are told anew.

        :param address: of one of them: the others differ in the portal only.
        """
        with self._db.writer() as session:
            portals = db_gateways.list_portals(session, [volume_id]).get(volume_id)
            if not portals:
                return 0  # what was told last is as good as nothing
            found = 0
            for ident, info in db_gateways.list_told(session, volume_id).items():
                new = connection.relocate(info, GatewayAddress.make(address, portals))
                if new is not None:
                    db_attachments.set_connection_info(session, ident, new)
                    found += 1
            return found
