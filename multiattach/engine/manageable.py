# SPDX-License-Identifier: Apache-2.0
"""Storage that is there and becomes a volume, and volumes whose storage is left to others."""

import dataclasses
import json
import operator
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from sqlalchemy.orm import Session

from multiattach import failpoints
from multiattach.db import (
    attachments as db_attachments,
    database,
    default_types as db_defaults,
    models,
    paging,
    transitions,
    types as db_types,
    volumes as db_volumes,
)
from multiattach.domain import errors, extra_specs, pools, states
from multiattach.engine import clones, encryptions, placement, snapshots
from multiattach.engine.access import lock_volume
from multiattach.engine.context import RequestContext
from multiattach.engine.policy import Policy
from multiattach.engine.quotas import Quotas
from multiattach.engine.services import Services
from multiattach.engine.types import Types
from multiattach.rpc.clients import VolumeWorkers

_GIB = 1024**3
MANAGED = 'already managed'
# Names of a host and of a cluster, with a backend, perhaps with a pool; one of them is given.
Place = tuple[str | None, str | None]


class _Named(Protocol):
    @property
    def name(self) -> str: ...


_E = TypeVar('_E', bound=_Named)


@dataclasses.dataclass(frozen=True)
class Entry:
    """What a backend's storage has, as admins see it.

    :param size: GiB, rounded up.
    :param reason: why it cannot be managed, None if it can.
    :param volume_id: UUID of the volume that it is, or None.
    """

    name: str
    size: int
    reason: str | None
    volume_id: str | None


@dataclasses.dataclass(frozen=True)
class Takeover:
    """What an admin asks to be managed.

    :param place: names of a backend's host and of its cluster, one of them None.
    :param reference: of the storage, as :func:`parse_reference` reads it.
    """

    place: Place
    reference: Any
    type_name: str | None = None
    name: str | None = None
    description: str | None = None
    zone: str | None = None
    bootable: bool = False
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)


class ManageableVolumes:
    def __init__(
        self,
        db: database.Database,
        policy: Policy,
        types: Types,
        services: Services,
        quotas: Quotas,
        workers: VolumeWorkers,
    ) -> None:
        self._db = db
        self._policy = policy
        self._types = types
        self._services = services
        self._quotas = quotas
        self._workers = workers

    def list_page(self, ctx: RequestContext, place: Place, page: paging.Page) -> list[Entry]:
        """List what the storage of a backend has.

        :param page: sorted by ``reference`` or ``size``; the marker is a reference as JSON.
        :raises InvalidInput: no such backend, or no such marker.
        :raises Unavailable: its worker does not report, or is of an older release.
        """
        self._policy.check(ctx, 'volume_extension:list_manageable')
        backend = find_backend(place, self._services.list_backends())
        found = self._workers.list_manageable(backend.host, ctx.request_id)
        return cut(self._judge(backend.host, found), page)

    @database.retry
    def _judge(self, host: str, found: Sequence[Mapping[str, Any]]) -> list[Entry]:
        """Add what the database knows."""
        with self._db.reader() as session:
            # Of a volume that is elsewhere, too: it is on its way here, or was left behind by a migration.
            mine = db_volumes.find_live(session, [one['volume_id'] for one in found if one['volume_id']])
            taken = db_volumes.list_taken(session, host)
        entries = []
        for one in found:
            ident = one['volume_id'] if one['volume_id'] in mine else taken.get(one['name'])
            reason = MANAGED if ident else one['obstacle'] or None
            entries.append(Entry(one['name'], max(-(-one['size'] // _GIB), 1), reason, ident))
        return entries

    def manage(self, ctx: RequestContext, wish: Takeover) -> models.VolumeDetail:
        """Record a volume of storage that is there, and have its worker rename that.

        :returns: the volume in ``managing``.
        :raises InvalidInput: no such backend or storage, or it cannot be managed; the type does not fit.
        """
        self._policy.check(ctx, 'volume_extension:volume_manage')
        if ctx.project is None:
            raise errors.InvalidInput('A volume needs a project: use a project-scoped token.')
        reference = parse_reference(wish.reference)
        backend = find_backend(wish.place, self._services.list_backends())
        if wish.zone is not None and wish.zone != backend.zone:
            raise errors.InvalidInput(f'Invalid input received: the backend is in availability zone {backend.zone}.')
        seen = self._workers.find_manageable(backend.host, reference, ctx.request_id)
        [entry] = self._judge(backend.host, [seen])
        if entry.reason is not None:
            raise errors.InvalidInput(f'Unable to manage existing volume. {reference}: {entry.reason}.')
        volume = self._insert(ctx, ctx.project, str(uuid.uuid4()), wish, backend, entry)
        failpoints.reach('engine.volume_manage.written')
        self._workers.manage_volume(backend.host, volume.id, ctx.request_id)
        return volume

    @database.retry
    def _insert(
        self, ctx: RequestContext, project: str, ident: str, wish: Takeover, backend: placement.Candidate, entry: Entry
    ) -> models.VolumeDetail:
        with self._db.writer() as session:
            name = wish.type_name or db_defaults.find_type_id(session, project) or self._types.default_name
            kind = db_types.find(session, name, lock=True)
            if not backend.fits(kind.extra_specs):
                raise errors.InvalidInput(
                    'Invalid input received: the backend does not have what the volume type asks for '
                    f'({placement.describe(kind.extra_specs)}).'
                )
            shared = extra_specs.is_multiattach(kind.extra_specs)
            if shared:
                self._policy.check(ctx, 'volume:multiattach', project)
            encryptions.check_not_encrypted(session, kind.id, multiattach=shared)
            self._quotas.check_growth(session, project, kind.name, volumes=1, gigabytes=entry.size, size=entry.size)
            db_volumes.add(
                session,
                models.Volume(
                    id=ident,
                    project_id=project,
                    user_id=ctx.user_id,
                    display_name=wish.name,
                    display_description=wish.description,
                    size=entry.size,
                    volume_type_id=kind.id,
                    multiattach=shared,
                    bootable=wish.bootable,
                    status=states.Volume.MANAGING,
                    host=backend.host,
                    availability_zone=backend.zone,
                    service_uuid=backend.service_uuid,
                    managed_from=entry.name,
                    request_id=ctx.request_id,
                ),
            )
            db_volumes.replace_metadata(session, ident, wish.metadata, keep_others=True)
            return db_volumes.get(session, ident)

    def unmanage(self, ctx: RequestContext, volume_id: str) -> None:
        """Record that a volume is to go without its storage (os-unmanage).

        :raises InvalidVolume: its status, or an attachment, does not allow it.
        """
        host = self._begin_unmanage(ctx, volume_id)
        if host is not None:
            failpoints.reach('engine.volume_unmanage.written')
            self._workers.unmanage_volume(host, volume_id, ctx.request_id)

    @database.retry
    def _begin_unmanage(self, ctx: RequestContext, volume_id: str) -> str | None:
        with self._db.writer() as session:
            volume = lock_volume(session, self._policy, ctx, volume_id, 'volume_extension:volume_unmanage')
            return begin_unmanage(session, volume)


def find_backend(place: Place, backends: Iterable[placement.Candidate]) -> placement.Candidate:
    """Find the backend that an admin names, and see that its worker reports.

    :raises InvalidInput: none is named, two are, or there is no such backend.
    :raises Unavailable: its worker does not report.
    """
    names = [name for name in place if name]
    if len(names) != 1:
        raise errors.InvalidInput('Invalid input received: One and only one of cluster and host must be set.')
    host = pools.strip_pool(names[0])
    found = next((one for one in backends if one.host == host), None)
    if found is None:
        raise errors.InvalidInput(f'Invalid input received: there is no backend {names[0][:64]}.')
    if not found.is_up:
        raise errors.Unavailable(f'The worker of the backend {found.host} does not report: restart it.')
    return found


def begin_unmanage(session: Session, volume: models.Volume) -> str | None:
    """Move a locked volume to ``unmanaging``; return the backend that is to be told, None for none.

    :raises InvalidVolume: its status, or an attachment, does not allow it.
    """
    if any(db_attachments.count_places(session, volume.id, None)):
        raise errors.InvalidVolume('Invalid volume: it has attachments; detach it from its servers first.')
    clones.check_not_copied(session, volume)
    snapshots.check_none(session, volume)
    db_attachments.remove_placeless(session, volume.id)
    try:
        transitions.move_volume(session, volume.id, 'unmanage')
    except errors.InvalidTransition as exc:
        raise errors.InvalidVolume(
            'Invalid volume: status must be available or error or error_extending or error_managing to unmanage; it '
            f'is {volume.status}.'
        ) from exc
    if volume.host is None:
        transitions.move_volume(session, volume.id, 'unmanaged')
    return volume.host


def parse_reference(value: Any) -> str:
    """Read what names storage: an object with ``source-name``, or the name itself.

    :raises InvalidInput: anything else.
    """
    name = value if isinstance(value, str) else value.get('source-name') if isinstance(value, dict) else None
    if not isinstance(name, str) or not 0 < len(name) <= 255:
        raise errors.InvalidInput('Invalid input received: Reference must contain source-name element.')
    return name


def cut(entries: list[_E], page: paging.Page) -> list[_E]:
    """Sort entries, and return those of a page."""
    for key, direction in reversed(page.sort):
        entries.sort(key=operator.attrgetter(key), reverse=direction == 'desc')
    start = page.offset
    if page.marker is not None:
        try:
            wanted = parse_reference(json.loads(page.marker))
        except (ValueError, RecursionError) as exc:
            raise errors.InvalidInput(
                f'marker {page.marker[:64]} can not be analysed, please use json like format'
            ) from exc
        at = next((number for number, one in enumerate(entries) if one.name == wanted), None)
        if at is None:
            raise errors.InvalidInput(f'marker not found: {page.marker[:64]}')
        start += at + 1
    return entries[start : start + page.limit]
