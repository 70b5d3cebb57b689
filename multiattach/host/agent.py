# SPDX-License-Identifier: Apache-2.0
"""The agent of a compute host: RPC endpoint, report, and taking up what was left.

A message only says "look at this row": the state of the row says what is to be done, so a lost
message, a repeated one and a restart are the same case.
"""

import functools
from collections.abc import Mapping
from concurrent import futures
from typing import Any

import oslo_messaging as messaging
from oslo_log import log

from multiattach.domain import errors, states
from multiattach.drivers.host_connector import HostConnector
from multiattach.drivers.hypervisor import Hypervisor
from multiattach.engine.host_attachments import HostAttachments
from multiattach.host.attach import ATTACHING, GONE, UNKNOWN, AttachSteps
from multiattach.host.detach import DetachSteps
from multiattach.host.sessions import HostSessions
from multiattach.host.sweep import SweepSteps
from multiattach.host.work import Work
from multiattach.rpc import clients

LOG = log.getLogger(__name__)


class HostAgent:
    """One compute host at work.

    :param engine_side: the agent's door to the database.
    :param hypervisor: the host's servers.
    :param connector: how the host reaches volumes.
    :param host: name of the host.
    :param project_id: project that the host's servers belong to.
    :param parallel: attachments that :meth:`resume` works on at a time.
    """

    target = messaging.Target(version=clients.VERSION)

    def __init__(self, engine_side: HostAttachments, hypervisor: Hypervisor,
                 connector: HostConnector, host: str, *, project_id: str,
                 parallel: int = 8) -> None:
        self._engine = engine_side
        self._hypervisor = hypervisor
        self._connector = connector
        self._host = host
        self._project_id = project_id
        self._parallel = parallel
        self._work = Work()
        sessions = HostSessions(engine_side, connector)
        self._attach = AttachSteps(engine_side, hypervisor, connector, sessions)
        self._detach = DetachSteps(engine_side, hypervisor, sessions)
        self._sweep = SweepSteps(engine_side, hypervisor, sessions)
        self._fenced: str | None = None

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
        idents = [ident for ident, _state in self._engine.list_open()]
        if not idents:
            return
        with futures.ThreadPoolExecutor(min(self._parallel, len(idents)), 'resume') as pool:
            list(pool.map(lambda ident: self._take_up(ident, None, insist=False), idents))

    def _take_up(self, attachment_id: str, request_id: str | None, *, insist: bool) -> None:
        self._work.run(attachment_id, lambda: self._advance(attachment_id, request_id),
                       insist=insist)

    def _advance(self, attachment_id: str, request_id: str | None) -> None:
        try:
            task = self._engine.load(attachment_id)
            if task.state == states.Attachment.FENCED:
                self._sweep.run(task)
            elif self._fenced is not None:
                LOG.warning('Attachment %s is left alone: %s', attachment_id, self._fenced)
            elif task.state in ATTACHING:
                self._attach.run(task, request_id)
            elif task.state == states.Attachment.DETACHING:
                self._detach.run(task, request_id)
        except UNKNOWN as exc:
            LOG.warning('Attachment %s: no answer, it is tried again: %s', attachment_id, exc)
        except GONE as exc:
            LOG.info('Attachment %s went elsewhere: %s', attachment_id, exc)
        except errors.MultiattachError as exc:
            LOG.warning('Attachment %s: %s', attachment_id, exc)
        except Exception:
            LOG.exception('Attachment %s: unexpected failure, it is tried again', attachment_id)

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
