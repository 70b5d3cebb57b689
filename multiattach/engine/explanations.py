# SPDX-License-Identifier: Apache-2.0
"""Explanations of attachments and volumes: what happened, who acts next, and what a person can do."""

import dataclasses
import datetime
from collections.abc import Mapping, Sequence

from sqlalchemy.orm import Session

from multiattach.db import (
    blocklist,
    database,
    explanations as db_explanations,
    gateways as db_gateways,
    hosts as db_hosts,
    image_copies,
    leases as db_leases,
    migrations as db_migrations,
    models,
)
from multiattach.domain import errors, explanations, extra_specs, leases, migrations, sharing, states, timeline
from multiattach.domain.blocklist import Entry
from multiattach.domain.gateways import VolumeExport
from multiattach.domain.leases import Lease
from multiattach.domain.services import HOST_BINARY, VOLUME_BINARY
from multiattach.domain.states import Owner
from multiattach.engine.context import RequestContext
from multiattach.engine.hosts import ComputeHost, ComputeHosts
from multiattach.engine.policy import Policy
from multiattach.engine.services import Services
from multiattach.engine.truth import Truth, Witnesses

_INTERNALS = 'multiattach:explain_internals'


@dataclasses.dataclass(frozen=True)
class NextActor:
    """Who takes the next step.

    :param name: host of the worker or agent, None for people and clients.
    :param is_up: whether it reports; None if nobody of the service acts, or none has ever reported.
    :param lease: who is at the step, or when it is tried again; None for a step that is quick so far.
    """

    owner: Owner
    name: str | None
    is_up: bool | None
    lease: Lease | None = None


@dataclasses.dataclass(frozen=True)
class ExplainedAttachment:
    """An attachment and what there is to say of it.

    :param steps: its timeline, as the caller may read it; empty in an explanation of a volume.
    :param entries: instances of its host that Ceph's blocklist keeps out; for those who see hosts.
    :param truth: what is true now; None if nobody was asked.
    :param read_only_at: who keeps a server from writing that may only read: ``target``, or only ``host``; None of one
        that may write.
    """

    row: models.Attachment
    actor: NextActor
    outlook: explanations.Outlook
    error: str | None
    read_only_at: str | None
    steps: list[timeline.TimelineEntry] = dataclasses.field(default_factory=list)
    entries: list[Entry] = dataclasses.field(default_factory=list)
    truth: Truth | None = None


@dataclasses.dataclass(frozen=True)
class ExplainedVolume:
    """A volume and what there is to say of it.

    :param since: when it took its status; None if no row tells.
    :param truth: what is true now; None if nobody was asked.
    :param gateways: what is known of it at each, if it has several.
    """

    row: models.Volume
    actor: NextActor
    verdict: explanations.Verdict
    outlook: explanations.Outlook
    attachments: list[ExplainedAttachment]
    warning: str | None
    since: datetime.datetime | None
    truth: Truth | None = None
    gateways: Sequence[VolumeExport] = ()


@dataclasses.dataclass(frozen=True)
class ExplainedHost:
    """A compute host and what there is to say of it.

    :param truth: what is true now; None where no agent of this service is.
    """

    host: ComputeHost
    outlook: explanations.Outlook
    attachments: list[ExplainedAttachment]
    truth: Truth | None


class _Explainer:
    def __init__(
        self,
        volume: models.Volume,
        services: dict[tuple[str, str], bool],
        *,
        sees_internals: bool,
        holds_read_only: bool = False,
    ) -> None:
        self.volume = volume
        self._holds_read_only = holds_read_only
        #: read-only attachments whose initiators may write by others
        self.beside_writers: frozenset[str] = frozenset()
        self._services = services
        self.sees_internals = sees_internals
        self._now = models.now()
        self.leases: Mapping[str, Lease] = {}

    def seconds_since(self, moment: datetime.datetime) -> float:
        return max((self._now - moment).total_seconds(), 0.0)

    def find_actor(self, owner: Owner, agent_host: str | None) -> NextActor:
        if owner is Owner.VOLUME:
            return self._name(owner, VOLUME_BINARY, self.volume.host)
        if owner is Owner.HOST:
            return self._name(owner, HOST_BINARY, agent_host)
        return NextActor(owner, None, None)

    def _name(self, owner: Owner, binary: str, host: str | None) -> NextActor:
        return NextActor(owner, host, self._services.get((binary, host)) if host else None)

    def explain(self, row: models.Attachment, *, with_steps: bool) -> ExplainedAttachment:
        driven = row.agent_host is not None
        actor = self.find_actor(states.find_owner(row.state, by_agent=driven), row.agent_host)
        outlook = explanations.explain_attachment(
            explanations.AttachmentFacts(
                row.id, row.state, driven, self.seconds_since(row.state_at), row.error, actor.is_up
            )
        )
        lease = self.find_lease(row.id, row.state_at, row)
        if lease is not None and actor.owner in (Owner.VOLUME, Owner.HOST):
            actor = dataclasses.replace(actor, lease=lease)
            outlook = dataclasses.replace(outlook, next=f'{outlook.next} {leases.tell(lease)}')
        steps = timeline.parse(row.timeline, None if row.deleted_at else self._now) if with_steps else []
        return ExplainedAttachment(
            row,
            actor,
            outlook,
            self._show(row.error, row),
            self._find_read_only(row),
            steps if self.sees_internals else [self._cover(step, row) for step in steps],
        )

    def _find_read_only(self, row: models.Attachment) -> str | None:
        if row.attach_mode != sharing.READ_ONLY:
            return None
        return 'target' if self._holds_read_only and row.id not in self.beside_writers else 'host'

    def find_lease(self, ident: str, since: datetime.datetime, row: models.Attachment | None = None) -> Lease | None:
        lease = self.leases.get(ident)
        if lease is None or lease.since != since:  # of an earlier step
            return None
        error = lease.error if self.sees_internals or row is None else self._show(lease.error, row)
        return dataclasses.replace(lease, error=error)

    def _cover(self, step: timeline.TimelineEntry, row: models.Attachment) -> timeline.TimelineEntry:
        return dataclasses.replace(
            step, actor=timeline.name_role(step.actor), service=None, address=None, error=self._show(step.error, row)
        )

    def _show(self, error: str | None, row: models.Attachment) -> str | None:
        if error is None or self.sees_internals:
            return error
        backend = self.volume.host
        return timeline.hide_internals(
            error, (row.attached_host, row.agent_host, row.initiator, backend, backend and backend.partition('@')[0])
        )


class Explanations:
    """Use cases of people who ask what is going on."""

    def __init__(
        self, db: database.Database, policy: Policy, services: Services, hosts: ComputeHosts, witnesses: Witnesses
    ) -> None:
        self._db = db
        self._policy = policy
        self._services = services
        self._hosts = hosts
        self._witnesses = witnesses

    def sees_internals(self, ctx: RequestContext) -> bool:
        """Return whether a caller may see hosts, initiators and whole errors."""
        return ctx.is_service_request or self._policy.allows(ctx, _INTERNALS, None)

    def explain_attachment(self, ctx: RequestContext, attachment_id: str, *, live: bool = False) -> ExplainedAttachment:
        """Explain an attachment, one that is gone too.

        :param live: ask for what is true now, too, if the caller may see it.
        """
        found, explainer = self._explain_attachment(ctx, attachment_id)
        if not live or not self.sees_internals(ctx) or found.row.deleted_at is not None:
            return found
        return dataclasses.replace(found, truth=self._ask(explainer, [found], ctx.request_id))

    @database.retry
    def _explain_attachment(self, ctx: RequestContext, attachment_id: str) -> tuple[ExplainedAttachment, _Explainer]:
        with self._db.reader() as session:
            row = db_explanations.get_attachment(session, attachment_id)
            self._policy.check_visible(ctx, row.volume, errors.AttachmentNotFound(attachment_id))
            self._policy.check(ctx, 'multiattach:attachment_explain', row.volume.project_id)
            found = db_explanations.list_services(session, VOLUME_BINARY, (HOST_BINARY, [row.agent_host]))
            known = db_leases.list_of(session, _list_in_flight([row]))
            entries = self._list_entries(ctx, session, row)
            writers = db_explanations.list_beside_writers(session, [row])
        explainer = self._explainer(ctx, row.volume, found)
        explainer.leases, explainer.beside_writers = known, writers
        return dataclasses.replace(explainer.explain(row, with_steps=True), entries=entries), explainer

    def _list_entries(self, ctx: RequestContext, session: Session, row: models.Attachment) -> list[Entry]:
        if (row.fenced_at is None and row.state not in states.CUT_OFF) or not self.sees_internals(ctx):
            return []
        found = blocklist.list_of_volumes(session, [row.volume_id])
        return [one for one in found if one.reason.owner == row.initiator]

    def _ask(self, explainer: _Explainer, rows: list[ExplainedAttachment], request_id: str | None) -> Truth:
        hosts = {row.row.agent_host for row in rows if row.row.agent_host}
        return self._witnesses.ask_of_volume(
            explainer.volume.id,
            (explainer.volume.host, explainer.find_actor(Owner.VOLUME, None).is_up),
            [(host, explainer.find_actor(Owner.HOST, host).is_up) for host in sorted(hosts)],
            request_id,
        )

    def explain_host(self, ctx: RequestContext, name: str) -> ExplainedHost:
        """Explain a compute host: what is recorded, what is true, and what differs.

        :raises NotFound: no agent and no attachment names it, and it is not fenced.
        """
        self._policy.check(ctx, 'multiattach:host_explain')
        host, rows = self._hosts.load(name), self._explain_rows(ctx, name)
        truth = None
        if host.agent is not None:
            truth = self._witnesses.ask_of_host(name, host.agent_is_up, ctx.request_id)
        waiting = sum(row.outlook.owner is Owner.HOST for row in rows)
        left = 0 if truth is None else sum(one.is_left for one in truth.findings)
        return ExplainedHost(
            host,
            explanations.explain_host(
                explanations.HostFacts(
                    name, host.agent is not None, host.agent_is_up, host.fenced is not None, waiting, left
                )
            ),
            rows,
            truth,
        )

    @database.retry
    def _explain_rows(self, ctx: RequestContext, name: str) -> list[ExplainedAttachment]:
        with self._db.reader() as session:
            rows = db_hosts.list_attachments(session, name)
            found = db_explanations.list_services(session, VOLUME_BINARY, (HOST_BINARY, [name]))
            known = db_leases.list_of(session, _list_in_flight(rows))
            writers = db_explanations.list_beside_writers(session, rows)
        explained = []
        for row in rows:
            explainer = self._explainer(ctx, row.volume, found)
            explainer.leases, explainer.beside_writers = known, writers
            explained.append(explainer.explain(row, with_steps=False))
        return explained

    def explain_volume(self, ctx: RequestContext, volume_id: str, *, live: bool = False) -> ExplainedVolume:
        """Explain a volume.

        :param live: ask for what is true now, too, if the caller may see it.
        """
        found, explainer = self._explain_volume(ctx, volume_id)
        if not live or not self.sees_internals(ctx):
            return found
        return dataclasses.replace(found, truth=self._ask(explainer, found.attachments, ctx.request_id))

    @database.retry
    def _explain_volume(self, ctx: RequestContext, volume_id: str) -> tuple[ExplainedVolume, _Explainer]:
        with self._db.reader() as session:
            volume = db_explanations.get_volume(session, volume_id)
            self._policy.check_visible(ctx, volume, errors.VolumeNotFound(volume_id))
            self._policy.check(ctx, 'multiattach:volume_explain', volume.project_id)
            agents = sorted({row.agent_host for row in volume.attachments if row.agent_host})
            found = db_explanations.list_services(session, VOLUME_BINARY, (HOST_BINARY, agents))
            known = db_leases.list_of(session, _list_in_flight(volume.attachments, volume))
            gateways = db_gateways.explain_exports(session, volume_id) if _has_gateways(volume, found) else ()
            copy = image_copies.find(session, volume_id) if volume.status in states.COPYING else None
            moving = db_migrations.list_of_volume(session, volume_id) if volume.migration_status else []
            told = [migrations.tell(row.state, row.progress) for row in moving]
            writers = db_explanations.list_beside_writers(session, volume.attachments)
        explainer = self._explainer(ctx, volume, found)
        explainer.leases, explainer.beside_writers = known, writers
        rows = {row.id: explainer.explain(row, with_steps=False) for row in volume.attachments}
        verdict = explanations.judge_status(
            volume.status,
            volume.claim,
            {row.id: row.state for row in volume.attachments},
            None if volume.claimed_at is None else explainer.seconds_since(volume.claimed_at),
        )
        deciding = [rows[ident] for ident in verdict.decided_by]
        worker = explainer.find_actor(Owner.VOLUME, None)
        outlook = explanations.explain_volume(
            volume.status, [each.outlook for each in deciding], explainer.seconds_since(volume.status_at), worker.is_up
        )
        actor = next(
            (each.actor for each in deciding if each.actor.owner is outlook.owner),
            explainer.find_actor(outlook.owner, None),
        )
        if copy is not None:
            outlook = dataclasses.replace(outlook, next=f'{outlook.next} {copy.percent} % are done.')
        lease = explainer.find_lease(volume.id, volume.status_at)
        if lease is not None and volume.status in states.WORKER_STATUSES:
            if not explainer.sees_internals:
                lease = dataclasses.replace(lease, error=None)  # it may name hosts; the message says it
            actor = dataclasses.replace(actor, lease=lease)
            outlook = dataclasses.replace(outlook, next=f'{outlook.next} {leases.tell(lease)}')
        if told:
            outlook = dataclasses.replace(outlook, next=' '.join([outlook.next, *told]))
        servers = {row.instance_uuid or row.id for row in volume.attachments if row.state not in states.PLACELESS}
        warns = explanations.must_warn(volume.multiattach, len(servers))
        return ExplainedVolume(
            volume,
            actor,
            verdict,
            outlook,
            list(rows.values()),
            explanations.SHARED_WARNING if warns else None,
            _find_since(volume, verdict, deciding),
            gateways=gateways,
        ), explainer

    def _explainer(self, ctx: RequestContext, volume: models.Volume, found: list[models.Service]) -> _Explainer:
        services: dict[tuple[str, str], bool] = {}
        for row in found:  # a backend is served while any worker of its cluster is up
            key = row.binary, (row.report or {}).get('cluster') or row.host
            services[key] = services.get(key, False) or self._services.is_up(row)
        name = extra_specs.OF_TARGETS[extra_specs.ENFORCE_READ_ONLY]
        crew = [
            row.report or {}
            for row in found
            if row.binary == VOLUME_BINARY and volume.host in ((row.report or {}).get('cluster'), row.host)
        ]
        holds = bool(crew) and all(report.get('capabilities', {}).get(name) for report in crew)
        return _Explainer(volume, services, sees_internals=self.sees_internals(ctx), holds_read_only=holds)


def _has_gateways(volume: models.Volume, found: Sequence[models.Service]) -> bool:
    """Tell whether the workers of a volume's backend report that each of them is a gateway."""
    return any((row.report or {}).get('gateway') and (row.report or {}).get('cluster') == volume.host for row in found)


def _list_in_flight(rows: Sequence[models.Attachment], volume: models.Volume | None = None) -> list[str]:
    """List what may have a lease; without any no statement is made."""
    found = [
        row.id
        for row in rows
        if states.find_owner(row.state, by_agent=row.agent_host is not None) in (Owner.VOLUME, Owner.HOST)
    ]
    if volume is not None and volume.status in states.WORKER_STATUSES:
        found.append(volume.id)
    return found


def _find_since(
    volume: models.Volume, verdict: explanations.Verdict, deciding: list[ExplainedAttachment]
) -> datetime.datetime | None:
    """A derived status is as old as the oldest attachment that makes it so; its row is not written then."""
    if not verdict.derived:
        return volume.status_at
    return min((each.row.state_at for each in deciding), default=None)
