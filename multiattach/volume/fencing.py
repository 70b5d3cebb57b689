# SPDX-License-Identifier: Apache-2.0
"""Cutting initiators off, whatever their hosts do; every step may be repeated."""

import concurrent.futures
import contextlib
import dataclasses
import datetime
import functools
import time
from collections.abc import Mapping, Sequence
from typing import Any

from oslo_log import log

from multiattach import failpoints
from multiattach.db import models
from multiattach.domain import errors, states
from multiattach.drivers.errors import DriverError, DriverRefused
from multiattach.drivers.targets.base import Cut, SessionState, Target
from multiattach.steps.fences import FenceOutcome, FencePlan, FencePlans
from multiattach.steps.leases import ATTACHMENT, StepLeases
from multiattach.volume import adoption, answers
from multiattach.volume.locks import VolumeLocks

LOG = log.getLogger(__name__)
A = states.Attachment

# s; a login that was on its way when its initiator was cut off turns up long before.
_WATCHED = 600.0
_PARALLEL = 4
# What a proof covers: every session of the target, or those under the initiator's name. A driver may say otherwise.
_TARGET, _INITIATOR = 'target', 'initiator'


@dataclasses.dataclass(frozen=True)
class _Begun:
    """A fence whose cut may not hold everywhere yet.

    :param started: by the monotonic clock.
    """

    plan: FencePlan
    cut: Cut
    started: float


class Fencer:
    def __init__(self, plans: FencePlans, target: Target, locks: VolumeLocks, leases: StepLeases) -> None:
        self._plans = plans
        self._leases = leases
        self._target = target
        self._locks = locks
        # Cut, and not yet written: whoever comes meanwhile finds nothing left, but what was cut is known.
        self._unwritten: dict[str, Cut] = {}

    def fence(self, volume_id: str, attachment_id: str) -> dict[str, Any]:
        """Cut off the initiator of an attachment in ``fencing``, and see that it is.

        Of one that is fenced the target is read again, unless its initiator is attached anew.

        :returns: the proof, as :func:`describe` writes it.
        :raises BackendError: the target refused; it is tried again.
        :raises OutcomeUnknown: the target did not answer; it is tried again.
        :raises Conflict: the attachment went elsewhere meanwhile.
        """
        with self._attempt(attachment_id), self._locks.hold(volume_id, 'fence', urgent=True):
            return self.fence_locked(attachment_id)

    def _attempt(self, attachment_id: str) -> contextlib.AbstractContextManager[None]:
        """A fence is never given up, and nothing but a proof ends it."""
        return self._leases.attempt(ATTACHMENT, attachment_id, None, retried=(errors.MultiattachError,))

    def fence_many(self, orders: Sequence[Sequence[str]]) -> dict[str, dict[str, Any]]:
        """Do the same for many, side by side, and write the outcomes in one transaction.

        :param orders: pairs of the volume's and the attachment's UUID, each of another initiator or volume.
        :returns: by attachment a proof, or ``error``: why there is none.
        """
        if not orders:
            return {}
        with concurrent.futures.ThreadPoolExecutor(min(_PARALLEL, len(orders)), 'fence') as pool:
            begun = dict(zip((ident for _volume, ident in orders), pool.map(self._try, orders), strict=True))
        found = self._settle(begun)
        self._finish([one for one in found.values() if isinstance(one, FenceOutcome)])
        return {
            ident: dict(one.proof) if isinstance(one, FenceOutcome) else {'error': one} for ident, one in found.items()
        }

    def _try(self, order: Sequence[str]) -> _Begun | FenceOutcome | str:
        volume_id, attachment_id = order
        try:
            with self._attempt(attachment_id), self._locks.hold(volume_id, 'fence', urgent=True):
                return self._begin(attachment_id)
        except errors.MultiattachError as exc:
            return exc.message

    def _settle(self, found: Mapping[str, _Begun | FenceOutcome | str]) -> dict[str, FenceOutcome | str]:
        """Have what was begun hold everywhere; once for all, and without a lock: it admits nobody."""
        begun = {ident: one for ident, one in found.items() if isinstance(one, _Begun)}
        settled = dict(zip(begun, self._target.settle([one.cut for one in begun.values()]), strict=True))
        outcomes: dict[str, FenceOutcome | str] = {}
        for ident, one in found.items():
            if isinstance(one, _Begun):
                try:
                    outcomes[ident] = self._prove(one, settled[ident])
                except errors.MultiattachError as exc:
                    outcomes[ident] = exc.message
            else:
                outcomes[ident] = one
        return outcomes

    def fence_locked(self, attachment_id: str) -> dict[str, Any]:
        """Do the same for a caller who holds the volume's lock."""
        begun = self._begin(attachment_id)
        if isinstance(begun, FenceOutcome):
            return dict(begun.proof)
        done = self._prove(begun, self._target.settle([begun.cut])[0])
        self._finish([done])
        return dict(done.proof)

    def _finish(self, outcomes: Sequence[FenceOutcome]) -> None:
        done = [one for one in outcomes if one.plan.state == A.FENCING]
        if not done:
            return
        try:
            self._plans.finish(done)
            failpoints.reach('volume.fence.finished')
        finally:
            for one in done:
                for ident in one.plan.infos:
                    self._unwritten.pop(ident, None)

    def _begin(self, attachment_id: str) -> _Begun | FenceOutcome:
        plan = self._plans.plan(attachment_id)
        if plan.state == A.FENCED and plan.proof is not None and not plan.is_last_of_initiator:
            return FenceOutcome(plan, plan.proof, 0.0)
        if plan.state not in states.CUT_OFF:
            raise errors.changed_meanwhile(attachment_id)
        started = time.monotonic()
        failpoints.reach('volume.fence.planned')
        with self._expect(plan):
            cut = self._cut(plan)
        failpoints.reach('volume.fence.begun')
        if plan.state == A.FENCING:
            cut = cut.after(self._unwritten.get(attachment_id))
            self._unwritten |= dict.fromkeys(plan.infos, cut)
        return _Begun(plan, cut, started)

    def _expect(self, plan: FencePlan) -> contextlib.AbstractContextManager[None]:
        return answers.expect('The initiator cannot be cut off', functools.partial(self._refuse, plan))

    def _prove(self, begun: _Begun, cut: Cut | DriverError) -> FenceOutcome:
        plan = begun.plan
        if isinstance(cut, DriverError):
            with self._expect(plan):
                raise cut
        seconds = time.monotonic() - begun.started
        failpoints.reach('volume.fence.cut')
        proof = describe(plan, cut, self._plans.worker, seconds, reservations=self._target.keeps_reservations)
        LOG.info(
            'Initiator %s is cut off volume %s: %d sessions ended', plan.initiator, plan.volume_id, len(cut.sessions)
        )
        return FenceOutcome(plan, _confirm(plan.proof, proof, cut), seconds)

    def _refuse(self, plan: FencePlan, exc: DriverRefused) -> None:
        if plan.state == A.FENCING:
            self._plans.fail(plan, f'fence: {exc}')

    def _cut(self, plan: FencePlan) -> Cut:
        if plan.initiator is None:
            return Cut(whole=True)
        adoption.restrict(self._target, plan.volume_id, plan.admitted)
        account = plan.account
        return self._target.fence(
            plan.volume_id,
            plan.initiator,
            self._target.name_account(plan.volume_id, plan.initiator) if account is None else account,
            alone=plan.is_last_on_target,
            again=_is_whole(plan),
        )

    def fence_pending(self, volume_id: str, initiator: str) -> None:
        """Finish what is to be cut off before the same initiator is admitted anew."""
        for ident in self._plans.list_pending(volume_id, initiator)[:1]:
            self.fence_locked(ident)  # all that this initiator has of the volume

    def watch(self, host: str, after: datetime.datetime | None = None) -> None:
        """See that nobody who was cut off of late is back: a login may have been on its way."""
        rows = self._plans.list_recent(host, _WATCHED, after)
        if not rows:
            return
        try:
            shown = self._target.list_exports()
        except DriverError as exc:
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
            LOG.error('Fenced initiator %s may be logged in at volume %s: %s', row.initiator, row.volume_id, exc)
            return
        if proof['cut']['sessions']:
            LOG.error('Fenced initiator %s was logged in at volume %s again: cut off', row.initiator, row.volume_id)


def _is_whole(plan: FencePlan) -> bool:
    """Whether a proof covers every session of the target already: nobody had its account since."""
    return plan.state == A.FENCED and plan.proof is not None and not _is_partial(plan.proof)


def _is_partial(proof: Mapping[str, Any]) -> bool:
    return bool(proof.get('scope', _INITIATOR) == _INITIATOR)


def _confirm(before: Mapping[str, Any] | None, now: dict[str, Any], cut: Cut) -> dict[str, Any]:
    """What was cut stands in the first proof; that nothing is left was seen just now."""
    new = cut.acl or cut.account or cut.sessions or cut.registration
    if before is None or new or (cut.whole and _is_partial(before)):
        return now
    return dict(before) | {key: now[key] for key in ('verified_at', 'left')}


def describe(plan: FencePlan, cut: Cut, worker: str, seconds: float, *, reservations: bool = False) -> dict[str, Any]:
    """Write a proof as messages and the database carry it; it holds no secret.

    :param reservations: the target tells of registrations; else nothing is said of them.

    ``shared_account`` says that others have the initiator's account, which Cinder gave them all: whoever is cut off
    may be in again, under the name of one of them.
    """
    return {
        'initiator': plan.initiator,
        'worker': worker,
        'verified_at': models.now().isoformat(timespec='microseconds'),
        'seconds': round(seconds, 4),
        'attachments': sorted(plan.infos),
        'scope': _TARGET if cut.whole else _INITIATOR,
        'cut': {
            'acl': cut.acl,
            'account': cut.account,
            'sessions': _show(cut.sessions),
            'others': _show(cut.others),
            'logins': list(cut.logins),
            **({'registration': cut.registration} if reservations else {}),
        },
        'left': {
            'acl': cut.left_acl,
            'account': cut.left_account,
            'sessions': _show(cut.left_sessions),
            **({'registration': cut.left_registration} if reservations else {}),
        },
        **({'shared_account': True} if plan.account == '' else {}),
        **cut.more,
    }


def _show(sessions: tuple[SessionState, ...]) -> list[dict[str, str]]:
    return [{'initiator': one.initiator, 'address': one.address} for one in sessions]
