# SPDX-License-Identifier: Apache-2.0
"""All steps of this host on an attachment, one at a time each: what the agent and the reconciler have taken."""

import functools
from collections.abc import Callable

from oslo_log import log

from multiattach.domain import errors, states
from multiattach.drivers.connectors.base import HostConnector, HostSession
from multiattach.drivers.hypervisors.base import Hypervisor
from multiattach.host.attach import GONE, UNKNOWN, AttachSteps
from multiattach.host.detach import DetachSteps
from multiattach.host.sessions import HostSessions
from multiattach.host.sweep import SweepSteps
from multiattach.host.work import HostLocks, Work
from multiattach.rpc.clients import ExportOrder
from multiattach.steps.host_attachments import HostAttachments, HostTask
from multiattach.steps.leases import ATTACHMENT, StepLeases

LOG = log.getLogger(__name__)


class HostSteps:
    def __init__(
        self, attachments: HostAttachments, hypervisor: Hypervisor, connector: HostConnector, leases: StepLeases
    ) -> None:
        self._attachments = attachments
        self._leases = leases
        self._work = Work()
        self._sessions = sessions = HostSessions(attachments, connector)
        places = HostLocks()
        self._attach = AttachSteps(attachments, hypervisor, connector, sessions, places)
        self._detach = DetachSteps(attachments, hypervisor, sessions)
        self._sweep = SweepSteps(attachments, hypervisor, sessions, places)

    @property
    def fenced(self) -> str | None:
        """Why the host is to have no volume, None if it may; read anew whenever something hangs on it."""
        return self._attachments.find_fence()

    def carry_on(self, attachment_id: str, request_id: str | None = None, *, insist: bool = True) -> None:
        """Take the next step of an attachment, as its row has it.

        :param insist: if another thread is at it, it reads the row once more.
        """
        self._work.run(attachment_id, functools.partial(self._advance, attachment_id, request_id), insist=insist)

    def sweep(self, task: HostTask) -> bool:
        """Let go of a fenced attachment; return False if what is asked for it does not answer."""
        seen: list[errors.MultiattachError | None] = []
        self._work.run(task.attachment_id, lambda: seen.append(self._sweep.run(task)), insist=True)
        return not any(isinstance(one, errors.Unavailable) for one in seen)

    def give_up(self, attachment_id: str, error: str) -> None:
        """End a step that was tried often enough, without a result, in an error state."""
        task = self._attachments.load(attachment_id)
        if task.state == states.Attachment.DETACHING:
            self._attachments.fail_detach(task, error, None)
        elif task.state in states.ON_THE_WAY:
            self._attach.give_up(task, error)

    def plug_again(self, attachment_id: str) -> None:
        """Give a server what it lacks of an attached volume."""
        task = self._attachments.load(attachment_id)
        if task.state == states.Attachment.ATTACHED:
            self._attach.plug_again(task)

    def disconnect(self, session: HostSession, is_wanted: Callable[[], bool]) -> None:
        """End a session under the host's lock of its volume, unless it turns out there that it is wanted."""
        self._sessions.drop(session, is_wanted)

    def end_delete(self, order: ExportOrder) -> None:
        """Have a worker turn an initiator away."""
        self._attachments.end_delete(order)

    def _advance(self, attachment_id: str, request_id: str | None) -> None:
        try:
            with self._leases.attempt(ATTACHMENT, attachment_id, functools.partial(self.give_up, attachment_id)):
                self._take_step(self._attachments.load(attachment_id), request_id)
        except UNKNOWN as exc:
            LOG.warning('Attachment %s: no answer, it is tried again: %s', attachment_id, exc)
        except GONE as exc:
            LOG.info('Attachment %s went elsewhere: %s', attachment_id, exc)
        except errors.MultiattachError as exc:
            LOG.warning('Attachment %s: %s', attachment_id, exc)
        except Exception:
            LOG.exception('Attachment %s: unexpected failure, it is tried again', attachment_id)

    def _take_step(self, task: HostTask, request_id: str | None) -> None:
        if task.state == states.Attachment.FENCED:
            self._sweep.run(task)
        elif (fenced := self.fenced) is not None:
            LOG.warning('Attachment %s is left alone: %s', task.attachment_id, fenced)
        elif task.state in states.ON_THE_WAY:
            self._attach.run(task, request_id)
        elif task.state == states.Attachment.DETACHING:
            self._detach.run(task, request_id)
