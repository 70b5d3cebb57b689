# SPDX-License-Identifier: Apache-2.0
"""The agent of a compute host: RPC endpoint, report, and taking up what was left.

A message only says "look at this row": the state of the row says what is to be done, so a lost
message, a repeated one and a restart are the same case.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from concurrent import futures
from typing import Any, TypeVar

import oslo_messaging as messaging
from oslo_log import log

from multiattach.domain import errors, states
from multiattach.domain.findings import DriftRules
from multiattach.drivers.connectors.base import HostConnector
from multiattach.drivers.hypervisors.base import Hypervisor
from multiattach.host.reconciler import HostReconciler
from multiattach.host.steps import HostSteps
from multiattach.host.work import Aside, Reminder
from multiattach.rpc import clients
from multiattach.steps.host_attachments import HostAttachments, HostTask
from multiattach.steps.leases import ATTACHMENT, Due, Step, StepLeases
from multiattach.steps.reconciliation import Reconciliation

LOG = log.getLogger(__name__)
T = TypeVar('T')


class HostAgent:
    """One compute host at work.

    :param parallel: attachments that :meth:`resume`, and servers that :meth:`obey` works on at a time.
    :param reconciling: the database side, the rules and the interval of looking for drift.
    """

    target = messaging.Target(version=clients.VERSION)

    def __init__(
        self,
        attachments: HostAttachments,
        hypervisor: Hypervisor,
        connector: HostConnector,
        host: str,
        leases: StepLeases,
        *,
        project_id: str,
        parallel: int = 8,
        reconciling: tuple[Reconciliation, DriftRules, float],
    ) -> None:
        self._attachments = attachments
        self._hypervisor = hypervisor
        self._connector = connector
        self._host = host
        self._project_id = project_id
        self._parallel = parallel
        self._leases = leases
        self._steps = HostSteps(attachments, hypervisor, connector, leases)
        self._last_fence: str | None = None  # that was spoken of
        self._reminder = Reminder()
        # Apart: servers of a fenced host hang more often than others.
        self._sweeping = Aside(f'sweep:{host}', self.obey)
        side, rules, interval = reconciling
        self._reconciliation = side
        self.reconciler = HostReconciler(side, hypervisor, connector, self._steps, host, (rules, interval))

    # -- work ----------------------------------------------------------------------------------

    @messaging.expose
    def attach(self, context: Mapping[str, Any], attachment_id: str) -> None:
        self._steps.carry_on(attachment_id, context.get('request_id'))

    @messaging.expose
    def detach(self, context: Mapping[str, Any], attachment_id: str) -> None:
        self._steps.carry_on(attachment_id, context.get('request_id'))

    @messaging.expose
    def extend(self, context: Mapping[str, Any]) -> None:
        self.show_growth()

    @messaging.expose
    def sweep(self, context: Mapping[str, Any]) -> None:
        self.obey()

    def tend(self, patience: float) -> None:
        """Look whether there is anything to do, and do it.

        :param patience: as for :meth:`resume`.
        """
        agenda = self._attachments.look()
        self._tell_fence(agenda.fence)
        if agenda.is_unswept:
            self._sweeping.begin()
        if agenda.is_open and agenda.fence is None:
            self.resume(patience)
        if agenda.is_grown:
            self.show_growth()

    def _tell_fence(self, fenced: str | None) -> None:
        last, self._last_fence = self._last_fence, fenced
        if fenced != last:
            LOG.warning('%s', fenced or f'Host {self._host} is not fenced any more')

    def obey(self, patience: float | None = None) -> None:
        """Find out what was fenced, and let go of it, server by server, side by side.

        :param patience: seconds to wait for the end, None for as long as it takes; it goes on in any case.
        """
        self._tell_fence(self._steps.fenced)
        by_server: dict[str, list[HostTask]] = {}
        for task in self._attachments.list_unswept():
            by_server.setdefault(task.server_id, []).append(task)
        # What an older copy of the database says was cut off may have been attached again since.
        if not by_server or self._reconciliation.find_doubt() is not None:
            return
        left = f'{sum(map(len, by_server.values()))} attachments of {len(by_server)} servers'
        if self._reminder.is_due(left):
            LOG.warning('Host %s lets go of what was fenced: %s', self._host, left)
        if self._run_apart('sweep', self._sweep_server, list(by_server.values()), patience):
            LOG.warning(
                'Host %s goes on while it waits for what was fenced: %s',
                self._host,
                '; '.join(f'libvirt was to {one}' for one in self._hypervisor.list_overdue())
                or f'no answer of libvirt within {patience:g} s',
            )

    def _sweep_server(self, tasks: Sequence[HostTask]) -> None:
        for number, task in enumerate(tasks):
            if not self._steps.sweep(task):
                if number + 1 < len(tasks) and self._reminder.is_due(task.server_id):
                    LOG.error(
                        'Server %s does not answer: %d more of its fenced attachments are tried again later',
                        task.server_id,
                        len(tasks) - number - 1,
                    )
                return

    def _run_apart(self, name: str, call: Callable[[T], None], items: Sequence[T], patience: float | None) -> int:
        """Do something with each of many in threads; return how many were not done in time."""
        pool = futures.ThreadPoolExecutor(min(self._parallel, len(items)), name)
        running = [pool.submit(call, item) for item in items]
        pool.shutdown(wait=False)
        done, left = futures.wait(running, patience)
        for one in done:
            one.result()
        return len(left)

    def interrupt(self) -> None:
        """Wait for the hypervisor no more: the program stops. The next start takes up what is in work."""
        self._hypervisor.interrupt()

    def show_growth(self) -> None:
        """Show every server of this host that has not seen its volume grow the new size."""
        for attachment_id in self._attachments.list_grown():
            try:
                task = self._attachments.load(attachment_id)
                if task.connection_info is not None:
                    self._connector.extend(task.connection_info)
                self._hypervisor.resize(task.server_id, task.volume_id, task.size_gb << 30)
                self._attachments.finish_extend(task)
                LOG.info('Attachment %s: server %s was shown %d GiB', attachment_id, task.server_id, task.size_gb)
            except errors.MultiattachError as exc:
                LOG.warning('Attachment %s: the new size is shown later: %s', attachment_id, exc)

    def resume(self, patience: float | None = None) -> None:
        """Carry on with every attachment whose next step is this host's, at start and now and then.

        :param patience: seconds to wait until all of them have been tried once, None for as long as it takes.
            Those that take longer hold up nothing: they go on.
        """
        rows = self._attachments.list_open()
        if not rows or self._steps.fenced is not None:
            return
        doubt = self._reconciliation.find_doubt()  # then only what was asked for since is carried on with
        found = self._leases.list_due(
            [
                Step(ATTACHMENT, ident, since, state in states.ORDERED)
                for ident, state, since in rows
                if doubt is None or since >= doubt.since
            ]
        )
        if found:
            self._run_apart('resume', self._carry_on, found, patience)

    def _carry_on(self, due: Due) -> None:
        ident = due.step.ident
        try:
            self._leases.carry_on(
                due,
                functools.partial(self._steps.carry_on, ident, insist=False),
                functools.partial(self._steps.give_up, ident),
            )
        except errors.MultiattachError as exc:
            LOG.warning('Attachment %s is taken up later: %s', ident, exc)

    # -- drift ---------------------------------------------------------------------------------

    @messaging.expose
    @messaging.expected_exceptions(errors.MultiattachError)
    def reconcile(self, context: Mapping[str, Any], fix: bool) -> dict[str, Any]:
        """Tell where the host and what is recorded of it differ, and put it right if asked to (since 1.3)."""
        return self.reconciler.reconcile(fix)

    @messaging.expose
    @messaging.expected_exceptions(errors.MultiattachError)
    def release(self, context: Mapping[str, Any], seals: Sequence[str]) -> dict[str, Any]:
        """Put it right, and let through the breaker what a person names (since 1.4).

        :param seals: names of all that waits for a person; those of others are left alone.
        """
        return self.reconciler.reconcile(True, seals)

    @messaging.expose
    @messaging.expected_exceptions(errors.MultiattachError)
    def show_host(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Tell what is true on the host (since 1.3).

        :returns: servers with their disks, sessions, and findings.
        """
        return self.reconciler.show()

    # -- report --------------------------------------------------------------------------------

    def report(self) -> dict[str, Any]:
        """Tell what this host is, for its heartbeat; ``cannot_share`` is a reason or None (requirement row 18).

        :raises ConnectorError: the host cannot connect volumes; the message says why.
        """
        return {
            'connector': self._connector.describe(),
            'hypervisor': self._hypervisor.versions(),
            'cannot_share': self._hypervisor.cannot_share(),
        }

    def domains(self) -> dict[str, dict[str, Any]]:
        """List the host's servers, as ``HostAttachments.register_servers`` takes them.

        :returns: by UUID: ``name``, ``project_id``, ``power_state``, ``devices``.
        :raises HypervisorUnavailable: the hypervisor does not answer; what is registered stays.
        """
        return {
            domain.uuid: {
                'name': domain.name,
                'project_id': domain.project or self._project_id,
                'power_state': domain.power_state,
                'devices': list(domain.devices),
            }
            for domain in self._hypervisor.domains()
            if domain.project or self._project_id
        }
