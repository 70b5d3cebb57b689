# SPDX-License-Identifier: Apache-2.0
"""What is left on a host of attachments that were cut off: disks in servers, devices. It only goes."""

from oslo_log import log

from multiattach import failpoints
from multiattach.domain import errors
from multiattach.drivers.hypervisors.base import Hypervisor
from multiattach.host.sessions import HostSessions
from multiattach.host.work import HostLocks, Reminder, name_place
from multiattach.steps.host_attachments import HostAttachments, HostTask

LOG = log.getLogger(__name__)


class SweepSteps:
    """The steps that take from the host what a fence took from the target.

    :param places: locks of volumes' places in servers: of a sweep and an attach one comes after the other.
    """

    def __init__(
        self, steps: HostAttachments, hypervisor: Hypervisor, sessions: HostSessions, places: HostLocks
    ) -> None:
        self._steps = steps
        self._hypervisor = hypervisor
        self._sessions = sessions
        self._places = places
        self._reminder = Reminder()

    def run(self, task: HostTask) -> errors.MultiattachError | None:
        """Take a fenced attachment's disk and device away; what does not work is tried again later.

        :returns: why something is left, None if nothing is.
        """
        failpoints.reach('host.sweep.begun')
        try:
            # An attach of the same is not waited for: it takes away what was there.
            with self._places.hold(name_place(task.server_id, task.volume_id), patience=0):
                if task.server_id and not self._steps.is_replaced(task):
                    self._hypervisor.detach(task.server_id, task.volume_id, task.attachment_id, insist=False)
            failpoints.reach('host.sweep.unplugged')
            self._sessions.leave(task, None, lambda: self._steps.finish_sweep(task), lost=True)
            failpoints.reach('host.sweep.finished')
            LOG.warning(
                'Attachment %s was fenced: this host has let go of volume %s', task.attachment_id, task.volume_id
            )
            self._reminder.forget(task.attachment_id)
            return None
        except errors.MultiattachError as exc:
            if self._reminder.is_due(task.attachment_id):
                LOG.error(
                    'Attachment %s was fenced, and something of it is left on this host: %s', task.attachment_id, exc
                )
            return exc
