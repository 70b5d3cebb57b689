# SPDX-License-Identifier: Apache-2.0
"""Attachments as the Block Storage API asks for them (contract 2)."""

import contextlib
import dataclasses
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from multiattach import failpoints
from multiattach.db import attachments as db_attachments, database, locks, models, paging, transitions
from multiattach.db.commits import Work
from multiattach.domain import connection, errors, extra_specs, sharing, states
from multiattach.engine.context import RequestContext
from multiattach.engine.guard import Guard, ServerUse
from multiattach.engine.policy import Policy
from multiattach.engine.quotas import Quotas
from multiattach.rpc.clients import ExportOrder
from multiattach.steps import oddities
from multiattach.steps.orders import Orders, leave_target


@dataclasses.dataclass(frozen=True)
class Reservation:
    """What a reservation holds besides volume and server.

    :param agent_host: host agent that is to drive the attachment; None where Nova does.
    :param initiator: the one of all attachments of that agent; None where each has its own, or nobody knows.
    :param delete_on_termination: flag of the compute API.
    """

    mode: str | None = None
    agent_host: str | None = None
    initiator: str | None = None
    mountpoint: str | None = None
    tag: str | None = None
    delete_on_termination: bool = False


V = states.Volume
# What is shown of an attachment: rows, or plain values with the same names.
Shown = models.Attachment | db_attachments.Shown
Summary = db_attachments.Summary


def actor_of(ctx: RequestContext) -> transitions.Actor:
    """Return the timeline's name for an API caller."""
    return transitions.Actor('api', ctx.request_id, ctx.caller)


class Attachments:
    """Use cases on attachments.

    :param most: servers that may have one multiattach volume, 0 for any number.
    """

    def __init__(
        self, db: database.Database, policy: Policy, orders: Orders, guard: Guard, quotas: Quotas, most: int = 0
    ) -> None:
        self._guard = guard
        self._quotas = quotas
        self._most = most
        self._db = db
        self._policy = policy
        self._orders = orders

    # -- reading -------------------------------------------------------------------------------

    @database.retry
    def show(self, ctx: RequestContext, attachment_id: str) -> models.Attachment:
        with self._db.reader() as session:
            row = db_attachments.get(session, attachment_id)
            self._check(ctx, row, attachment_id, 'volume:attachment_get')
            return row

    @database.retry
    def list_page(
        self,
        ctx: RequestContext,
        filters: Sequence[sa.ColumnElement[bool]],
        page: paging.Page,
        *,
        detail: bool,
        all_projects: bool = False,
    ) -> list[models.Attachment]:
        """List attachments of the caller's project, or for admins of all."""
        self._policy.check(ctx, 'volume:attachment_get_all')
        scope = [] if all_projects and ctx.is_admin else [models.Volume.project_id == ctx.project]
        with self._db.reader() as session:
            return db_attachments.list_page(session, [*filters, *scope], page, detail=detail)

    # -- reserving -----------------------------------------------------------------------------

    def create(
        self,
        ctx: RequestContext,
        volume_id: str,
        instance_uuid: str | None,
        connector: Mapping[str, Any] | None,
        requested_mode: str | None,
    ) -> Shown:
        """Reserve a volume for a server and, given a connector, connect it.

        :param connector: connector, or None or empty to reserve only.
        :raises MultiattachError: as :meth:`reserve` and :meth:`connect`. After a failed
            connect the reservation is taken back (contract 11.4 number 7); after an unknown
            outcome it stays and its id is in the message.
        """
        if connector:
            connection.parse_connector(connector)
        reserved = self.reserve(ctx, volume_id, instance_uuid, Reservation(mode=requested_mode))
        failpoints.reach('engine.create.reserved')
        if not connector:
            return reserved
        ident = reserved.id
        try:
            return self.connect(ctx, ident, connector)
        except errors.OutcomeUnknown as exc:
            raise errors.OutcomeUnknown(f'{exc.message} Attachment: {ident}.') from exc
        except errors.MultiattachError:
            with contextlib.suppress(errors.MultiattachError):
                self.cancel(ctx, ident)
            raise

    def reserve(
        self, ctx: RequestContext, volume_id: str, instance_uuid: str | None, reservation: Reservation
    ) -> models.Attachment:
        """Take a place on a volume; no worker is asked.

        :raises NotAuthorized: policy ``volume:attachment_create`` or
            ``volume:multiattach_bootable_volume``.
        :raises InvalidVolume: the sharing rules or the cap of the type say no (contract 3.2).
        :raises QuotaExceeded: the project has all the attachments that it may have.
        """
        return self._reserve(ctx, str(uuid.uuid4()), volume_id, instance_uuid, reservation)

    @database.retry
    def _reserve(
        self, ctx: RequestContext, ident: str, volume_id: str, instance_uuid: str | None, reservation: Reservation
    ) -> models.Attachment:
        with self._db.transaction() as work:
            return self.reserve_in(work, ctx, ident, volume_id, instance_uuid, reservation)

    def reserve_in(
        self,
        work: Work,
        ctx: RequestContext,
        ident: str,
        volume_id: str,
        instance_uuid: str | None,
        reservation: Reservation,
    ) -> models.Attachment:
        """Reserve inside the caller's transaction; the rest as for :meth:`reserve`.

        :param work: before any volume was locked.
        :param ident: UUID of the attachment to be.
        """
        volume, allowance = locks.lock_with_allowance(work, volume_id)
        self._policy.check_visible(ctx, volume, errors.VolumeNotFound(volume_id))
        self._policy.check(ctx, 'volume:attachment_create', volume.project_id)
        facts = sharing.VolumeFacts(volume.status, volume.multiattach)
        # Without a cap or a quota the INSERT itself sees whether there is room.
        counts = self._is_capped(volume, allowance) or not (volume.multiattach or volume.status == V.AVAILABLE)
        if counts:
            room = locks.read_room(work, volume_id, instance_uuid)
            sharing.check_reserve(facts, room.mine, room.others)
            self.check_room(work, volume, room, allowance)
        else:
            sharing.check_reserve(facts, 0, 0)
        if reservation.initiator is not None and extra_specs.parse_is(allowance.reservations):
            self._check_initiator(work, volume_id, reservation)
        if volume.multiattach and volume.bootable and volume.status in states.WITH_SERVER:
            self._policy.check(ctx, 'volume:multiattach_bootable_volume', volume.project_id)
        row = models.Attachment(
            id=ident,
            volume_id=volume_id,
            instance_uuid=instance_uuid,
            attach_mode=sharing.READ_ONLY if volume.readonly else reservation.mode,
            agent_host=reservation.agent_host,
            mountpoint=reservation.mountpoint,
            tag=reservation.tag,
            delete_on_termination=reservation.delete_on_termination,
        )
        try:
            transitions.add_attachment(work, row, actor_of(ctx), volume, if_room=not counts)
        except errors.InvalidTransition:
            room = locks.read_room(work, volume_id, instance_uuid)
            sharing.check_reserve(facts, room.mine, room.others)
            raise
        orm.attributes.set_committed_value(row, 'volume', volume)
        return row

    def _check_initiator(self, work: Work, volume_id: str, reservation: Reservation) -> None:
        """Say at once what the connect would say later, when nobody waits for an answer any more."""
        row = models.Attachment
        mine = sa.or_(row.agent_host == reservation.agent_host, row.initiator == reservation.initiator)
        for other in db_attachments.list_sharers(work, volume_id, mine):
            if other.state not in states.PLACELESS:
                raise sharing.shares_initiator(other.id)

    def _is_capped(self, volume: models.Volume | locks.LockedVolume, allowance: locks.Allowance) -> bool:
        return self._quotas.limits_attachments(allowance.limit) or (
            volume.multiattach and self._find_cap(allowance) is not None
        )

    def _find_cap(self, allowance: locks.Allowance) -> int | None:
        return extra_specs.parse_max_attachments(allowance.cap) or self._most or None

    def check_room(
        self, work: Work, volume: models.Volume | locks.LockedVolume, room: locks.Room, allowance: locks.Allowance
    ) -> None:
        """Refuse a server too many, by the cap of the volume's type and by the project's quota.

        :param room: read in this transaction, as *allowance*.
        :raises InvalidVolume: the cap is reached.
        :raises QuotaExceeded: the quota is used up.
        """
        if volume.multiattach:
            sharing.check_cap(room.mine, room.servers, self._find_cap(allowance))
        if not room.mine:
            self._quotas.check_attachments(work, volume.project_id, allowance.limit)

    # -- connecting ----------------------------------------------------------------------------

    def connect(self, ctx: RequestContext, attachment_id: str, raw: Mapping[str, Any]) -> db_attachments.Shown:
        """Give an attachment its connector: the target admits the initiator.

        Repeated with the same connector it returns the same, with the target's address of today. One that was
        completed without a connector gets its first one so: a shelved server comes back. Where a server has
        the attachment, what opens the target is told again to admins and services only.

        :raises InvalidConnector: host or initiator is missing.
        :raises Conflict: the sharing rules say no (contract 2.2).
        :raises BackendError: the worker failed; the attachment is ``reserved`` again.
        :raises OutcomeUnknown: no answer in time; repeat it.
        """
        wanted = connection.parse_connector(raw)
        order, is_first = self._begin_connect(ctx, attachment_id, wanted)
        if order is not None:
            self._orders.export(order, ctx.request_id)
        attachment = self.show_own(attachment_id)
        if attachment.connection_info is None:
            raise errors.changed_meanwhile(attachment_id)
        if not is_first and attachment.instance_uuid is not None and not ctx.sees_secrets:
            # Mostly it was Nova that connected it, and what opens the target is the host's, not the user's.
            return attachment._replace(connection_info=connection.hide_secrets(attachment.connection_info))
        return attachment

    @database.retry
    def _begin_connect(
        self, ctx: RequestContext, attachment_id: str, wanted: connection.Connector
    ) -> tuple[ExportOrder | None, bool]:
        """Write the intent; return the order for the worker, if any, and whether this is the first connector."""
        with self._db.transaction() as work:
            row = self._lock(work, ctx, attachment_id, 'volume:attachment_update', with_info=True)
            return self._orders.begin_connect(work, row, wanted, actor_of(ctx))

    @database.retry
    def complete(self, ctx: RequestContext, attachment_id: str) -> None:
        """Mark an attachment as attached (contract 2.3).

        Legal without connector (shelved servers), and again when it is attached already.

        :raises InvalidAttachment: it is in no state, or its volume in no status, to be completed
            (contract 11.4 number 8).
        """
        with self._db.transaction() as work:
            row = self._lock(work, ctx, attachment_id, 'volume:attachment_complete')
            if row.volume.status in states.WITHOUT_STORAGE:
                raise errors.InvalidAttachment(
                    f'The volume is {row.volume.status}: the attachment cannot be completed.'
                )
            if row.state == states.Attachment.ATTACHED:
                return
            try:
                transitions.move(work, row, 'complete', actor_of(ctx), attached_at=row.attached_at or models.now())
            except errors.InvalidTransition as exc:
                raise errors.InvalidAttachment(
                    f'The attachment is {states.public_status(row.state)}: it cannot be completed.'
                ) from exc
            oddities.warn_unconnected(work, row)
        failpoints.reach('engine.complete.written')

    # -- leaving -------------------------------------------------------------------------------

    def delete(self, ctx: RequestContext, attachment_id: str) -> list[Summary]:
        """Take an attachment from its target and remove it.

        :returns: the attachments that remain on the volume (contract 2.4).
        :raises Conflict: the compute endpoint uses it (contract 7.3).
        :raises BackendError: the target refused; ``error_detaching``, delete again.
        :raises OutcomeUnknown: no answer in time; repeat it.
        """
        volume_id, begun = self._begin_delete(ctx, attachment_id, asked=False)
        while isinstance(begun, ServerUse):
            self._guard.ask(ctx, begun)
            volume_id, begun = self._begin_delete(ctx, attachment_id, asked=True)
        if begun is None:
            failpoints.reach('engine.delete.removed')
        elif self._orders.unexport(begun, ctx.request_id):
            return []
        return self._list_left(volume_id)

    @database.retry
    def _list_left(self, volume_id: str) -> list[Summary]:
        with self._db.rows() as rows:
            return db_attachments.list_left(rows, volume_id)

    @database.retry
    def _begin_delete(
        self, ctx: RequestContext, attachment_id: str, *, asked: bool
    ) -> tuple[str, ExportOrder | ServerUse | None]:
        """Write the intent; return the volume, and what is to be ordered, or what Nova is to be asked about before."""
        with self._db.transaction() as work:
            row = self._lock(work, ctx, attachment_id, 'volume:attachment_delete')
            usage = ServerUse(row.id, row.volume_id, row.instance_uuid, row.has_connector, row.agent_host)
            # A server that was cut off does not use the volume, whatever its host or Nova believe.
            alive = row.state not in states.PLACELESS
            if alive and self._guard.must_ask(ctx, usage) and not asked:
                return row.volume_id, usage
            return row.volume_id, leave_target(work, row, actor_of(ctx))

    @database.retry
    def cancel(self, ctx: RequestContext, attachment_id: str) -> None:
        """Take back a reservation whose connect failed."""
        with self._db.transaction() as work:
            row = locks.lock_attachment(work, attachment_id)
            if row.state not in states.ON_TARGET:  # else another request has it in work
                transitions.move(work, row, 'remove', actor_of(ctx))

    # -- shared --------------------------------------------------------------------------------

    @database.retry
    def show_own(self, attachment_id: str) -> db_attachments.Shown:
        """Read an attachment on which the caller has just acted.

        :raises AttachmentNotFound: it vanished meanwhile.
        """
        with self._db.rows() as rows:
            return db_attachments.show(rows, attachment_id)

    def _lock(
        self, work: Work, ctx: RequestContext, attachment_id: str, rule: str, *, with_info: bool = False
    ) -> locks.LockedAttachment:
        row = locks.lock_attachment(work, attachment_id, with_info=with_info)
        self._check(ctx, row, attachment_id, rule)
        return row

    def _check(self, ctx: RequestContext, row: transitions.Row, attachment_id: str, rule: str) -> None:
        self._policy.check_visible(ctx, row.volume, errors.AttachmentNotFound(attachment_id))
        self._policy.check(ctx, rule, row.volume.project_id)
