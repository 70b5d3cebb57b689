# SPDX-License-Identifier: Apache-2.0
"""Admitting initiators to targets and turning them away. Any step may be repeated."""

import contextlib
import datetime
import functools
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from oslo_log import log

from multiattach import failpoints
from multiattach.db.attachments import Admitted
from multiattach.db.models import Attachment
from multiattach.domain import errors, extra_specs, states
from multiattach.drivers.backends.base import Backend
from multiattach.drivers.errors import DriverError, DriverRefused, TargetFull
from multiattach.drivers.targets.base import Access, Export, Grant, Target
from multiattach.steps.exports import ExportPlan, Exports
from multiattach.steps.leases import ATTACHMENT, Due, Step, StepLeases
from multiattach.trouble import Trouble
from multiattach.turns import Turns
from multiattach.volume import adoption, answers
from multiattach.volume.fencing import Fencer
from multiattach.volume.gateways import GatewayTarget
from multiattach.volume.locks import VolumeLocks

LOG = log.getLogger(__name__)
A = states.Attachment
_NO_VOLUME = str(uuid.UUID(int=0))  # all volumes have one portal


class Exporter:
    def __init__(
        self,
        exports: Exports,
        backend: Backend,
        target: Target,
        locks: VolumeLocks,
        host: str,
        leases: StepLeases,
        fencer: Fencer,
        turns: Turns,
    ) -> None:
        self._fencer = fencer
        self._leases = leases
        self._exports = exports
        self._backend = backend
        self._target = target
        # Of several gateways this worker's own: what it lacks, or has too much, is put right there.
        self._here = target.here if isinstance(target, GatewayTarget) else target
        self._locks = locks
        self._turns = turns
        self._host = host
        self._generation: int | None = None
        self._watching = threading.Lock()
        self._trouble = Trouble(LOG, 'The target daemon')

    @property
    def portal(self) -> str | None:
        return self._target.locate(_NO_VOLUME).portal

    @property
    def kernel(self) -> int | None:
        """Which kernel's targets these are; None if it does not say, or they are a daemon's."""
        try:
            return self._target.generation() if getattr(self._target, 'IS_KERNEL', False) else None
        except DriverError:
            return None

    @property
    def protocol(self) -> str:
        return self._target.protocol

    @property
    def capabilities(self) -> dict[str, bool]:
        """What the target can do, as the worker reports it and types ask for it."""
        return {
            extra_specs.OF_TARGETS[extra_specs.RESERVATIONS]: self._target.keeps_reservations,
            extra_specs.OF_TARGETS[extra_specs.ENFORCE_READ_ONLY]: self._target.holds_read_only,
        }

    def export(self, volume_id: str, attachment_id: str) -> None:
        """Admit the initiator of an attachment in ``exporting``.

        :raises BackendError: the target refused; what was done is undone.
        :raises Unavailable: the same, as there is no room for it now.
        :raises OutcomeUnknown: the target did not answer; the step is taken up again.
        :raises Conflict: the attachment went elsewhere meanwhile.
        """
        with self._step(volume_id, attachment_id, 'export'):
            plan = self._exports.plan(attachment_id)
            if plan.state in states.ADMITTED:  # the host asks again
                self._relocate(plan)
                return
            self._check_export(plan)
            started = time.monotonic()
            grant = self._target.make_grant(volume_id, plan.initiator, plan.granted, plan.sibling)
            failpoints.reach('volume.export.planned')
            with answers.expect('The volume cannot be exported', functools.partial(self._refuse_export, plan)):
                # Of a target that nobody is to use the driver makes a new one.
                adoption.restrict(self._target, volume_id, plan.admitted or None)
                info = self._target.grant(volume_id, self._backend.path(volume_id), grant)
            failpoints.reach('volume.export.granted')
            self._exports.finish_export(plan, _connection_info(plan, info, grant), time.monotonic() - started)
            failpoints.reach('volume.export.finished')

    @contextlib.contextmanager
    def _step(self, volume_id: str, attachment_id: str, name: str) -> Iterator[None]:
        """Be at a step: this worker's by lease, under the volume's lock, and in agreement with the rows after it."""
        give_up = functools.partial(self.give_up, volume_id, attachment_id)
        with (
            self._leases.attempt(ATTACHMENT, attachment_id, give_up),
            self._agreement(volume_id),
            self._locks.hold(volume_id, name),
            self._turns.taken(),
        ):
            yield

    def _check_export(self, plan: ExportPlan) -> None:
        """Refuse what is not to be exported (any more), and cut off first who is to be cut off."""
        if plan.state == A.RESERVED and plan.error:  # the worker's own round tried it first
            raise errors.BackendError(f'The volume cannot be exported: {plan.error}')
        if plan.state != A.EXPORTING:
            raise errors.changed_meanwhile(plan.attachment_id)
        if plan.fenced:
            self._exports.fail_export(plan, plan.fenced)
            raise errors.Conflict(plan.fenced)
        lacks = sorted(key for key in plan.wants if not self.capabilities[extra_specs.OF_TARGETS[key]])
        if lacks:  # its worker was configured for another target since it was made
            lack = f'The type of the volume asks for what its target does not have ({", ".join(lacks)}): retype it.'
            self._exports.fail_export(plan, lack)
            raise errors.InvalidVolume(lack)
        if plan.is_fencing:
            self._fencer.fence_pending(plan.volume_id, plan.initiator)
        if plan.twin_host is not None:
            LOG.warning(
                'Attachment %s of volume %s: host %s presents the initiator name %s, and so does '
                'host %s: give each host a name of its own',
                plan.attachment_id,
                plan.volume_id,
                plan.connector.get('host'),
                plan.initiator,
                plan.twin_host,
            )

    def _refuse_export(self, plan: ExportPlan, exc: DriverRefused) -> None:
        failpoints.reach('volume.export.refused')
        self._undo(plan, f'export volume: {exc}')

    def _undo(self, plan: ExportPlan, error: str) -> None:
        """Take back what a refused export left, never what others use (contract 11.4 number 2)."""
        try:
            self._turn_away(plan)
        except DriverError as exc:
            LOG.warning('Attachment %s left something on its target: %s', plan.attachment_id, exc)
        failpoints.reach('volume.export.undone')
        self._exports.fail_export(plan, error)

    def unexport(self, volume_id: str, attachment_id: str) -> bool:
        """Turn away the initiator of an attachment in ``unexporting`` and remove the row.

        The export goes with the last one that uses it, decided under the volume's lock.

        :returns: whether the volume is known to have no other attachment.
        :raises BackendError: the target refused; the attachment is in ``error_detaching``.
        :raises OutcomeUnknown: the target did not answer; the step is taken up again.
        """
        with self._step(volume_id, attachment_id, 'unexport'):
            try:
                plan = self._exports.plan(attachment_id)
            except errors.AttachmentNotFound:
                return False
            if plan.state != A.UNEXPORTING:
                raise errors.changed_meanwhile(attachment_id)
            started = time.monotonic()
            failpoints.reach('volume.unexport.planned')
            with answers.expect(
                'The export cannot be taken back',
                lambda exc: self._exports.fail_unexport(plan, f'unexport volume: {exc}'),
            ):
                self._turn_away(plan)
            failpoints.reach('volume.unexport.turned_away')
            alone = self._exports.finish_unexport(plan, time.monotonic() - started)
            failpoints.reach('volume.unexport.finished')
            return alone

    def relocate(self, volume_id: str, attachment_id: str) -> None:
        """Tell the host of an attachment where the volume is found today; its credentials stay."""
        with self._locks.hold(volume_id, 'relocate'):
            try:
                self._relocate(self._exports.plan(attachment_id))
            except errors.AttachmentNotFound:
                return

    def _relocate(self, plan: ExportPlan) -> None:
        if self._exports.relocate(plan, self._target.locate(plan.volume_id)):
            LOG.info('Attachment %s: its connection_info has the address of today', plan.attachment_id)

    def give_up(self, volume_id: str, attachment_id: str, error: str) -> None:
        """End a step that was tried often enough, without a result, in an error state.

        :raises MultiattachError: it cannot be ended now.
        """
        with self._locks.hold(volume_id, 'give up'):
            plan = self._exports.plan(attachment_id)
            if plan.state == A.EXPORTING:
                self._undo(plan, f'export volume: {error}')
            elif plan.state == A.UNEXPORTING:
                self._exports.fail_unexport(plan, f'unexport volume: {error}')

    def _turn_away(self, plan: ExportPlan) -> None:
        if plan.is_last_of_initiator:
            adoption.restrict(self._target, plan.volume_id, plan.admitted)
            account = plan.account
            if account is None:
                account = self._target.name_account(plan.volume_id, plan.initiator)
            self._target.revoke(plan.volume_id, plan.initiator, account, alone=plan.is_last_on_target)

    @contextlib.contextmanager
    def _agreement(self, volume_id: str) -> Iterator[None]:
        """Bring a target back to what the rows say, if another worker wrote them during a step here.

        A lock runs out when its holder sleeps (a stopped process, a paused machine) for longer than it lasts.
        """
        try:
            yield
        except errors.InvalidTransition:
            LOG.warning('Volume %s: somebody else carried on meanwhile; its target is put right', volume_id)
            try:
                self._make_exact(volume_id)
            except (DriverError, errors.MultiattachError) as exc:
                LOG.error('The target of volume %s may not be what the rows say: %s', volume_id, exc)
            raise

    # -- after a restart -----------------------------------------------------------------------

    def watch(self, may_export: Callable[[], bool] = lambda: True) -> None:
        """Re-export everything if the target daemon is not the one it was."""
        with self._watching:
            self._watch(may_export)

    def _watch(self, may_export: Callable[[], bool]) -> None:
        try:
            generation = self._target.generation()
        except DriverError as exc:
            self._trouble.note(f'does not answer: {exc}', type(exc).__name__)
            return
        self._trouble.end()
        if generation == self._generation or not may_export():
            return
        if self._generation is not None:
            LOG.warning('The target daemon was restarted: exporting again')
        if isinstance(self._target, GatewayTarget):
            try:
                self._target.bury(generation, self._exports.list_exported(self._host))
            except DriverError as exc:
                self._trouble.note(f'was started anew, and is not in service yet: {exc}', type(exc).__name__)
                return
        if self.restore():
            self._generation = generation

    def forget(self) -> None:
        """Have everything exported again with the next look at the target daemon."""
        self._generation = None

    def restore(self) -> bool:
        """Export every volume that has an admitted attachment (contract 11.4 number 19).

        It adds what is missing and takes nothing away: the rows may be of an older copy of the database. What
        is too much the reconciler finds, and its breaker judges.

        :returns: whether all of them are exported.
        """
        complete = True
        volume_ids = self._exports.list_exported(self._host)
        kept = self._find_kept()
        for volume_id in volume_ids:
            if volume_id in kept:
                continue
            try:
                self._supply(volume_id)
            except (DriverError, errors.OutcomeUnknown) as exc:
                complete = False
                LOG.error('Volume %s cannot be exported again: %s', volume_id, exc)
        if volume_ids:
            LOG.info('Exported %d volumes again', len(volume_ids))
        return complete

    def _find_kept(self) -> frozenset[str]:
        """Find the volumes whose targets are as Cinder made them, have all that is needed, and are to stay so."""
        try:
            shown = self._here.list_exports()
        except DriverError:
            return frozenset()  # whoever needs them says so
        foreign = {ident: state for ident, state in shown.items() if state.is_foreign}
        if not foreign or not self._exports.has_imports():
            return frozenset()
        # Cinder's files would let in again whoever has left here.
        changed = self._exports.find_left([*foreign])
        return frozenset(
            ident
            for ident, state in foreign.items()
            if ident not in changed
            and adoption.is_served(state, self._exports.list_admitted_of(ident), self._target.name_account)
        )

    def agree(self, volume_id: str) -> None:
        """Make a volume's target what its rows say, whatever it is now: what they do not name is taken away.

        :raises OutcomeUnknown: it did not answer, or the volume's lock was not free in time.
        """
        with answers.expect('The target cannot be put right'):
            self._make_exact(volume_id)

    def supply(self, volume_id: str) -> None:
        """Give a volume's target what its rows say and it lacks; nothing is taken away.

        :raises OutcomeUnknown: it did not answer.
        """
        with answers.expect('The target cannot be put right'):
            self._supply(volume_id)

    def _make_exact(self, volume_id: str) -> None:
        with self._locks.hold(volume_id, 're-export'):
            rows = self._exports.list_admitted_of(volume_id)
            grants = self._make_grants(volume_id, rows)
            if grants:
                self._restrict(volume_id, rows)
                self._here.ensure_export(Export(volume_id, self._backend.path(volume_id), grants))
                failpoints.reach('volume.restore.exported')
                self._take_back(volume_id, grants)
            else:
                self._here.remove_export(volume_id)

    def _supply(self, volume_id: str) -> None:
        # Each of them, also those that are shown: a step that was killed may have left another secret.
        with self._locks.hold(volume_id, 're-export'):
            rows, device = self._exports.list_admitted_of(volume_id), self._backend.path(volume_id)
            grants = self._make_grants(volume_id, rows)
            self._restrict(volume_id, rows)
            try:
                for grant in grants:
                    self._here.grant(volume_id, device, grant)
                    failpoints.reach('volume.restore.exported')
            except TargetFull:
                if volume_id in self._here.list_exports():
                    raise
                # Nothing is taken away where nothing is, and this one does without a file.
                self._here.ensure_export(Export(volume_id, device, grants))
            self._take_back(volume_id, grants)

    def _take_back(self, volume_id: str, grants: Sequence[Grant]) -> None:
        """Turn away whom the rows do not name any more: the lock of a worker that slept has run out meanwhile."""
        if self._here is not self._target:
            return  # a gateway has asked for each of them
        wanted = {row.initiator for row in self._exports.list_admitted_of(volume_id)}
        for grant in grants:
            if grant.initiator not in wanted:
                LOG.warning('Volume %s: %s was turned away meanwhile, and is again', volume_id, grant.initiator)
                own = self._target.name_account(volume_id, grant.initiator)
                # Others have the account that Cinder gave.
                self._target.revoke(volume_id, grant.initiator, own if grant.username == own else '')

    def _make_grants(self, volume_id: str, rows: Sequence[Admitted]) -> tuple[Grant, ...]:
        failpoints.reach('volume.restore.planned')
        return adoption.make_grants(self._target, volume_id, rows)

    def _restrict(self, volume_id: str, rows: Sequence[Admitted]) -> None:
        if any(row.shared_account for row in rows):
            adoption.restrict(self._target, volume_id, rows)

    def resume(self, owns: Callable[[str], bool] = lambda _ident: True, after: datetime.datetime | None = None) -> None:
        """Carry on with every attachment whose next step is this worker's."""
        rows = {
            row.id: row
            for row in self._exports.list_open(self._host)
            if owns(row.volume_id) and (after is None or row.state_at >= after)
        }
        for due in self._leases.list_due([Step(ATTACHMENT, row.id, row.state_at) for row in rows.values()]):
            self._carry_on(due, rows[due.step.ident])

    def _carry_on(self, due: Due, row: Attachment) -> None:
        steps: dict[str, Callable[[str, str], Any]] = {
            A.EXPORTING: self.export,
            A.UNEXPORTING: self.unexport,
            A.FENCING: self._fencer.fence,
        }
        step = functools.partial(steps[row.state], row.volume_id, row.id)
        # What a fence promised nobody takes back.
        give_up = None if row.state == A.FENCING else functools.partial(self.give_up, row.volume_id, row.id)
        try:
            if self._leases.carry_on(due, step, give_up):
                LOG.info('Attachment %s: step %s carried on', row.id, row.state)
        except errors.MultiattachError as exc:
            LOG.warning('Attachment %s stays %s: %s', row.id, row.state, exc)
        except Exception:  # the others are not to wait for it
            LOG.exception('Attachment %s stays %s', row.id, row.state)


def _connection_info(plan: ExportPlan, access: Access, grant: Grant) -> dict[str, Any]:
    """Build a flat connection_info (contract 8.2)."""
    return {
        'attachment_id': plan.attachment_id,
        'volume_id': plan.volume_id,
        'access_mode': plan.mode,
        'encrypted': False,
        'cacheable': False,
        'qos_specs': plan.qos,
        # Hosts pass SCSI commands of their servers through, see multiattach.drivers.hypervisors.
        **({'reservations': True} if extra_specs.RESERVATIONS in plan.wants else {}),
        # Devices call themselves after it.
        **({'name_id': plan.name_id} if plan.name_id else {}),
        **access.tell(grant, plan.connector),
    }
