# SPDX-License-Identifier: Apache-2.0
"""Who is registered at a volume with SCSI-3 reservations, asked from its worker; and the end of what is left there."""

import dataclasses
from typing import Any

from oslo_log import log

from multiattach.db import changes, database, models, reservations as db_reservations, targets as db_targets
from multiattach.domain import errors, reservations
from multiattach.engine.context import RequestContext
from multiattach.engine.policy import Policy
from multiattach.engine.services import Services
from multiattach.engine.targets import check_up
from multiattach.rpc.clients import VolumeWorkers

LOG = log.getLogger(__name__)
_PATIENCE = 10.0  # s
_RULE = 'multiattach:volume_reservations'


@dataclasses.dataclass(frozen=True)
class Whose:
    """Whose registrations are meant; all without any."""

    attachment_id: str | None = None
    server_id: str | None = None
    initiator: str | None = None


class Reservations:
    """Use cases of people who look after clusters."""

    def __init__(self, db: database.Database, policy: Policy, services: Services, workers: VolumeWorkers) -> None:
        self._db = db
        self._policy = policy
        self._services = services
        self._workers = workers
        self._quick = workers.within(_PATIENCE)

    def sees_initiators(self, ctx: RequestContext) -> bool:
        return ctx.is_service_request or self._policy.allows(ctx, 'multiattach:explain_internals', None)

    def show(self, ctx: RequestContext, volume_id: str) -> reservations.VolumeReservations:
        """Ask the worker of a volume who is registered.

        :raises Conflict: its target keeps no reservations.
        :raises Unavailable: its worker does not report, or gave no answer in time.
        """
        host = self._find_host(ctx, volume_id, _RULE)
        try:
            told = self._quick.show_reservations(host, volume_id, ctx.request_id)
        except errors.OutcomeUnknown as exc:
            raise errors.Unavailable(f'The volume worker {host} gave no answer in time.') from exc
        return self._join(volume_id, told)

    def clear(self, ctx: RequestContext, volume_id: str, whose: Whose) -> reservations.VolumeReservations:
        """End registrations, and what they hold; what is left was read from the target afterwards.

        :raises NotFound: the attachment or the server has no initiator at the volume that nobody else has now.
        :raises Conflict: its target keeps no reservations.
        :raises Unavailable: its worker does not report.
        :raises OutcomeUnknown: no answer in time; repeat it.
        """
        host = self._find_host(ctx, volume_id, f'{_RULE}_clear')
        initiators = self._find_initiators(volume_id, whose)
        LOG.warning('Volume %s: the registrations of %s are to be ended', volume_id, initiators or 'all initiators')
        try:
            told = self._workers.clear_reservations(host, volume_id, initiators, ctx.request_id)
        except (errors.OutcomeUnknown, errors.BackendError) as exc:
            # Some may have ended, or end yet.
            self._note(ctx, volume_id, 'clear_reservations_failed', exc.message)
            raise
        self._note(ctx, volume_id, 'clear_reservations')
        return self._join(volume_id, told)

    @database.retry
    def _find_host(self, ctx: RequestContext, volume_id: str, rule: str) -> str:
        with self._db.reader() as session:
            volume = db_targets.find_owner(session, volume_id)
        if volume is None:
            raise errors.VolumeNotFound(volume_id)
        self._policy.check_visible(ctx, volume, errors.VolumeNotFound(volume_id))
        self._policy.check(ctx, rule, volume.project_id)
        if volume.host is None:
            raise errors.Conflict('The volume has no backend: nobody can be registered there.')
        check_up(volume.host, any(one.is_up for one in self._services.list_backends() if one.host == volume.host))
        return volume.host

    @database.retry
    def _find_initiators(self, volume_id: str, whose: Whose) -> list[str] | None:
        if whose.initiator is not None:
            return [whose.initiator]
        if whose == Whose():
            return None
        with self._db.reader() as session:
            found = db_reservations.list_initiators(session, volume_id, whose.attachment_id, whose.server_id)
        if not found:
            what = f'attachment {whose.attachment_id}' if whose.attachment_id else f'server {whose.server_id}'
            raise errors.NotFound(
                f'The {what} has no initiator of its own at volume {volume_id}: it never had one, or '
                'another attachment has it now.'
            )
        return found

    @database.retry
    def _note(self, ctx: RequestContext, volume_id: str, event: str, error: str | None = None) -> None:
        with self._db.writer() as session:
            moment = models.now()
            changes.note(
                session,
                lambda: changes.Change(
                    changes.VOLUME,
                    volume_id,
                    event,
                    None,
                    moment,
                    error=error,
                    request_id=ctx.request_id,
                    caller=ctx.caller,
                ),
            )

    @database.retry
    def _join(self, volume_id: str, told: dict[str, Any]) -> reservations.VolumeReservations:
        initiators = {one['initiator'] for one in told['registrations']}
        with self._db.reader() as session:
            known = db_reservations.find_registrants(session, volume_id, initiators)
        return reservations.read(volume_id, told, known)
