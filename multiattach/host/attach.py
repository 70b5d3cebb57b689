# SPDX-License-Identifier: Apache-2.0
"""An attach on its host. Every step may be repeated; the row tells where it stands."""

import time

from oslo_log import log

from multiattach import failpoints
from multiattach.domain import errors, qos, states
from multiattach.domain.connection import DeviceInfo
from multiattach.drivers.connectors.base import HostConnector
from multiattach.drivers.errors import ConnectorError, DetachRefused, HypervisorError
from multiattach.drivers.hypervisors.base import Disk, Hypervisor
from multiattach.host.sessions import HostSessions
from multiattach.host.work import HostLocks, name_place
from multiattach.steps.host_attachments import HostAttachments, HostTask

LOG = log.getLogger(__name__)

A = states.Attachment
# No answer: the row stays, and the step is taken again.
UNKNOWN = (errors.OutcomeUnknown, errors.Unavailable)
# Somebody else moved or removed the row: what is on the host goes, the row is not ours.
GONE = (errors.InvalidTransition, errors.NotFound)
_SWEEP_PATIENCE = 30.0  # s


class AttachSteps:
    def __init__(
        self,
        steps: HostAttachments,
        hypervisor: Hypervisor,
        connector: HostConnector,
        sessions: HostSessions,
        places: HostLocks,
    ) -> None:
        self._steps = steps
        self._hypervisor = hypervisor
        self._connector = connector
        self._sessions = sessions
        self._places = places

    def run(self, task: HostTask, request_id: str | None) -> None:
        """Carry an attach on from where it stands to its end.

        :raises OutcomeUnknown: a part did not answer; carry on later.
        :raises Unavailable: a part is not there now; carry on later.
        """
        started = time.monotonic()
        try:
            if task.state == A.RESERVED and task.error:  # the worker gave the export up meanwhile
                raise errors.BackendError(task.error)
            failpoints.reach('host.attach.begun')
            self._export(task, request_id)
            failpoints.reach('host.attach.exported')
        except UNKNOWN:
            raise
        except GONE as exc:
            LOG.info('Attachment %s is not to be attached any more: %s', task.attachment_id, exc)
            return
        except errors.MultiattachError as exc:
            LOG.warning('Attachment %s failed: %s', task.attachment_id, exc)
            self._fail(task, exc, request_id)
            return
        # Else a sweep that began before would take the new disk for the one that was cut off.
        with self._places.hold(name_place(task.server_id, task.volume_id), _SWEEP_PATIENCE):
            try:
                task = self._steps.begin_attach(task.attachment_id)
                failpoints.reach('host.attach.connecting')
            except GONE as exc:
                LOG.info('Attachment %s is not to be attached any more: %s', task.attachment_id, exc)
                return
            self._touch_host(task, started, request_id)

    def plug_again(self, task: HostTask) -> None:
        self._plug(task, self._sessions.connect(task))

    def _touch_host(self, task: HostTask, started: float, request_id: str | None) -> None:
        device: DeviceInfo | None = None
        try:
            device = self._sessions.connect(task)
            failpoints.reach('host.attach.connected')
            name = self._plug(task, device)
            failpoints.reach('host.attach.plugged')
            self._finish(task, name, time.monotonic() - started)
            failpoints.reach('host.attach.finished')
        except UNKNOWN:
            raise
        except GONE as exc:
            LOG.warning('Attachment %s was taken back meanwhile: undoing it', task.attachment_id)
            self._undo(task, device, exc, None)
        except errors.MultiattachError as exc:
            self._undo(task, device, exc, request_id)

    # -- forward -------------------------------------------------------------------------------

    def _export(self, task: HostTask, request_id: str | None) -> None:
        """Have the target admit this host, if it does not yet."""
        if task.connection_info is None or task.state not in states.ADMITTED:
            connector = self._connector.properties(task.attachment_id, task.server_id)
            self._steps.connect(task, connector, request_id)

    def _plug(self, task: HostTask, device: DeviceInfo) -> str:
        info = task.connection_info or {}
        return self._hypervisor.attach(
            task.server_id,
            Disk(
                attachment_id=task.attachment_id,
                volume_id=task.volume_id,
                source=device,
                device=task.device,
                mode=task.mode,
                multiattach=task.multiattach,
                rates=qos.find_rates(info.get('qos_specs')),
                reservations=bool(info.get('reservations')),
            ),
        )

    def _finish(self, task: HostTask, name: str, seconds: float) -> None:
        self._steps.finish_attach(task, name, seconds)
        LOG.info(
            'Attachment %s: server %s has volume %s as %s', task.attachment_id, task.server_id, task.volume_id, name
        )

    def give_up(self, task: HostTask, error: str) -> None:
        """End an attach that was tried often enough: undo it as far as the host lets us, and say why.

        :raises MultiattachError: the volume worker or the database does not answer; it goes on by itself.
        """
        failure = errors.BackendError(error)
        if task.state not in states.ON_HOST:
            self._fail(task, failure, None)
            return
        try:
            self._undo(task, None, failure, None)
        except UNKNOWN as exc:
            # The target turns the host away next: what is left on the host can do no harm.
            LOG.error('Attachment %s: what is on this host cannot be undone now: %s', task.attachment_id, exc)
            self._fail(task, failure, None)

    # -- back ----------------------------------------------------------------------------------

    def _undo(
        self, task: HostTask, device: DeviceInfo | None, error: errors.MultiattachError, request_id: str | None
    ) -> None:
        """Take from the host what this attach did; write the failure unless the row is theirs."""

        def write() -> None:
            if not isinstance(error, GONE):
                self._fail(task, error, request_id)

        LOG.warning('Attachment %s failed: %s', task.attachment_id, error)
        failpoints.reach('host.undo.begun')
        if isinstance(error, DetachRefused):  # the guest keeps what was there before, and got nothing new
            write()
            return
        try:
            self._hypervisor.detach(task.server_id, task.volume_id, task.attachment_id)
        except HypervisorError as exc:
            # The device may be in use: to disconnect it would be worse.
            LOG.error(
                'Attachment %s: server %s keeps what is left of volume %s: %s',
                task.attachment_id,
                task.server_id,
                task.volume_id,
                exc,
            )
            write()
            return
        failpoints.reach('host.undo.unplugged')
        try:
            self._sessions.leave(task, device, write)
        except ConnectorError as exc:
            # The target turns the host away next: a session that is left can do no harm.
            LOG.error('Attachment %s: a session is left on this host: %s', task.attachment_id, exc)
            write()

    def _fail(self, task: HostTask, error: errors.MultiattachError, request_id: str | None) -> None:
        try:
            if self._steps.load(task.attachment_id).state in states.ON_THE_WAY:
                self._steps.fail_attach(task, error.message, request_id)
        except GONE as exc:
            LOG.info('Attachment %s went elsewhere: %s', task.attachment_id, exc)
