# SPDX-License-Identifier: Apache-2.0
"""Quotas: what projects may have (contract 10.5), enforced in the transaction that adds."""

import dataclasses
from collections.abc import Collection, Iterable, Mapping

from sqlalchemy.orm import Session

from multiattach.db import database, models, quotas as db_quotas, types as db_types
from multiattach.db.commits import Work
from multiattach.domain import errors, quotas
from multiattach.engine.context import RequestContext
from multiattach.engine.policy import Policy


@dataclasses.dataclass(frozen=True)
class QuotaSet:
    """Limits of a project or class, every resource named, what is used, and what will be."""

    name: str
    limits: Mapping[str, int]
    in_use: Mapping[str, int]
    reserved: Mapping[str, int]


class Quotas:
    """Use cases on quotas.

    :param snapshot_gigabytes: the size of snapshots counts against ``gigabytes``.
    """

    def __init__(
        self, db: database.Database, policy: Policy, defaults: Mapping[str, int], *, snapshot_gigabytes: bool = True
    ) -> None:
        self._snapshot_gigabytes = snapshot_gigabytes
        self._db = db
        self._policy = policy
        self._defaults = {
            resource: quotas.UNLIMITED if resource in quotas.UNLIMITED_BY_DEFAULT else 0
            for resource in quotas.RESOURCES
        } | dict(defaults)

    def check_growth(
        self, session: Session, project_id: str, type_name: str, *, volumes: int, gigabytes: int, size: int
    ) -> None:
        """Refuse what would exceed a quota, under the project's lock, which is taken and held.

        :raises QuotaExceeded: the message names the quota.
        """
        limits, usage = self._lock(session, project_id)
        quotas.check_growth(limits, usage, type_name, volumes, gigabytes, size)

    def check_snapshot(self, session: Session, project_id: str, type_name: str, size: int) -> None:
        """Refuse a snapshot that would exceed a quota, as :meth:`check_growth` does.

        :param size: its volume's, in GiB.
        """
        self.check_snapshots(session, project_id, type_name, [size])

    def check_snapshots(self, session: Session, project_id: str, type_name: str, sizes: Collection[int]) -> None:
        """Do the same for several of one type."""
        limits, usage = self._lock(session, project_id)
        gigabytes = sum(sizes) if self._snapshot_gigabytes else 0
        quotas.check_snapshots(limits, usage, type_name, len(sizes), gigabytes)

    def check_retype(
        self, session: Session, volume: models.Volume, snapshots: Iterable[models.Snapshot], type_name: str
    ) -> None:
        """Refuse a type to a volume and its snapshots if a project would have more of it than it may.

        :raises QuotaExceeded: the message names the quota.
        """
        sizes: dict[str, list[int]] = {volume.project_id: []}
        for snapshot in snapshots:
            sizes.setdefault(snapshot.project_id, []).append(snapshot.size)
        for project_id, some in sorted(sizes.items()):  # in one order: each of them is locked
            limits, usage = self._lock(session, project_id)
            gigabytes = sum(some) if self._snapshot_gigabytes else 0
            if project_id == volume.project_id:
                own = gigabytes + volume.size
                quotas.check_growth(limits, usage, type_name, 1, own, volume.size, in_project=False)
            quotas.check_snapshots(limits, usage, type_name, len(some), gigabytes, in_project=False)

    def _lock(self, session: Session, project_id: str) -> tuple[dict[str, int], quotas.QuotaUsage]:
        db_quotas.lock_project(session, project_id)
        return self._defaults | db_quotas.read_limits(session, project_id), self._count(session, project_id)

    def _count(self, session: Session, project_id: str) -> quotas.QuotaUsage:
        return db_quotas.count_usage(session, project_id, snapshot_gigabytes=self._snapshot_gigabytes)

    def check_attachments(self, work: Work, project_id: str, limit: int | None) -> None:
        """Refuse an attachment that would exceed the quota; without a limit this asks nothing.

        :param work: what holds the volume's lock; the project's is taken after it.
        :param limit: what an admin set for the project or its class, None if nothing.
        :raises QuotaExceeded: the quota is used up.
        """
        if self.limits_attachments(limit):
            most = self._defaults['attachments'] if limit is None else limit
            db_quotas.lock_project(work, project_id)
            quotas.check_attachments(most, db_quotas.count_attachments(work, project_id))

    def limits_attachments(self, limit: int | None) -> bool:
        """Tell whether there is a quota of attachments.

        :param limit: what an admin set for the project or its class, None if nothing.
        """
        return (self._defaults['attachments'] if limit is None else limit) != quotas.UNLIMITED

    @database.retry
    def show(self, ctx: RequestContext, project_id: str) -> QuotaSet:
        self._policy.check(ctx, 'volume_extension:quotas:show', project_id)
        with self._db.reader() as session:
            return self._read(session, project_id, project_id)

    @database.retry
    def show_own(self, ctx: RequestContext) -> QuotaSet:
        """Read the limits and the use of the caller's own project; everybody may."""
        project_id = ctx.project or ''
        with self._db.reader() as session:
            return self._read(session, project_id, project_id)

    @database.retry
    def show_defaults(self, ctx: RequestContext, project_id: str) -> QuotaSet:
        self._policy.check(ctx, 'volume_extension:quotas:show', project_id)
        with self._db.reader() as session:
            return self._read(session, project_id, None)

    @database.retry
    def update(self, ctx: RequestContext, project_id: str, limits: Mapping[str, int]) -> QuotaSet:
        """Set limits of a project.

        :raises InvalidInput: an unknown resource, or a limit below what is used.
        """
        self._policy.check(ctx, 'volume_extension:quotas:update', project_id)
        with self._db.writer() as session:
            db_quotas.lock_project(session, project_id)
            now = self._read(session, project_id, project_id)
            _check_known(limits, now)
            for resource, limit in limits.items():
                taken = now.in_use[resource] + now.reserved[resource]
                if limit != quotas.UNLIMITED and limit < taken:
                    raise errors.InvalidInput(
                        f"Invalid input: Quota limit {limit} for '{resource}' is below what is in use ({taken})."
                    )
            db_quotas.write_limits(session, db_quotas.PROJECT, project_id, limits)
            return self._read(session, project_id, project_id)

    @database.retry
    def delete(self, ctx: RequestContext, project_id: str) -> None:
        """Forget the limits of a project: the defaults hold again."""
        self._policy.check(ctx, 'volume_extension:quotas:delete', project_id)
        with self._db.writer() as session:
            db_quotas.delete_limits(session, db_quotas.PROJECT, project_id)

    @database.retry
    def show_class(self, ctx: RequestContext, name: str) -> QuotaSet:
        """Read the limits of a quota class; ``default`` is what projects get."""
        self._policy.check(ctx, 'volume_extension:quota_classes:get')
        with self._db.reader() as session:
            return self._read(session, name, None, name)

    @database.retry
    def update_class(self, ctx: RequestContext, name: str, limits: Mapping[str, int]) -> QuotaSet:
        self._policy.check(ctx, 'volume_extension:quota_classes:update')
        with self._db.writer() as session:
            _check_known(limits, self._read(session, name, None, name))
            db_quotas.write_limits(session, db_quotas.CLASS, name, limits)
            return self._read(session, name, None, name)

    def _read(
        self, session: Session, name: str, project_id: str | None, class_name: str = db_quotas.DEFAULT_CLASS
    ) -> QuotaSet:
        resources = quotas.list_resources(db_types.list_names(session))
        found = self._defaults | db_quotas.read_limits(session, project_id, class_name)
        usage = quotas.QuotaUsage({}, {})
        if project_id is not None:
            usage = dataclasses.replace(
                self._count(session, project_id), attachments=db_quotas.count_attachments(session, project_id)
            )
        return QuotaSet(
            name,
            {r: found.get(r, quotas.UNLIMITED) for r in resources},
            {r: usage.of(r) for r in resources},
            {r: usage.reserved(r) for r in resources},
        )


def _check_known(limits: Mapping[str, int], now: QuotaSet) -> None:
    unknown = sorted(set(limits) - set(now.limits))
    if unknown:
        raise errors.InvalidInput(f'Bad key(s) in quota set: {", ".join(unknown)}')
