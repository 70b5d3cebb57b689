# SPDX-License-Identifier: Apache-2.0
"""The server side where no Nova is deployed: libvirt domains and their volumes."""

import dataclasses
import re
import string
import uuid
from collections.abc import Iterator, Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session

from multiattach import failpoints
from multiattach.db import (
    attachments as db_attachments,
    database,
    fences,
    locks,
    models,
    paging,
    servers as db_servers,
    services as db_services,
    transitions,
)
from multiattach.domain import errors, states
from multiattach.domain.fences import explain_mark
from multiattach.domain.services import HOST_BINARY
from multiattach.engine.attachments import Attachments, Reservation, actor_of
from multiattach.engine.context import RequestContext
from multiattach.engine.policy import Policy
from multiattach.engine.services import Services
from multiattach.rpc.clients import ExportOrder, HostAgents
from multiattach.steps.orders import Orders, leave_target

_RULE = 'os_compute_api:os-volumes-attachments:'
_DEVICE = re.compile('/dev/vd[a-z]{1,2}')


@dataclasses.dataclass(frozen=True)
class ServerAttach:
    """What a user asks of an attach to a server.

    :param tag: device tag (compute 2.49).
    :param supports_multiattach: the microversion is 2.60 or later.
    :param mode: ``rw``, ``ro`` or None; the compute API has no word for it.
    """

    volume_id: str
    device: str | None = None
    tag: str | None = None
    delete_on_termination: bool = False
    supports_multiattach: bool = False
    mode: str | None = None


class Servers:
    """Use cases of the compute endpoint."""

    def __init__(
        self,
        db: database.Database,
        policy: Policy,
        attachments: Attachments,
        services: Services,
        agents: HostAgents,
        orders: Orders,
    ) -> None:
        self._db = db
        self._policy = policy
        self._attachments = attachments
        self._services = services
        self._agents = agents
        self._orders = orders

    @database.retry
    def show(self, ctx: RequestContext, server_id: str, rule: str = 'os_compute_api:servers:show') -> models.Server:
        with self._db.reader() as session:
            return self._load(session, ctx, server_id, rule)

    @database.retry
    def list_page(
        self,
        ctx: RequestContext,
        filters: Sequence[sa.ColumnElement[bool]],
        page: paging.Page,
        *,
        all_projects: bool = False,
    ) -> list[models.Server]:
        """List servers of the caller's project, or of all, which asks a rule of its own."""
        self._policy.check(ctx, 'os_compute_api:servers:index')
        scope = []
        if all_projects:
            self._policy.check(ctx, 'os_compute_api:servers:index:get_all_tenants')
        else:
            scope.append(models.Server.project_id == ctx.project)
        with self._db.reader() as session:
            return db_servers.list_page(session, [*filters, *scope], page)

    @database.retry
    def list_hosts(self, ctx: RequestContext) -> dict[str, str]:
        """Return by host ``UP``, ``DOWN`` or ``MAINTENANCE`` to callers who may know; None is told of other hosts."""
        if not self._policy.allows(ctx, 'os_compute_api:servers:show:host_status', None):
            return {}
        with self._db.reader() as session:
            rows = db_services.list_all(session, HOST_BINARY)
        return {
            row.host: 'MAINTENANCE' if row.disabled else 'UP' if self._services.is_up(row) else 'DOWN' for row in rows
        }

    def sees_hosts(self, ctx: RequestContext) -> bool:
        """Return whether a caller may see where servers run (``os_compute_api:os-extended-server-attributes``)."""
        return self._policy.allows(ctx, 'os_compute_api:os-extended-server-attributes', None)

    @database.retry
    def list_volumes(self, servers: Sequence[models.Server]) -> dict[str, list[models.Attachment]]:
        """List the volumes of servers that the caller has just loaded, by server id, failed attaches left out."""
        found: dict[str, list[models.Attachment]] = {server.id: [] for server in servers}
        if found:
            with self._db.reader() as session:
                for row in db_attachments.list_of_servers(session, found):
                    found[row.instance_uuid or ''].append(row)
        return found

    @database.retry
    def list_attachments(self, ctx: RequestContext, server_id: str) -> list[models.Attachment]:
        """List the volumes of a server, failed attaches left out."""
        with self._db.reader() as session:
            self._load(session, ctx, server_id, _RULE + 'index')
            return _alive(db_attachments.list_of_server(session, server_id))

    @database.retry
    def show_attachment(self, ctx: RequestContext, server_id: str, volume_id: str) -> models.Attachment:
        with self._db.reader() as session:
            self._load(session, ctx, server_id, _RULE + 'show')
            return self._find(session, server_id, volume_id, failed=False)

    @database.retry
    def update_attachment(
        self, ctx: RequestContext, server_id: str, volume_id: str, delete_on_termination: bool | None
    ) -> None:
        """Change whether a volume is to be deleted with its server; None leaves it as it is."""
        with self._db.writer() as session:
            self._load(session, ctx, server_id, _RULE + 'update')
            row = self._find(session, server_id, volume_id, failed=False)
            if delete_on_termination is not None:
                db_attachments.set_delete_on_termination(session, row.id, delete_on_termination)

    # -- attaching -----------------------------------------------------------------------------

    def attach(self, ctx: RequestContext, server_id: str, wish: ServerAttach) -> models.Attachment:
        """Reserve a volume for a server and have the server's host agent attach it.

        :raises InvalidVolume: the sharing rules say no, it is attached to this server already,
            or a multiattach volume is asked for below compute 2.60.
        :raises Conflict: the host is down or cannot share.
        """
        attachment = self._begin_attach(ctx, str(uuid.uuid4()), server_id, wish)
        assert attachment.agent_host is not None
        failpoints.reach('engine.server_attach.written')
        self._agents.attach(attachment.agent_host, attachment.id, ctx.request_id)
        return attachment

    @database.retry
    def _begin_attach(self, ctx: RequestContext, ident: str, server_id: str, wish: ServerAttach) -> models.Attachment:
        with self._db.writer() as session:
            server = self._load(session, ctx, server_id, _RULE + 'create', lock=True)
            existing = db_attachments.list_of_server(session, server_id)
            if any(row.volume_id == wish.volume_id for row in _alive(existing)):
                raise errors.InvalidVolume(
                    f'Invalid volume: volume {wish.volume_id} is already attached to instance {server_id}.'
                )
            agent = self._find_agent(session, server.host)
            reservation = Reservation(
                mode=wish.mode,
                agent_host=server.host,
                initiator=((agent.report if agent else None) or {}).get('connector', {}).get('initiator'),
                mountpoint=_pick_device(server, existing, wish.device),
                tag=wish.tag,
                delete_on_termination=wish.delete_on_termination,
            )
            attachment = self._attachments.reserve_in(session, ctx, ident, wish.volume_id, server_id, reservation)
            shared = attachment.volume.multiattach
            if shared and not wish.supports_multiattach:
                raise errors.InvalidVolume(
                    'Multiattach volumes are only supported starting with compute API version 2.60.'
                )
            self._check_host(session, server.host, agent, shared)
            db_attachments.remove_placeless_of(session, wish.volume_id, server_id)
            return attachment

    def _find_agent(self, session: Session, host: str) -> models.Service | None:
        return next((row for row in db_services.list_all(session, HOST_BINARY, host) if row.host == host), None)

    def _check_host(self, session: Session, host: str, agent: models.Service | None, shared: bool) -> None:
        mark = fences.find_mark(session, host)
        if mark is not None:
            raise errors.Conflict(explain_mark(mark.host, mark.fenced_at, mark.reason))
        if agent is None or not self._services.is_up(agent):
            raise errors.Conflict(f'The agent of host {host} is down; try again when it is up.')
        reason = (agent.report or {}).get('cannot_share')
        if shared and reason:
            raise errors.Conflict(f'Host {host} cannot share volumes: {reason}')

    # -- detaching -----------------------------------------------------------------------------

    def detach(self, ctx: RequestContext, server_id: str, volume_id: str) -> None:
        """Have a server's host agent detach a volume.

        :raises Conflict: the attach is still in flight.
        """
        attachment, order = self._begin_detach(ctx, server_id, volume_id)
        if attachment.state == states.Attachment.DETACHING:
            assert attachment.agent_host is not None
            failpoints.reach('engine.server_detach.written')
            self._agents.detach(attachment.agent_host, attachment.id, ctx.request_id)
        elif order is not None:
            self._orders.unexport(order, ctx.request_id)

    @database.retry
    def _begin_detach(
        self, ctx: RequestContext, server_id: str, volume_id: str
    ) -> tuple[models.Attachment, ExportOrder | None]:
        with self._db.writer() as session:
            self._load(session, ctx, server_id, _RULE + 'delete')
            ident = self._find(session, server_id, volume_id).id
            row = locks.lock_attachment(session, ident)
            order = None
            if row.state in states.PLACELESS:
                order = leave_target(session, row, actor_of(ctx))
            else:
                try:
                    transitions.move(session, row, 'detach', actor_of(ctx))
                except errors.InvalidTransition as exc:
                    raise errors.Conflict(
                        f'The volume is {states.public_status(row.state)} to the server; detach it when it is attached.'
                    ) from exc
            return db_attachments.reload(session, ident), order

    # -- shared --------------------------------------------------------------------------------

    def _load(
        self, session: Session, ctx: RequestContext, server_id: str, rule: str, *, lock: bool = False
    ) -> models.Server:
        server = db_servers.get(session, server_id, lock=lock)
        self._policy.check_visible(ctx, server, errors.ServerNotFound(server_id))
        self._policy.check(ctx, rule, server.project_id)
        return server

    def _find(self, session: Session, server_id: str, volume_id: str, *, failed: bool = True) -> models.Attachment:
        """Find the newest attachment; one whose attach failed only if it is asked for."""
        rows = db_attachments.list_of_server(session, server_id)
        for row in reversed(rows if failed else _alive(rows)):
            if row.volume_id == volume_id:
                return row
        raise errors.NotFound(f'Instance {server_id} is not attached to volume {volume_id}.')


def _alive(rows: list[models.Attachment]) -> list[models.Attachment]:
    return [row for row in rows if row.state not in states.PLACELESS]


def _pick_device(server: models.Server, rows: list[models.Attachment], wished: str | None) -> str:
    """Return the wished device name if it is free, else the next free virtio one."""
    taken = {f'/dev/{name}' for name in server.devices or []}
    taken |= {row.mountpoint for row in _alive(rows) if row.mountpoint}
    if wished is not None:
        if wished in taken:
            raise errors.Conflict(f'The supplied device path ({wished}) is in use.')
        if _DEVICE.fullmatch(wished):
            return wished
    for name in _device_names():
        if name not in taken:
            return name
    raise errors.InvalidInput('The server has no device name left.')


def _device_names() -> Iterator[str]:
    """Yield /dev/vdb to /dev/vdz, then /dev/vdaa on: vda is the server's own disk."""
    letters = string.ascii_lowercase
    yield from (f'/dev/vd{letter}' for letter in letters[1:])
    yield from (f'/dev/vd{one}{two}' for one in letters for two in letters)
