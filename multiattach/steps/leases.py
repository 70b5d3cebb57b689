# SPDX-License-Identifier: Apache-2.0
"""Steps in the hands of one process: who is at it, what is tried again and when, and what is given up.

A step that is quick costs no statement: only what takes long, fails without a result, or is taken over
from somebody else has a row.
"""

import contextlib
import dataclasses
import datetime
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence

from oslo_db import exception as db_exc
from oslo_log import log

from multiattach import signals
from multiattach.db import database, leases as db_leases, models
from multiattach.db.leases import ATTACHMENT, MIGRATION, SNAPSHOT, VOLUME
from multiattach.domain import errors, leases, migrations, snapshots, states
from multiattach.domain.leases import Lease, LeaseRules
from multiattach.steps.watch import Watch

__all__ = [
    'AGENT_STEPS',
    'ATTACHMENT',
    'MIGRATION',
    'SNAPSHOT',
    'UNKNOWN',
    'VOLUME',
    'WORKER_STEPS',
    'Due',
    'Step',
    'StepLeases',
]

LOG = log.getLogger(__name__)

# States in which a role is to act. An agent waits in `exporting` for the worker.
WORKER_STEPS: Mapping[str, frozenset[str]] = {
    ATTACHMENT: states.WORKER_STATES,
    VOLUME: states.WORKER_STATUSES,
    SNAPSHOT: snapshots.WORKER_SNAPSHOTS,
    MIGRATION: migrations.OPEN,
}
AGENT_STEPS: Mapping[str, frozenset[str]] = {ATTACHMENT: states.AGENT_STATES, VOLUME: frozenset()}
# How an attempt ends that has no result.
UNKNOWN: tuple[type[errors.MultiattachError], ...] = (errors.OutcomeUnknown, errors.Unavailable)

_SWEEP = 60.0  # s between two looks for leases of steps that ended
_LONGEST = 200  # characters of a name, of the 255 that the column has
# One for all that a process does: another process of the same name is not this one.
_INCARNATION = uuid.uuid4().hex[:12]


@dataclasses.dataclass(frozen=True)
class Step:
    """A step that is due.

    :param since: when it took its state.
    :param ordered: whether somebody may have got an order for it, who then has it in hand.
    """

    noun: str
    ident: str
    since: datetime.datetime
    ordered: bool = True


@dataclasses.dataclass(frozen=True)
class Due:
    """A step that may be taken up.

    :param lease: its lease as it was read, None for none.
    """

    step: Step
    lease: Lease | None


@dataclasses.dataclass
class _Hand:
    noun: str
    started: float
    users: int = 1


class StepLeases:
    """The leases of one worker or agent.

    :param member: name of this process in its crew.
    :param steps: states by noun in which this role is to act.
    :param is_alone: nobody else ever serves what this one serves: what others had is this one's.
    """

    def __init__(
        self,
        db: database.Database,
        rules: LeaseRules,
        role: str,
        member: str,
        is_gone: Callable[[str], bool],
        steps: Mapping[str, frozenset[str]],
        *,
        is_alone: bool,
    ) -> None:
        self.rules = rules
        self._member = member[:_LONGEST]
        self.owner = f'{role}:{self._member}/{_INCARNATION}'
        self._db = db
        self._is_member_gone = is_gone
        self._steps = steps
        self._is_alone = is_alone
        self._lock = threading.Lock()
        self._hands: dict[str, _Hand] = {}
        self._attempts: dict[str, int] = {}  # of the leases that this process wrote
        self._taken: set[str] = set()  # in work because they were taken up, not because somebody asked
        self._watch = Watch()
        # What began before this process may have been in the hands of one of the same name that died.
        self.orphan()
        self._swept = time.monotonic()
        self._random = random.Random()  # noqa: S311

    # -- taking up -----------------------------------------------------------------------------

    def orphan(self) -> None:
        """Note that a member of the crew is dead: what it may have had in hand is anybody's."""
        self._orphaned = models.now(), time.monotonic()

    def _find_orphaned(self, now: datetime.datetime) -> datetime.datetime | None:
        """Tell when that was, by the clock that was and the one that is: it may have stepped.

        After a lease time it tells nothing more: what is as old by then is so without it.
        """
        moment, clock = self._orphaned
        past = time.monotonic() - clock
        return min(moment, now - datetime.timedelta(seconds=past)) if past <= self.rules.duration else None

    def list_due(self, steps: Sequence[Step]) -> list[Due]:
        """Choose the steps that this process may take up now."""
        with self._lock:
            free = [step for step in steps if step.ident not in self._hands]
        if not free:
            return []
        found = self._read([step.ident for step in free])
        now = models.now()
        view = leases.View(self.owner, now, self._is_gone, self._find_orphaned(now))
        dues = [Due(step, found.get(step.ident)) for step in free]
        return [
            due
            for due in dues
            if leases.may_take(
                due.step.since,
                due.lease,
                self.rules,
                view,
                ordered=due.step.ordered,
                watched=self._watch.look(due.step.ident, due),
            )
        ]

    def carry_on(self, due: Due, step: Callable[[], object], give_up: Callable[[str], None] | None) -> bool:
        """Take a step up, if nobody else does first, and run it, or end it if it was tried enough.

        :param give_up: ends it in an error state that says why; None for a step that must not end so.
        """
        attempts = self._take(due)
        if attempts is None:
            return False
        try:
            return self._carry_on(due, step, give_up, attempts)
        finally:
            with self._lock:
                self._taken.discard(due.step.ident)

    def _carry_on(
        self, due: Due, step: Callable[[], object], give_up: Callable[[str], None] | None, attempts: int
    ) -> bool:
        if give_up is None or not leases.is_exhausted(attempts, self.rules):
            step()
            return True
        with self.attempt(due.step.noun, due.step.ident, None, counts=False):
            error = due.lease.error if due.lease is not None else None
            LOG.error('%s %s is given up after %d attempts', due.step.noun, due.step.ident, attempts)
            give_up(leases.give_up_text(attempts, error))
        return True

    def _is_gone(self, owner: str) -> bool:
        member = owner.partition(':')[2].rpartition('/')[0]
        if self._is_alone or member == self._member:
            return owner != self.owner
        return self._is_member_gone(member)

    @database.retry
    def _read(self, idents: Sequence[str]) -> dict[str, Lease]:
        with self._db.reader() as session:
            return db_leases.list_of(session, idents)

    def _take(self, due: Due) -> int | None:
        """Make a step this process's; return the attempts before, or None if somebody else was first."""
        step, before = due.step, due.lease
        attempts = leases.count_attempts(step.since, before)
        error = before.error if before is not None and before.since == step.since else None
        lease = Lease(step.ident, step.since, self.owner, self._end_of_lease(), attempts, None, error)
        if not self._swap(before, lease):
            LOG.info('%s %s: somebody else was first', step.noun, step.ident)
            return None
        with self._lock:
            self._attempts[step.ident] = attempts
            self._taken.add(step.ident)
        if before is None or before.retry_at is None:
            signals.sink.taken_over(step.noun)
        LOG.info('%s %s is taken up (attempt %d)', step.noun, step.ident, attempts + 1)
        return attempts

    @database.retry
    def _swap(self, before: Lease | None, after: Lease) -> bool:
        try:
            with self._db.writer() as session:
                if before is not None:
                    return db_leases.swap(session, before, after)
                db_leases.insert(session, after)
                return True
        except db_exc.DBDuplicateEntry:
            return False

    def _end_of_lease(self) -> datetime.datetime:
        return models.now() + datetime.timedelta(seconds=self.rules.duration)

    # -- being at it ---------------------------------------------------------------------------

    @contextlib.contextmanager
    def attempt(
        self,
        noun: str,
        ident: str,
        give_up: Callable[[str], None] | None,
        *,
        retried: tuple[type[errors.MultiattachError], ...] = UNKNOWN,
        counts: bool = True,
    ) -> Iterator[None]:
        """Run an attempt at a step in the block; if it ends without a result, it is tried again.

        :param give_up: ends the step in an error state; None for one that must not end so.
        :param counts: False for what only ends the step, of which attempts tell nothing.
        :raises OutcomeUnknown: something unexpected happened; it is in the log.
        """
        self.grab(noun, ident)
        try:
            yield
        except errors.MultiattachError as exc:
            if isinstance(exc, retried):
                self._fail(noun, ident, exc.message, give_up, counts)
            else:
                self._end(ident)
            raise
        except Exception as exc:
            LOG.exception('%s %s: unexpected failure', noun, ident)
            error = f'unexpected failure ({type(exc).__name__}); the log has the rest'
            self._fail(noun, ident, error, give_up, counts)
            raise errors.OutcomeUnknown(f'The step had an {error}. It is tried again.') from exc
        else:
            self._end(ident)
        finally:
            self.drop(ident)

    def grab(self, noun: str, ident: str) -> None:
        """Note that a step is in this process's hands, from now to :meth:`drop`."""
        with self._lock:
            if ident in self._hands:
                self._hands[ident].users += 1
            else:
                self._hands[ident] = _Hand(noun, time.monotonic())

    def drop(self, ident: str) -> None:
        """Note that a step is not in hand any more, as often as it was grabbed."""
        with self._lock:
            hand = self._hands.get(ident)
            if hand is not None:
                hand.users -= 1
                if not hand.users:
                    del self._hands[ident]

    def _end(self, ident: str) -> None:
        """Forget the lease of a step that has ended, if it had one."""
        with self._lock:
            had = self._attempts.pop(ident, None) is not None
        if had:
            try:
                self._delete(ident)
            except errors.MultiattachError as exc:
                LOG.info('The lease of %s is forgotten later: %s', ident, exc)

    @database.retry
    def _delete(self, ident: str) -> None:
        with self._db.writer() as session:
            db_leases.delete(session, self.owner, ident)

    def _fail(self, noun: str, ident: str, error: str, give_up: Callable[[str], None] | None, counts: bool) -> None:
        try:
            self._try_fail(noun, ident, error, give_up, counts)
        except errors.MultiattachError as exc:  # it is taken up when its lease has run out
            LOG.warning('%s %s: that an attempt failed cannot be written: %s', noun, ident, exc)

    def _try_fail(self, noun: str, ident: str, error: str, give_up: Callable[[str], None] | None, counts: bool) -> None:
        since, lease = self._look(noun, ident)
        if since is None:  # it has ended, or is somebody else's to go on with
            self._end(ident)
            return
        known = lease.attempts if lease is not None and lease.since == since else 0
        if not counts and lease is not None and lease.since == since:
            error = lease.error or error  # what the step is given up for
        with self._lock:
            # Whoever asks again begins a step anew: then the row tells, not what was before.
            attempts = (self._attempts.get(ident, known) if ident in self._taken else known) + counts
        if give_up is not None and leases.is_exhausted(attempts, self.rules):
            try:
                give_up(leases.give_up_text(attempts, error))
                LOG.error('%s %s is given up after %d attempts: %s', noun, ident, attempts, error)
                self._end(ident)
                return
            except errors.MultiattachError as exc:
                LOG.warning('%s %s cannot be given up now: %s', noun, ident, exc)
            since, _lease = self._look(noun, ident)
            if since is None:
                self._end(ident)
                return
        retry_at = models.now() + datetime.timedelta(
            seconds=leases.choose_pause(attempts, self._random.random(), self.rules)
        )
        if self._save(Lease(ident, since, self.owner, retry_at, attempts, retry_at, error[:1000])):
            with self._lock:
                self._attempts[ident] = attempts
            signals.sink.attempt_failed(noun)
            LOG.warning(
                '%s %s: attempt %d had no result, the next one is at %s: %s',
                noun,
                ident,
                attempts,
                retry_at.isoformat(timespec='seconds'),
                error,
            )

    @database.retry
    def _look(self, noun: str, ident: str) -> tuple[datetime.datetime | None, Lease | None]:
        """Read since when a step is due (None if it is not, for this role) and its lease."""
        with self._db.reader() as session:
            found = db_leases.read_step(session, noun, ident)
            if found is None or found[0] not in self._steps[noun]:
                return None, None
            return found[1], db_leases.list_of(session, [ident]).get(ident)

    @database.retry
    def _save(self, lease: Lease) -> bool:
        """Write a lease unless somebody else has the step."""
        try:
            with self._db.writer() as session:
                if not db_leases.replace(session, lease, models.now()):
                    db_leases.insert(session, lease)
                return True
        except db_exc.DBDuplicateEntry:
            LOG.info('%s is in the hands of somebody else', lease.ident)
            return False

    # -- now and then --------------------------------------------------------------------------

    def keep(self) -> None:
        """Renew the leases of what is in hand for long; quick steps have none and need none."""
        mark = time.monotonic() - self.rules.renewal
        with self._lock:
            slow = {ident: hand.noun for ident, hand in self._hands.items() if hand.started <= mark}
            mine = [ident for ident in slow if ident in self._attempts]
        if mine and self._renew(mine) < len(mine):
            self._notice_losses(mine)
        for ident in slow.keys() - set(mine):
            self._adopt(slow[ident], ident)
        if self._steps[VOLUME] and time.monotonic() - self._swept > _SWEEP:  # a region has many agents, and one table
            self._swept = time.monotonic()
            self.sweep()

    @database.retry
    def _renew(self, idents: Sequence[str]) -> int:
        with self._db.writer() as session:
            return db_leases.renew(session, self.owner, idents, self._end_of_lease())

    def _notice_losses(self, idents: Sequence[str]) -> None:
        found = self._read(idents)
        for ident in idents:
            lease = found.get(ident)
            if lease is None or lease.owner != self.owner:
                LOG.warning(
                    'The lease of %s was lost to %s: what is done here goes on only as far as the row lets it',
                    ident,
                    lease.owner if lease is not None else 'nobody',
                )
                with self._lock:
                    self._attempts.pop(ident, None)

    def _adopt(self, noun: str, ident: str) -> None:
        """Take the lease of a slow step that came as an order."""
        since, lease = self._look(noun, ident)
        if since is None:
            return
        attempts = lease.attempts if lease is not None and lease.since == since else 0
        if self._save(Lease(ident, since, self.owner, self._end_of_lease(), attempts)):
            with self._lock:
                self._attempts[ident] = attempts

    @database.retry
    def sweep(self) -> None:
        """Forget the leases of steps that ended without their owner."""
        with self._db.writer() as session:
            now = models.now()
            longest = datetime.timedelta(seconds=self.rules.duration + self.rules.longest_pause)
            db_leases.sweep(session, now, now + longest)
