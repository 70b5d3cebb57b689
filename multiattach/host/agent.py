# SPDX-License-Identifier: Apache-2.0
"""The agent of a compute host: RPC endpoint, report, and taking up what was left.

A message only says "look at this row": the state of the row says what is to be done, so a lost
message, a repeated one and a restart are the same case.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from concurrent import futures
from typing import Any

import oslo_messaging as messaging
from oslo_log import log

from multiattach.domain import errors, states
from multiattach.domain.findings import Rules
from multiattach.drivers.host_connector import HostConnector, HostSession
from multiattach.drivers.hypervisor import Hypervisor
from multiattach.engine.host_attachments import HostAttachments
from multiattach.engine.leases import ATTACHMENT, Due, Step, StepLeases
from multiattach.engine.reconciliation import Reconciliation
from multiattach.host.attach import ATTACHING, GONE, UNKNOWN, AttachSteps
from multiattach.host.detach import DetachSteps
from multiattach.host.reconciler import HostReconciler
from multiattach.host.sessions import HostSessions
from multiattach.host.sweep import SweepSteps
from multiattach.host.work import Work
from multiattach.rpc import clients
from multiattach.rpc.clients import ExportOrder

LOG = log.getLogger(__name__)
# States in which an order of the API, or of this agent to a worker, may be on its way.
ORDERED = frozenset({states.Attachment.RESERVED, states.Attachment.EXPORTING, states.Attachment.DETACHING})


class HostAgent:
    """One compute host at work.

    :param engine_side: the agent's door to the database.
    :param hypervisor: the host's servers.
    :param connector: how the host reaches volumes.
    :param host: name of the host.
    :param leases: who is at which step.
    :param project_id: project that the host's servers belong to.
    :param parallel: attachments that :meth:`resume` works on at a time.
    :param reconciling: the database side, the rules and the interval of looking for drift.
    """

    target = messaging.Target(version=clients.VERSION)

    def __init__(self, engine_side: HostAttachments, hypervisor: Hypervisor,
                 connector: HostConnector, host: str, leases: StepLeases, *, project_id: str,
                 parallel: int = 8, reconciling: tuple[Reconciliation, Rules, float]) -> None:
        self._engine = engine_side
        self._hypervisor = hypervisor
        self._connector = connector
        self._host = host
        self._project_id = project_id
        self._parallel = parallel
        self._work = Work()
        self._leases = leases
        self._sessions = sessions = HostSessions(engine_side, connector)
        self._attach = AttachSteps(engine_side, hypervisor, connector, sessions)
        self._detach = DetachSteps(engine_side, hypervisor, sessions)
        self._sweep = SweepSteps(engine_side, hypervisor, sessions)
        self._fenced: str | None = None
        side, rules, interval = reconciling
        self._reconciliation = side
        self.reconciler = HostReconciler(side, hypervisor, connector, self, host, rules, interval)

    # -- work ----------------------------------------------------------------------------------

    @messaging.expose
    def attach(self, context: Mapping[str, Any], attachment_id: str) -> None:
        """Carry on with an attachment that is to be attached.

        :param context: RPC context; ``request_id`` is the API call behind it.
        :param attachment_id: UUID.
        """
        self._take_up(attachment_id, context.get('request_id'), insist=True)

    @messaging.expose
    def detach(self, context: Mapping[str, Any], attachment_id: str) -> None:
        """Carry on with an attachment that is to be detached.

        :param context: RPC context; ``request_id`` is the API call behind it.
        :param attachment_id: UUID.
        """
        self._take_up(attachment_id, context.get('request_id'), insist=True)

    @messaging.expose
    def extend(self, context: Mapping[str, Any]) -> None:
        """Show servers the size of volumes that have grown.

        :param context: RPC context.
        """
        self.show_growth()

    @messaging.expose
    def sweep(self, context: Mapping[str, Any]) -> None:
        """Let go of what was fenced.

        :param context: RPC context.
        """
        self.obey()

    def obey(self) -> None:
        """Find out what was fenced, and let go of it; at start this comes before anything else."""
        fenced = self._engine.find_fence()
        if fenced != self._fenced:
            LOG.warning('%s', fenced or f'Host {self._host} is not fenced any more')
        self._fenced = fenced
        if self._reconciliation.find_doubt() is not None:
            return  # what an older copy of the database says was cut off may have been attached again since
        for task in self._engine.list_unswept():
            self._work.run(task.attachment_id, functools.partial(self._sweep.run, task), insist=True)

    def show_growth(self) -> None:
        """Show every server of this host that has not seen its volume grow the new size."""
        for attachment_id in self._engine.list_grown():
            try:
                task = self._engine.load(attachment_id)
                if task.connection_info is not None:
                    self._connector.extend(task.connection_info)
                self._hypervisor.resize(task.server_id, task.volume_id, task.size_gb << 30)
                self._engine.finish_extend(task)
                LOG.info('Attachment %s: server %s was shown %d GiB', attachment_id, task.server_id,
                         task.size_gb)
            except errors.MultiattachError as exc:
                LOG.warning('Attachment %s: the new size is shown later: %s', attachment_id, exc)

    def resume(self) -> None:
        """Carry on with every attachment whose next step is this host's, at start and now and then.

        Returns when all of them have been tried once.
        """
        self.obey()
        if self._fenced is not None:
            return
        doubt = self._reconciliation.find_doubt()  # then only what was asked for since is carried on with
        found = self._leases.list_due([Step(ATTACHMENT, ident, since, state in ORDERED)
                                       for ident, state, since in self._engine.list_open()
                                       if doubt is None or since >= doubt.since])
        if not found:
            return
        with futures.ThreadPoolExecutor(min(self._parallel, len(found)), 'resume') as pool:
            list(pool.map(self._carry_on, found))

    def _carry_on(self, due: Due) -> None:
        ident = due.step.ident
        try:
            self._leases.carry_on(due, lambda: self._take_up(ident, None, insist=False),
                                  lambda error: self._give_up(ident, error))
        except errors.MultiattachError as exc:
            LOG.warning('Attachment %s is taken up later: %s', ident, exc)

    def _give_up(self, attachment_id: str, error: str) -> None:
        """End a step that was tried often enough, without a result, in an error state."""
        task = self._engine.load(attachment_id)
        if task.state == states.Attachment.DETACHING:
            self._engine.fail_detach(task, error, None)
        elif task.state in ATTACHING:
            self._attach.give_up(task, error)

    def _take_up(self, attachment_id: str, request_id: str | None, *, insist: bool) -> None:
        self._work.run(attachment_id, lambda: self._advance(attachment_id, request_id),
                       insist=insist)

    def _advance(self, attachment_id: str, request_id: str | None) -> None:
        try:
            with self._leases.attempt(ATTACHMENT, attachment_id,
                                      lambda error: self._give_up(attachment_id, error)):
                self._act(attachment_id, request_id)
        except UNKNOWN as exc:
            LOG.warning('Attachment %s: no answer, it is tried again: %s', attachment_id, exc)
        except GONE as exc:
            LOG.info('Attachment %s went elsewhere: %s', attachment_id, exc)
        except errors.MultiattachError as exc:
            LOG.warning('Attachment %s: %s', attachment_id, exc)
        except Exception:
            LOG.exception('Attachment %s: unexpected failure, it is tried again', attachment_id)

    def _act(self, attachment_id: str, request_id: str | None) -> None:
        task = self._engine.load(attachment_id)
        if task.state == states.Attachment.FENCED:
            self._sweep.run(task)
        elif self._fenced is not None:
            LOG.warning('Attachment %s is left alone: %s', attachment_id, self._fenced)
        elif task.state in ATTACHING:
            self._attach.run(task, request_id)
        elif task.state == states.Attachment.DETACHING:
            self._detach.run(task, request_id)

    # -- drift ---------------------------------------------------------------------------------

    @messaging.expose
    @messaging.expected_exceptions(errors.MultiattachError)
    def reconcile(self, context: Mapping[str, Any], fix: bool) -> dict[str, Any]:
        """Tell where the host and what is recorded of it differ, and put it right if asked to (since 1.3).

        :param context: RPC context.
        :param fix: put it right.
        :returns: findings, and what could not be read.
        """
        return self.reconciler.reconcile(fix)

    @messaging.expose
    @messaging.expected_exceptions(errors.MultiattachError)
    def release(self, context: Mapping[str, Any], seals: Sequence[str]) -> dict[str, Any]:
        """Put it right, and let through the breaker what a person names (since 1.4).

        :param context: RPC context.
        :param seals: names of all that waits for a person; those of others are left alone.
        :returns: findings, and what could not be read.
        """
        return self.reconciler.reconcile(True, seals)

    @messaging.expose
    @messaging.expected_exceptions(errors.MultiattachError)
    def show_host(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Tell what is true on the host (since 1.3).

        :param context: RPC context.
        :returns: servers with their disks, sessions, and findings.
        """
        return self.reconciler.show()

    @property
    def fenced(self) -> str | None:
        """Why the host is to have no volume, None if it may."""
        return self._fenced

    def carry_on(self, attachment_id: str) -> None:
        """See :meth:`multiattach.host.reconciler.Agent.carry_on`."""
        self._take_up(attachment_id, None, insist=True)

    def plug_again(self, attachment_id: str) -> None:
        """See :meth:`multiattach.host.reconciler.Agent.plug_again`."""
        task = self._engine.load(attachment_id)
        if task.state == states.Attachment.ATTACHED:
            self._attach.plug_again(task)

    def disconnect(self, session: HostSession, is_wanted: Callable[[], bool]) -> None:
        """See :meth:`multiattach.host.reconciler.Agent.disconnect`."""
        self._sessions.drop(session, is_wanted)

    def end_delete(self, order: ExportOrder) -> None:
        """See :meth:`multiattach.host.reconciler.Agent.end_delete`."""
        self._engine.end_delete(order)

    # -- report --------------------------------------------------------------------------------

    def report(self) -> dict[str, Any]:
        """Tell what this host is, for its heartbeat.

        :returns: ``connector``, ``hypervisor`` (versions) and ``cannot_share`` (a reason or
            None: requirement row 18).
        :raises HypervisorUnavailable: the hypervisor does not answer.
        :raises ConnectorError: the host cannot connect volumes; the message says why.
        """
        return {'connector': self._connector.describe(), 'hypervisor': self._hypervisor.versions(),
                'cannot_share': self._hypervisor.cannot_share()}

    def domains(self) -> dict[str, dict[str, Any]]:
        """List the host's servers, as ``HostAttachments.register_servers`` takes them.

        :returns: by UUID: ``name``, ``project_id``, ``power_state``, ``devices``.
        :raises HypervisorUnavailable: the hypervisor does not answer; what is registered stays.
        """
        return {
            domain.uuid: {'name': domain.name, 'project_id': self._project_id,
                          'power_state': domain.power_state, 'devices': list(domain.devices)}
            for domain in self._hypervisor.domains()
        }
