# SPDX-License-Identifier: Apache-2.0
"""Fences: cutting off what a dead or cut-off host may still write to, with proof.

The intent is written first. Then the volume worker takes leave and account away, ends the sessions and
reads the target again; only what it saw there is proof. The host, its agent and libvirt are not asked.
"""

import concurrent.futures
import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from oslo_log import log

from multiattach import backoff, failpoints
from multiattach.db import database, fences, hosts as db_hosts, locks, models, moves
from multiattach.db.commits import Work
from multiattach.domain import errors, host_names, states
from multiattach.domain.services import HOST_BINARY
from multiattach.engine.attachments import actor_of
from multiattach.engine.context import RequestContext
from multiattach.engine.policy import Policy
from multiattach.engine.services import Services
from multiattach.rpc.clients import ExportOrder, FenceWorkers, HostAgents, VolumeWorkers

LOG = log.getLogger(__name__)
A = states.Attachment
R = TypeVar('R')

# Backends that are asked at once.
_PARALLEL = 8
# Volumes whose intents are written in one transaction.
_CHUNK = 50
_PAUSE, _LONGEST_PAUSE = 0.1, 1.0  # s
_NO_BACKEND = 'The volume has no backend: nothing of it was ever exported.'


@dataclasses.dataclass(frozen=True)
class FencedAttachment:
    """An attachment that a fence is about.

    :param host: host that it was connected from, or is to be.
    :param proof: what the worker saw; None if there is no proof (yet).
    :param agent: host agent that drives it, or None.
    """

    id: str
    volume_id: str
    server_id: str | None
    host: str | None
    proof: dict[str, Any] | None = None
    error: str | None = None
    agent: str | None = None


@dataclasses.dataclass(frozen=True)
class HostFence:
    """A fenced host and what it had.

    :param is_known: an agent, a server or an attachment is of this name.
    :param is_expected: the caller said that it need not be known yet.
    :param near: known names that may have been meant, if it is not.
    """

    mark: models.FencedHost
    attachments: list[FencedAttachment]
    is_known: bool = True
    is_expected: bool = False
    near: tuple[str, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether there is a proof for all that it had; that of a misspelt host proves nothing."""
        return (self.is_known or self.is_expected) and all(one.proof is not None for one in self.attachments)


@dataclasses.dataclass(frozen=True)
class UnfencedHost:
    """A host that may have volumes again.

    :param is_known: it had a mark, or an agent, a server or an attachment is of this name.
    :param near: known names that may have been meant, if it is not.
    """

    host: str
    was_fenced: bool
    is_known: bool
    near: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class _Cut:
    """One initiator of one volume, and its attachments."""

    order: ExportOrder | None
    rows: list[FencedAttachment]


class Fences:
    """Use cases of people and services who cut off what may still be writing."""

    def __init__(
        self,
        db: database.Database,
        policy: Policy,
        services: Services,
        workers: VolumeWorkers,
        agents: HostAgents,
        patience: float,
    ) -> None:
        self._db = db
        self._policy = policy
        self._services = services
        self._workers = workers
        self._agents = agents
        self.patience = patience

    # -- one attachment ------------------------------------------------------------------------

    def fence_attachment(
        self, ctx: RequestContext, attachment_id: str, *, force: bool = False
    ) -> list[FencedAttachment]:
        """Cut an attachment's initiator off its volume; repeating it reads the target again.

        :param force: also if other attachments of the volume share the initiator: they are cut off with it.
        :raises Conflict: others share the initiator, and it is not forced.
        :raises Unavailable: the worker does not report; it cuts when it is back.
        :raises OutcomeUnknown: no answer in time; repeat it.
        :raises BackendError: the target refused; the worker tries again.
        """
        cut = self._begin(ctx, attachment_id, force=force)
        if cut.order is None:
            raise errors.InvalidVolume(_NO_BACKEND)
        failpoints.reach('engine.fence.written')
        proof = self._carry_out(cut.order, ctx.request_id)
        failpoints.reach('engine.fence.answered')
        self._tell_agents(cut.rows, ctx.request_id)
        return [dataclasses.replace(row, proof=proof) for row in cut.rows]

    @database.retry
    def _begin(self, ctx: RequestContext, attachment_id: str, *, force: bool) -> _Cut:
        with self._db.writer() as session:
            row = locks.lock_attachment(session, attachment_id)
            if not ctx.is_service_request:
                self._policy.check_visible(ctx, row.volume, errors.AttachmentNotFound(attachment_id))
            self._policy.check(ctx, 'multiattach:attachment_fence', row.volume.project_id)
            mates = _list_mates(session, row)
            if mates and not force:
                raise errors.Conflict(
                    f'The initiator of attachment {row.id} also serves '
                    f'{", ".join(f"attachment {one.id} (server {one.instance_uuid})" for one in mates)}. '
                    'They would be cut off with it: fence with "force", or the whole host.'
                )
            rows = [row, *mates]
            moves.move_each(session, filter(_is_to_cut, rows), 'fence', actor_of(ctx))
            return _plan_cut(rows)

    # -- a host --------------------------------------------------------------------------------

    def fence_host(
        self,
        ctx: RequestContext,
        host: str,
        *,
        out_of_service: bool = False,
        reason: str | None = None,
        expected: bool = False,
    ) -> HostFence:
        """Cut off all that a host has, and keep it from getting more; repeating it goes on.

        One that nobody knows is marked all the same, as it may be about to appear; but the fence is not
        complete then, as another host may be meant.

        :param out_of_service: remove the attachments, too, once they are cut off.
        :param expected: the host need not be known yet.
        """
        self._policy.check(ctx, 'multiattach:host_fence')
        host_names.check(host)
        row = self._mark(ctx, host, out_of_service, reason)
        LOG.warning('Host %s is fenced', host)
        cuts, done = self._begin_host(ctx, host)
        by_backend: dict[str, dict[str, _Cut]] = {}
        for cut in cuts:
            if cut.order is not None:
                by_backend.setdefault(cut.order.host, {})[cut.order.attachment_id] = cut
        if by_backend:
            with concurrent.futures.ThreadPoolExecutor(min(_PARALLEL, len(by_backend)), 'fence') as pool:
                for rows in pool.map(lambda some: self._try_all(some, ctx.request_id), by_backend.values()):
                    done += rows
        self._tell_agents(done, ctx.request_id)
        if row.out_of_service:
            proven = sorted((one for one in done if one.proof is not None), key=lambda one: one.volume_id)
            for number in range(0, len(proven), _CHUNK):
                self._remove(ctx, proven[number : number + _CHUNK])
        # What was found to cut off is of the host, whatever else knows it.
        known, near = (True, ()) if done else self._recognise(host)
        if not known and not expected:
            LOG.warning('Nobody knows the fenced host %s.%s', host, host_names.suggest(near))
        return HostFence(row, sorted(done, key=lambda one: (one.volume_id, one.id)), known, expected, near)

    @database.retry
    def _recognise(self, host: str) -> tuple[bool, tuple[str, ...]]:
        """Tell whether anything has a name, and if not, which other names there are like it."""
        with self._db.reader() as session:
            if db_hosts.is_known(session, host, HOST_BINARY):
                return True, ()
            return False, tuple(host_names.find_near(host, db_hosts.list_names(session, HOST_BINARY)))

    def unfence_host(self, ctx: RequestContext, host: str) -> UnfencedHost:
        """Let a host have volumes again; what was cut off stays so."""
        self._policy.check(ctx, 'multiattach:host_unfence')
        host_names.check(host)
        if self._unmark(host):
            LOG.warning('Host %s is fenced no more', host)
            return UnfencedHost(host, True, True)
        return UnfencedHost(host, False, *self._recognise(host))

    @database.retry
    def _unmark(self, host: str) -> bool:
        with self._db.writer() as session:
            return fences.unmark(session, host)

    @database.retry
    def _mark(self, ctx: RequestContext, host: str, out_of_service: bool, reason: str | None) -> models.FencedHost:
        with self._db.writer() as session:
            return fences.mark(
                session,
                models.FencedHost(
                    host=host,
                    fenced_at=models.now(),
                    out_of_service=out_of_service,
                    reason=reason,
                    request_id=ctx.request_id,
                ),
            )

    def _begin_host(self, ctx: RequestContext, host: str) -> tuple[list[_Cut], list[FencedAttachment]]:
        """Write the intents; return what to cut, and what needs no worker."""
        cuts, done = [], []
        volume_ids = self._list_volumes(host)
        for number in range(0, len(volume_ids), _CHUNK):
            for cut in self._begin_chunk(ctx, host, volume_ids[number : number + _CHUNK]):
                if cut.order is None:
                    done += cut.rows
                else:
                    cuts.append(cut)
        return cuts, done

    @database.retry
    def _list_volumes(self, host: str) -> list[str]:
        with self._db.reader() as session:
            return fences.list_volumes_of(session, host)

    @database.retry
    def _begin_chunk(self, ctx: RequestContext, host: str, volume_ids: Sequence[str]) -> list[_Cut]:
        with self._db.transaction() as work:
            volumes = locks.lock_volumes(work, volume_ids)
            groups: dict[tuple[str, str], list[locks.LockedAttachment]] = {}
            rows = fences.list_of_host(work, host, volumes)
            for row in rows:
                groups.setdefault((row.volume_id, row.initiator or row.id), []).append(row)
            moves.move_each(work, filter(_is_to_cut, rows), 'fence', actor_of(ctx))
            return [_plan_cut(some) for some in groups.values()]

    def _try_all(self, cuts: dict[str, _Cut], request_id: str | None) -> list[FencedAttachment]:
        """Have one backend cut all; where no answer came, the rows tell."""
        deadline = time.monotonic() + self.patience
        orders = [cut.order for cut in cuts.values() if cut.order is not None]
        answers: dict[str, dict[str, Any]] = {}
        unknown: errors.OutcomeUnknown | None = None
        try:
            failpoints.reach('engine.fence.written')
            answers = self._ask(orders[0].host, lambda workers: workers.fence_many(orders, request_id))
        except errors.OutcomeUnknown as exc:
            unknown = exc
        except errors.MultiattachError as exc:
            answers = {one.attachment_id: {'error': exc.message} for one in orders}
        for order in orders:
            if unknown is None:
                continue
            try:
                answers[order.attachment_id] = self._await(order, deadline, unknown)
            except errors.MultiattachError as exc:
                answers[order.attachment_id] = {'error': exc.message}
        return [
            dataclasses.replace(row, error=answer['error'])
            if 'error' in answer
            else dataclasses.replace(row, proof=answer)
            for ident, answer in answers.items()
            for row in cuts[ident].rows
        ]

    @database.retry
    def _remove(self, ctx: RequestContext, some: Sequence[FencedAttachment]) -> None:
        with self._db.transaction() as work:
            volumes = locks.lock_volumes(work, [one.volume_id for one in some])
            row = models.Attachment
            left = locks.read_attachments(work, volumes, row.id.in_([one.id for one in some]), row.state == A.FENCED)
            moves.move_each(work, left, 'remove', actor_of(ctx), ended=True)

    # -- shared --------------------------------------------------------------------------------

    def _carry_out(self, order: ExportOrder, request_id: str | None) -> dict[str, Any]:
        """Have a worker cut; if its answer is lost, the row tells."""
        deadline = time.monotonic() + self.patience
        try:
            return self._ask(order.host, lambda workers: workers.fence(order, request_id))
        except errors.OutcomeUnknown as unknown:
            return self._await(order, deadline, unknown)

    def _ask(self, host: str, ask: Callable[[FenceWorkers], R]) -> R:
        """Ask a worker; if it hangs, the next one of its cluster, to whom the broker gives the next order."""
        workers = self._choose(host)
        try:
            return ask(workers)
        except errors.Unanswered:
            if not self._services.is_shared(host):
                raise
        return ask(workers)

    def _choose(self, host: str) -> FenceWorkers:
        """Choose whom to ask: threads that do nothing but fence, if the worker has any."""
        return self._workers.fencing if self._services.fences_apart(host) else self._workers

    def _await(self, order: ExportOrder, deadline: float, unknown: errors.OutcomeUnknown) -> dict[str, Any]:
        """Wait until the row has a proof; not for a worker that does not report."""

        def is_done(seen: Any) -> bool:
            if seen is None or seen.state != A.FENCING:
                return True
            if any(one.is_up for one in self._services.list_backends() if one.host == order.host):
                return False
            raise errors.Unavailable(
                f'The volume worker {order.host} does not report: restart it, or have another one '
                'serve the backend. It cuts as soon as it runs; there is no proof yet.'
            ) from unknown

        left = deadline - time.monotonic()
        row = backoff.poll(lambda: self._read(order.attachment_id), is_done, left, first=_PAUSE, most=_LONGEST_PAUSE)
        if row is None or row.state != A.FENCED or not row.fence_proof:
            raise unknown
        proof: dict[str, Any] = row.fence_proof
        return proof

    @database.retry
    def _read(self, attachment_id: str) -> models.Attachment | None:
        with self._db.reader() as session:
            return fences.get_proof(session, attachment_id)

    def _tell_agents(self, rows: Sequence[FencedAttachment], request_id: str | None) -> None:
        """Have agents that live take the disks away; one that does not finds out when it is back."""
        for agent in sorted({row.agent for row in rows if row.agent is not None}):
            self._agents.sweep(agent, request_id)


def _list_mates(work: Work, row: locks.LockedAttachment) -> list[locks.LockedAttachment]:
    """List who is cut off with an attachment: others of its volume that use its initiator."""
    if row.initiator is None or row.state == A.FENCED:
        return []
    return [one for one in fences.list_same_initiator(work, row.volume, row.initiator) if one.id != row.id]


def _is_to_cut(row: locks.LockedAttachment) -> bool:
    """Tell whether the intent is to be written: what is fenced stays so, and without a backend there is nothing."""
    return row.volume.host is not None and row.state != A.FENCED


def _plan_cut(rows: Sequence[locks.LockedAttachment]) -> _Cut:
    """Plan the cut of one initiator, whose attachments these are."""
    volume = rows[0].volume
    shown = [
        FencedAttachment(
            row.id, row.volume_id, row.instance_uuid, row.attached_host or row.agent_host, agent=row.agent_host
        )
        for row in rows
    ]
    if volume.host is None:
        return _Cut(None, [dataclasses.replace(row, error=_NO_BACKEND) for row in shown])
    first = next((row for row in rows if row.state != A.FENCED), rows[0])
    return _Cut(ExportOrder(volume.host, volume.id, first.id), shown)
