# SPDX-License-Identifier: Apache-2.0
"""What is left on a host of attachments that were cut off: disks in servers, devices. It only goes."""

from oslo_log import log

from multiattach import failpoints
from multiattach.domain import errors
from multiattach.drivers.hypervisor import Hypervisor
from multiattach.engine.host_attachments import HostAttachments, HostTask
from multiattach.host.sessions import HostSessions

LOG = log.getLogger(__name__)


class SweepSteps:
    """The steps that take from the host what a fence took from the target.

    :param engine_side: the agent's door to the database.
    :param hypervisor: the host's servers.
    :param sessions: the host's sessions.
    """

    def __init__(self, engine_side: HostAttachments, hypervisor: Hypervisor,
                 sessions: HostSessions) -> None:
        self._engine = engine_side
        self._hypervisor = hypervisor
        self._sessions = sessions

    def run(self, task: HostTask) -> None:
        """Take a fenced attachment's disk and device away; what does not work is tried again later.

        :param task: the attachment; its row may be gone.
        """
        failpoints.reach('host.sweep.begun')
        try:
            if task.server_id and not self._engine.is_replaced(task):
                self._hypervisor.detach(task.server_id, task.volume_id, task.attachment_id)
            failpoints.reach('host.sweep.unplugged')
            self._sessions.leave(task, None, lambda: self._engine.finish_sweep(task), lost=True)
            failpoints.reach('host.sweep.finished')
            LOG.warning('Attachment %s was fenced: this host has let go of volume %s', task.attachment_id,
                        task.volume_id)
        except errors.MultiattachError as exc:
            LOG.error('Attachment %s was fenced, and something of it is left on this host: %s',
                      task.attachment_id, exc)
