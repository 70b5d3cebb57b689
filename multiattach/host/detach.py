# SPDX-License-Identifier: Apache-2.0
"""A detach on its host. Every step may be repeated; the row tells where it stands."""

import functools

from oslo_log import log

from multiattach import failpoints
from multiattach.drivers.errors import ConnectorError, DetachRefused, HypervisorError
from multiattach.drivers.hypervisors.base import Hypervisor
from multiattach.host.sessions import HostSessions
from multiattach.steps.host_attachments import HostAttachments, HostTask

LOG = log.getLogger(__name__)


class DetachSteps:
    def __init__(self, steps: HostAttachments, hypervisor: Hypervisor, sessions: HostSessions) -> None:
        self._steps = steps
        self._hypervisor = hypervisor
        self._sessions = sessions

    def run(self, task: HostTask, request_id: str | None) -> None:
        """Carry a detach on from where it stands to its end.

        :raises OutcomeUnknown: a part did not answer; carry on later.
        :raises Unavailable: a part is not there now; carry on later.
        :raises InvalidTransition: somebody else moved the attachment.
        """
        try:
            failpoints.reach('host.detach.begun')
            self._hypervisor.detach(task.server_id, task.volume_id, task.attachment_id)
            failpoints.reach('host.detach.unplugged')
            self._sessions.leave(task, None, functools.partial(self._finish, task, request_id))
            failpoints.reach('host.detach.finished')
        except DetachRefused as exc:
            LOG.warning('Attachment %s stays: %s', task.attachment_id, exc)
            self._steps.refuse_detach(task, exc.message, request_id)
        except (HypervisorError, ConnectorError) as exc:
            LOG.error('Attachment %s cannot be detached: %s', task.attachment_id, exc)
            self._steps.fail_detach(task, exc.message, request_id)

    def _finish(self, task: HostTask, request_id: str | None) -> None:
        self._steps.finish_detach(task, request_id)
        LOG.info('Attachment %s: server %s has let go of volume %s', task.attachment_id, task.server_id, task.volume_id)
