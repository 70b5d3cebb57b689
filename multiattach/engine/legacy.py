# SPDX-License-Identifier: Apache-2.0
"""The actions by which servers were attached before there were attachments (contract 6).

They are told in attachments, so that one state machine has all of it: os-initialize_connection
makes an exported attachment without a server, os-attach completes it, os-terminate_connection
takes its connection away and os-detach the rest: Nova calls both, in this order.
"""

import contextlib
import dataclasses
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy.orm import Session

from multiattach.db import attachments as db_attachments, database, locks, models, transitions
from multiattach.domain import connection, errors, sharing, states
from multiattach.engine.access import lock_volume
from multiattach.engine.attachments import Attachments, actor_of
from multiattach.engine.context import RequestContext
from multiattach.engine.guard import Guard, ServerUse, refuse
from multiattach.engine.policy import Policy
from multiattach.rpc.clients import ExportOrder
from multiattach.steps import oddities
from multiattach.steps.orders import Orders, leave_target

_ACTIONS = 'volume_extension:volume_actions:'
_ADMIN = 'volume_extension:volume_admin_actions:'
Pick = Callable[[list[models.Attachment]], models.Attachment | None]


@dataclasses.dataclass(frozen=True)
class LegacyAttach:
    """What os-attach says.

    :param host_name: name of a host that attaches without a server, or None.
    """

    mountpoint: str
    instance_uuid: str | None = None
    host_name: str | None = None
    mode: str | None = None


class LegacyActions:
    """Use cases of the legacy actions."""

    def __init__(
        self, db: database.Database, policy: Policy, attachments: Attachments, guard: Guard, orders: Orders
    ) -> None:
        self._db = db
        self._policy = policy
        self._attachments = attachments
        self._guard = guard
        self._orders = orders

    # -- attaching -----------------------------------------------------------------------------

    @database.retry
    def attach(self, ctx: RequestContext, volume_id: str, wish: LegacyAttach) -> None:
        """Mark a volume as attached (os-attach).

        :raises InvalidVolume: the sharing rules say no, or nobody can tell whose connection is meant.
        """
        with self._db.writer() as session:
            volume = lock_volume(session, self._policy, ctx, volume_id, _ACTIONS + 'attach')
            rows = db_attachments.list_with_connectors(session, volume_id)
            row = _find_attach(rows, wish)
            if row is None:
                _check_no_connection(volume, rows)
                row = self._insert(session, ctx, volume, rows, wish)
            if row.state != states.Attachment.ATTACHED:
                transitions.move_attachment(
                    session,
                    row.id,
                    'complete',
                    actor_of(ctx),
                    instance_uuid=wish.instance_uuid,
                    mountpoint=wish.mountpoint,
                    attached_host=row.attached_host or wish.host_name,
                    attached_at=row.attached_at or models.now(),
                )
                oddities.warn_unconnected(session, row)
            marks = states.MARKS.get(volume.claim, states.Marks())
            transitions.derive_volume(session, volume_id, claim=marks._replace(attaching=False).claim)

    def _insert(
        self,
        session: Session,
        ctx: RequestContext,
        volume: models.Volume,
        rows: list[models.Attachment],
        wish: LegacyAttach,
    ) -> models.Attachment:
        mine = [r for r in rows if wish.instance_uuid and r.instance_uuid == wish.instance_uuid]
        status = volume.status
        if volume.claim in states.ATTACHING_CLAIMS and not rows:
            status = states.Volume.AVAILABLE  # os-reserve took the place for this call
        sharing.check_reserve(sharing.VolumeFacts(status, volume.multiattach), len(mine), len(rows) - len(mine))
        self._check_room(session, volume, wish.instance_uuid)
        row = models.Attachment(
            id=str(uuid.uuid4()),
            volume_id=volume.id,
            instance_uuid=wish.instance_uuid,
            attach_mode=sharing.decide_mode(wish.mode, None, bool(volume.readonly)),
            attached_host=wish.host_name,
            connector=None,
            connection_info=None,
            attached_at=None,
        )
        transitions.add_attachment(session, row, actor_of(ctx))
        return row

    def _check_room(self, session: Session, volume: models.Volume, server: str | None) -> None:
        room = locks.read_room(session, volume.id, server)
        self._attachments.check_room(session, volume, room, locks.read_allowance(session, volume.id))

    def initialize_connection(self, ctx: RequestContext, volume_id: str, raw: Mapping[str, Any]) -> dict[str, Any]:
        """Have an initiator admitted (os-initialize_connection); repeating it is harmless.

        :returns: flat connection_info (contract 8.2).
        """
        ident, is_new = self._find_or_reserve(ctx, volume_id, connection.parse_connector(raw))
        try:
            info: dict[str, Any] = self._attachments.connect(ctx, ident, raw).connection_info
        except errors.MultiattachError:
            if is_new:  # nobody would take the reservation back; what is in work is left alone
                with contextlib.suppress(errors.MultiattachError):
                    self._attachments.cancel(ctx, ident)
            raise
        return info

    @database.retry
    def _find_or_reserve(self, ctx: RequestContext, volume_id: str, wanted: connection.Connector) -> tuple[str, bool]:
        """Return the attachment that a connector has, or is to have, and whether it was made now."""
        with self._db.writer() as session:
            volume = lock_volume(session, self._policy, ctx, volume_id, _ACTIONS + 'initialize_connection')
            rows = db_attachments.list_with_connectors(session, volume_id)
            # os-reserve came before: one more server of a host that has the volume already
            joins = volume.multiattach and volume.claim in states.ATTACHING_CLAIMS
            for row in rows:
                if _is_connected(row, wanted.raw) and not (joins and row.state == states.Attachment.ATTACHED):
                    return row.id, False
            if volume.status not in states.DERIVED_STATUSES:
                raise errors.InvalidVolume(f'The volume is {volume.status}.')
            server, ident = None if volume.multiattach else _migrating(rows), str(uuid.uuid4())
            self._orders.name_initiator(session, volume.host, ident, wanted)  # a reservation would stay
            self._check_room(session, volume, server)
            row = models.Attachment(
                id=ident,
                volume_id=volume_id,
                attach_mode=None,
                connector=None,
                instance_uuid=server,
                connection_info=None,
            )
            transitions.add_attachment(session, row, actor_of(ctx))
            transitions.derive_volume(session, volume_id)
            return row.id, True

    # -- leaving -------------------------------------------------------------------------------

    def terminate_connection(self, ctx: RequestContext, volume_id: str, raw: Mapping[str, Any] | None) -> None:
        """Have an initiator turned away (os-terminate_connection).

        An attached server keeps its attachment until os-detach, so that os-detach finds it.

        :param raw: connector; None for the only one there is.
        :raises Conflict: the compute service uses it, or nobody can tell which one is meant.
        """

        def pick(rows: list[models.Attachment]) -> models.Attachment | None:
            return _find_connection(rows, raw) if raw else _only(rows)

        self._leave(ctx, volume_id, _ACTIONS + 'terminate_connection', pick, disconnect=True)

    def detach(self, ctx: RequestContext, volume_id: str, attachment_id: str | None) -> None:
        """Take a volume from a server (os-detach); others keep theirs (contract 11.4 number 6).

        :param attachment_id: UUID; None for the only one there is.
        :raises InvalidVolume: the attachment belongs to another volume.
        :raises Conflict: the compute service uses it, or nobody can tell which one is meant.
        """
        self._leave(ctx, volume_id, _ACTIONS + 'detach', lambda rows: self._named(ctx, rows, attachment_id))

    def force_detach(self, ctx: RequestContext, volume_id: str, attachment_id: str | None) -> None:
        """Do as :meth:`detach`, for admins (os-force_detach)."""
        self._leave(ctx, volume_id, _ADMIN + 'force_detach', lambda rows: self._named(ctx, rows, attachment_id))

    def _named(
        self, ctx: RequestContext, rows: list[models.Attachment], attachment_id: str | None
    ) -> models.Attachment | None:
        if attachment_id is None:
            return _only(rows)
        found = next((r for r in rows if r.id == attachment_id), None)
        if found is None and not ctx.is_service_request:
            self._check_unknown(attachment_id)
        return found

    @database.retry
    def _check_unknown(self, attachment_id: str) -> None:
        """Refuse an id that is of another volume, or of nobody (contract 7.3 steps 3 and 4)."""
        with self._db.reader() as session:
            try:
                db_attachments.get(session, attachment_id)
            except errors.AttachmentNotFound:
                refuse('')
        raise errors.InvalidVolume('The attachment belongs to another volume.')

    def _leave(self, ctx: RequestContext, volume_id: str, rule: str, pick: Pick, *, disconnect: bool = False) -> None:
        begun = self._begin_leave(ctx, volume_id, rule, pick, disconnect, asked=None)
        while isinstance(begun, ServerUse):  # again, if another attachment is meant by now
            self._guard.ask(ctx, begun)
            begun = self._begin_leave(ctx, volume_id, rule, pick, disconnect, asked=begun.attachment_id)
        if begun is not None:
            self._orders.unexport(begun, ctx.request_id)

    @database.retry
    def _begin_leave(
        self, ctx: RequestContext, volume_id: str, rule: str, pick: Pick, disconnect: bool, *, asked: str | None
    ) -> ExportOrder | ServerUse | None:
        """Write the intent; return what is to be ordered, or what Nova is to be asked about before."""
        with self._db.writer() as session:
            volume = lock_volume(session, self._policy, ctx, volume_id, rule)
            row = pick(db_attachments.list_with_connectors(session, volume_id))
            if row is None:
                marks = states.MARKS.get(volume.claim, states.Marks())
                transitions.derive_volume(session, volume_id, claim=marks.end_detaching().claim)
                return None
            usage = ServerUse(row.id, volume_id, row.instance_uuid, row.has_connector, row.agent_host)
            if self._guard.must_ask(ctx, usage) and asked != row.id:
                return usage
            if row.state == states.Attachment.UNEXPORTING and volume.host is not None:
                return ExportOrder(volume.host, volume_id, row.id)
            full = db_attachments.get(session, row.id)
            if disconnect and row.state == states.Attachment.ATTACHED:
                if row.connector is None:
                    return None
                leaving = self._split_connection(session, ctx, full)
                transitions.derive_volume(session, volume_id)
                return ExportOrder(str(volume.host), volume_id, leaving)
            return leave_target(session, full, actor_of(ctx))

    def _split_connection(self, session: Session, ctx: RequestContext, row: models.Attachment) -> str:
        """Give an attachment's connection to a row of its own that leaves; the attachment stays."""
        leaving = models.Attachment(
            id=str(uuid.uuid4()),
            volume_id=row.volume_id,
            instance_uuid=row.instance_uuid,
            attach_mode=row.attach_mode,
            attached_host=row.attached_host,
            initiator=row.initiator,
            connector=row.connector,
            connection_info=row.connection_info,
        )
        transitions.add_attachment(session, leaving, actor_of(ctx))
        transitions.move_attachment(
            session,
            row.id,
            'complete',
            actor_of(ctx),
            connector=None,
            connection_info=None,
            initiator=None,
            attached_host=None,
        )
        for event in ('export', 'unexport'):
            transitions.move_attachment(session, leaving.id, event, actor_of(ctx))
        return str(leaving.id)


def _find_attach(rows: list[models.Attachment], wish: LegacyAttach) -> models.Attachment | None:
    """Find the attachment that os-attach means: the server's, or else what waits on the host for one."""
    if wish.instance_uuid is not None:
        mine = [row for row in rows if row.instance_uuid == wish.instance_uuid]
        if mine:
            return next((row for row in mine if row.attached_host == wish.host_name), mine[0])
    waiting = [
        row
        for row in rows
        if row.instance_uuid is None
        and (
            row.state == states.Attachment.EXPORTED  # os-initialize_connection came before
            or wish.instance_uuid is None
        )
    ]
    if wish.host_name is not None:
        waiting = [row for row in waiting if row.attached_host == wish.host_name]
    if len(waiting) > 1:
        hosts = ', '.join(sorted({str(row.attached_host) for row in waiting}))
        raise errors.InvalidVolume(
            f'Invalid volume: several connections wait for a server (hosts: {hosts}), and nobody can tell '
            "which is this one's. Name the host in host_name, repeat the call when the others are done, or "
            'use attachments.'
        )
    return waiting[0] if waiting else None


def _check_no_connection(volume: models.Volume, rows: list[models.Attachment]) -> None:
    """Refuse a server for which no connection was made while others have theirs.

    Two servers of a host that come at once are given one connection: it would go with the first of them.
    """
    if volume.multiattach and any(row.connector for row in rows):
        raise errors.InvalidVolume(
            'Invalid volume: no connection waits for this server, and others have theirs. Call os-reserve '
            'and os-initialize_connection for it first, or use attachments.'
        )


def _is_connected(row: models.Attachment, raw: Mapping[str, Any]) -> bool:
    """Tell whether an attachment was connected with a connector: these calls name none."""
    known = row.connector or {}
    return bool(known) and (row.attached_host, known.get('initiator')) == (raw.get('host'), raw.get('initiator'))


def _find_connection(rows: list[models.Attachment], raw: Mapping[str, Any]) -> models.Attachment | None:
    """Find the attachment whose connection os-terminate_connection means.

    None if several servers of the host have the volume: the connection stays, and os-detach names
    who leaves (contract 8.3, rule a).
    """
    found = [row for row in rows if _is_connected(row, raw)]
    pending = [row for row in found if row.state != states.Attachment.ATTACHED]
    if pending or len(found) == 1:
        return (pending or found)[0]
    return None


def _migrating(rows: list[models.Attachment]) -> str | None:
    """Find the server for which a second host connects: the one that has the volume migrates."""
    servers = {row.instance_uuid for row in rows if row.state == states.Attachment.ATTACHED}
    return servers.pop() if len(servers) == 1 else None


def _only(rows: list[models.Attachment]) -> models.Attachment | None:
    if len(rows) > 1:
        refuse('')
    return rows[0] if rows else None
