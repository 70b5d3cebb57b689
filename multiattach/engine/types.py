# SPDX-License-Identifier: Apache-2.0
"""Volume types and extra specs (contract 10.3)."""

from collections.abc import Callable, Mapping, Sequence

import sqlalchemy as sa
from oslo_db import exception as db_exc
from sqlalchemy.orm import Session

from multiattach.db import database, default_types as db_defaults, models, paging, qos_specs, types as db_types
from multiattach.domain import bounds, errors, extra_specs
from multiattach.engine import default_types, encryptions
from multiattach.engine.context import RequestContext
from multiattach.engine.policy import Policy


class Types:
    """Use cases on volume types."""

    def __init__(self, db: database.Database, policy: Policy, default_name: str) -> None:
        self._db = db
        self._policy = policy
        self.default_name = default_name

    @database.retry
    def ensure_default(self) -> None:
        """Make the default type if it is missing; several processes may try at once."""
        try:
            with self._db.writer() as session:
                try:
                    db_types.find(session, self.default_name)
                except errors.VolumeTypeNotFound:
                    db_types.add(session, self.default_name, 'Default Volume Type', True)
        except db_exc.DBDuplicateEntry:
            return

    @database.retry
    def show(self, ctx: RequestContext, type_id: str) -> models.VolumeType:
        self._policy.check(ctx, 'volume_extension:type_get')
        with self._db.reader() as session:
            return self._visible(session, ctx, db_types.get(session, type_id), type_id)

    @database.retry
    def find(self, ctx: RequestContext, name_or_id: str) -> models.VolumeType:
        with self._db.reader() as session:
            return self._visible(session, ctx, db_types.find(session, name_or_id), name_or_id)

    @database.retry
    def show_default(self, ctx: RequestContext) -> models.VolumeType:
        """Load the type that the caller's project gets if it asks for none.

        :raises VolumeTypeNotFound: the configured one does not exist.
        """
        self._policy.check(ctx, 'volume_extension:type_get')
        with self._db.reader() as session:
            own = db_defaults.find_type_id(session, ctx.project or '')
        return self.find(ctx, own or self.default_name)

    @database.retry
    def list_page(
        self, ctx: RequestContext, filters: Sequence[sa.ColumnElement[bool]], page: paging.Page
    ) -> list[models.VolumeType]:
        """List types; people without the admin role see those that their project may use."""
        self._policy.check(ctx, 'volume_extension:type_get_all')
        scope = [] if ctx.is_admin else [db_types.accessible(ctx.project)]
        with self._db.reader() as session:
            return db_types.list_page(session, [*filters, *scope], page)

    @database.retry
    def create(
        self, ctx: RequestContext, name: str, description: str | None, is_public: bool, specs: Mapping[str, str | None]
    ) -> models.VolumeType:
        """Create a type.

        :raises InvalidInput: extra specs that cannot mean what their author wants.
        :raises Conflict: the name is taken.
        """
        self._policy.check(ctx, 'volume_extension:type_create')
        extra_specs.check_specs(specs)
        try:
            with self._db.writer() as session:
                ident = db_types.add(session, name, description, is_public)
                db_types.set_specs(session, ident, specs)
                return db_types.get(session, ident)
        except db_exc.DBDuplicateEntry as exc:
            raise errors.Conflict(f'Volume Type {name} already exists.') from exc

    @database.retry
    def update(self, ctx: RequestContext, type_id: str, changes: Mapping[str, str | bool | None]) -> models.VolumeType:
        """Change name, description or ``is_public``.

        :raises InvalidInput: somebody's default type would be out of his reach.
        :raises Conflict: the name is taken.
        """
        self._policy.check(ctx, 'volume_extension:type_update')
        try:
            with self._db.writer() as session:
                found = db_types.get(session, type_id, lock=True)
                self._check_reach(session, found, changes)
                for key, value in changes.items():
                    setattr(found, key, value)
                found.live_name = found.name
                return found
        except db_exc.DBDuplicateEntry as exc:
            raise errors.Conflict(f'Volume Type {changes.get("name")} already exists.') from exc

    @database.retry
    def delete(self, ctx: RequestContext, type_id: str) -> None:
        """Delete a type that no volume has.

        :raises InvalidInput: in use, or a default type.
        """
        self._policy.check(ctx, 'volume_extension:type_delete')
        with self._db.writer() as session:
            found = db_types.get(session, type_id, lock=True)
            if found.name == self.default_name:
                raise errors.InvalidInput('The default volume type cannot be deleted.')
            if db_types.count_volumes(session, type_id):
                raise errors.InvalidInput(f'Target volume type is still in use: {type_id}.')
            default_types.check_kept(session, type_id, goes=True)
            qos_specs.unlink(session, type_id=type_id)
            found.deleted_at = models.now()
            found.live_name = None

    @database.retry
    def set_specs(
        self, ctx: RequestContext, type_id: str, specs: Mapping[str, str | None], *, is_update: bool = False
    ) -> None:
        """Set extra specs while no volume has the type, in one transaction (contract 11.4 number 27).

        :param is_update: ask the update rule instead of the create rule.
        :raises InvalidInput: the type is in use, or the values cannot mean what is wanted.
        """
        verb = 'update' if is_update else 'create'
        self._policy.check(ctx, f'volume_extension:types_extra_specs:{verb}')
        with self._db.writer() as session:
            found = self._lock_unused(session, type_id)
            wanted = {**found.extra_specs, **specs}
            extra_specs.check_specs(wanted)
            bounds.check_items(wanted, 'extra specs')
            if extra_specs.is_multiattach(wanted):
                encryptions.check_type(session, type_id)
            db_types.set_specs(session, type_id, specs)

    @database.retry
    def delete_spec(self, ctx: RequestContext, type_id: str, key: str) -> None:
        """Delete an extra spec while no volume has the type.

        :raises InvalidInput: the type is in use, or the others make no sense without it.
        """
        self._policy.check(ctx, 'volume_extension:types_extra_specs:delete')
        with self._db.writer() as session:
            found = self._lock_unused(session, type_id)
            if key == extra_specs.MULTIATTACH:
                extra_specs.check_specs({name: value for name, value in found.extra_specs.items() if name != key})
            if not db_types.delete_spec(session, type_id, key):
                raise errors.NotFound(f'Volume Type {type_id} has no extra specs with key {key}.')

    @database.retry
    def list_specs(self, ctx: RequestContext, type_id: str) -> dict[str, str | None]:
        """Read the extra specs of a type, as far as the caller may see them."""
        self._policy.check(ctx, 'volume_extension:types_extra_specs:index')
        with self._db.reader() as session:
            found = self._visible(session, ctx, db_types.get(session, type_id), type_id)
        return self._sensitive(ctx)(found)

    @database.retry
    def show_spec(self, ctx: RequestContext, type_id: str, key: str) -> str | None:
        self._policy.check(ctx, 'volume_extension:types_extra_specs:show')
        with self._db.reader() as session:
            found = self._visible(session, ctx, db_types.get(session, type_id), type_id)
        specs = self._sensitive(ctx)(found)
        if key not in specs:
            raise errors.NotFound(f'Volume Type {type_id} has no extra specs with key {key}.')
        return specs[key]

    def make_spec_view(self, ctx: RequestContext) -> Callable[[models.VolumeType], dict[str, str | None] | None]:
        """Find out once for a reply which extra specs of a type the caller may see; None if none are to be shown."""
        if not self._policy.allows(ctx, 'volume_extension:access_types_extra_specs', None):
            return lambda _found: None
        return self._sensitive(ctx)

    def shows_qos(self, ctx: RequestContext) -> bool:
        return self._policy.allows(ctx, 'volume_extension:access_types_qos_specs_id', None)

    def _sensitive(self, ctx: RequestContext) -> Callable[[models.VolumeType], dict[str, str | None]]:
        if self._policy.allows(ctx, 'volume_extension:types_extra_specs:read_sensitive', None):
            return lambda found: found.extra_specs
        return lambda found: {key: value for key, value in found.extra_specs.items() if key in extra_specs.PUBLIC_SPECS}

    def _check_reach(
        self, session: Session, found: models.VolumeType, changes: Mapping[str, str | bool | None]
    ) -> None:
        """Refuse what would leave projects with a default type that they cannot have."""
        renamed = changes.get('name', found.name) != found.name
        hidden = found.is_public and changes.get('is_public') is False
        if found.name == self.default_name and (renamed or hidden):
            raise errors.InvalidInput(
                'The default volume type cannot be renamed or made private: volumes without a type have it.'
            )
        if hidden:
            default_types.check_kept(session, found.id, goes=False)

    def _lock_unused(self, session: Session, type_id: str) -> models.VolumeType:
        found = db_types.get(session, type_id, lock=True)
        if db_types.count_volumes(session, type_id):
            raise errors.InvalidInput(
                f'Volume Type is currently in use: {type_id}. '
                'Extra specs can only be changed while no volume has the type.'
            )
        return found

    def _visible(
        self, session: Session, ctx: RequestContext, found: models.VolumeType, asked: str
    ) -> models.VolumeType:
        if not ctx.is_admin and not db_types.is_accessible(session, found, ctx.project):
            raise errors.VolumeTypeNotFound(asked)
        return found
