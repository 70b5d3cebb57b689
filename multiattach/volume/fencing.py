# SPDX-License-Identifier: Apache-2.0
"""Cutting initiators off, whatever their hosts do; every step may be repeated."""

import time
from typing import Any

from oslo_log import log

from multiattach.db import models
from multiattach.domain import errors, states
from multiattach.drivers.target import (
    Cut,
    SessionState,
    Target,
    TargetError,
    TargetUnavailable,
    account_name,
)
from multiattach.engine.fence_plans import FencePlan, FencePlans
from multiattach.volume.locks import VolumeLocks

LOG = log.getLogger(__name__)
A = states.Attachment

# s; a login that was on its way when its initiator was cut off turns up long before.
_WATCHED = 600.0


class Fencer:
    """The worker's fences.

    :param plans: the database side.
    :param target: where volumes are exported.
    :param locks: locks of volumes.
    """

    def __init__(self, plans: FencePlans, target: Target, locks: VolumeLocks) -> None:
        self._plans = plans
        self._target = target
        self._locks = locks

    def fence(self, volume_id: str, attachment_id: str) -> dict[str, Any]:
        """Cut off the initiator of an attachment in ``fencing``, and see that it is.

        Of one that is fenced the target is read again, unless its initiator is attached anew.

        :param volume_id: UUID of the volume.
        :param attachment_id: UUID.
        :returns: the proof, as :func:`describe` writes it.
        :raises BackendError: the target refused; it is tried again.
        :raises OutcomeUnknown: the target did not answer; it is tried again.
        :raises Conflict: the attachment went elsewhere meanwhile.
        """
        with self._locks.hold(volume_id):
            return self.fence_locked(attachment_id)

    def fence_locked(self, attachment_id: str) -> dict[str, Any]:
        """Do the same for a caller who holds the volume's lock.

        :param attachment_id: UUID.
        :returns: the proof.
        :raises MultiattachError: as :meth:`fence`.
        """
        plan = self._plans.plan(attachment_id)
        if plan.state == A.FENCED and plan.proof is not None and not plan.is_last_of_initiator:
            return plan.proof
        if plan.state not in (A.FENCING, A.FENCED):
            raise errors.Conflict(
                f'The attachment {attachment_id} was changed by another request meanwhile.')
        started = time.monotonic()
        try:
            cut = self._cut(plan)
        except TargetUnavailable as exc:
            raise errors.OutcomeUnknown(f'The target does not answer: {exc}') from exc
        except TargetError as exc:
            if plan.state == A.FENCING:
                self._plans.fail(plan, f'fence: {exc}')
            raise errors.BackendError(f'The initiator cannot be cut off: {exc}') from exc
        seconds = time.monotonic() - started
        proof = describe(plan, cut, self._plans.worker, seconds)
        if plan.state == A.FENCED:
            return _confirm(plan.proof, proof, cut)
        self._plans.finish(plan, proof, seconds)
        LOG.info('Initiator %s is cut off volume %s: %d sessions ended', plan.initiator, plan.volume_id,
                 len(cut.sessions))
        return proof

    def _cut(self, plan: FencePlan) -> Cut:
        if plan.initiator is None:
            return Cut()
        cut = self._target.fence(plan.volume_id, plan.initiator, account_name(plan.volume_id, plan.initiator))
        if plan.is_last_on_target:
            self._target.remove_export(plan.volume_id)
        return cut

    def fence_pending(self, volume_id: str, initiator: str) -> None:
        """Finish what is to be cut off before the same initiator is admitted anew.

        :param volume_id: UUID; its lock is held.
        :param initiator: name of the initiator.
        :raises MultiattachError: as :meth:`fence`.
        """
        for ident in self._plans.list_pending(volume_id, initiator)[:1]:
            self.fence_locked(ident)  # all that this initiator has of the volume

    def watch(self, host: str) -> None:
        """See that nobody who was cut off of late is back: a login may have been on its way.

        :param host: name of the backend, as its volumes carry it.
        """
        rows = self._plans.list_recent(host, _WATCHED)
        if not rows:
            return
        try:
            shown = self._target.list_exports()
        except (TargetError, TargetUnavailable) as exc:
            LOG.warning('Fenced initiators cannot be watched: %s', exc)
            return
        for row in rows:
            state = shown.get(row.volume_id)
            if state is not None and row.initiator in {one.initiator for one in state.sessions}:
                self._cut_again(row)

    def _cut_again(self, row: models.Attachment) -> None:
        try:
            proof = self.fence(row.volume_id, row.id)
        except errors.MultiattachError as exc:
            LOG.error('Fenced initiator %s may be logged in at volume %s: %s', row.initiator, row.volume_id,
                      exc)
            return
        if proof['cut']['sessions']:
            LOG.error('Fenced initiator %s was logged in at volume %s again: cut off', row.initiator,
                      row.volume_id)


def _confirm(before: dict[str, Any] | None, now: dict[str, Any], cut: Cut) -> dict[str, Any]:
    """What was cut stands in the first proof; that nothing is left was seen just now."""
    if before is None or cut.acl or cut.account or cut.sessions:
        return now
    return before | {key: now[key] for key in ('verified_at', 'left')}


def describe(plan: FencePlan, cut: Cut, worker: str, seconds: float) -> dict[str, Any]:
    """Write a proof as messages and the database carry it; it holds no secret.

    :param plan: what was asked.
    :param cut: what the driver saw.
    :param worker: who did it.
    :param seconds: how long it took.
    :returns: JSON object.
    """
    return {
        'initiator': plan.initiator, 'worker': worker,
        'verified_at': models.now().isoformat(timespec='microseconds'),
        'seconds': round(seconds, 4), 'attachments': sorted(plan.infos),
        'cut': {'acl': cut.acl, 'account': cut.account, 'sessions': _show(cut.sessions)},
        'left': {'acl': cut.left_acl, 'account': cut.left_account, 'sessions': _show(cut.left_sessions)},
    }


def _show(sessions: tuple[SessionState, ...]) -> list[dict[str, str]]:
    return [{'initiator': one.initiator, 'address': one.address} for one in sessions]
