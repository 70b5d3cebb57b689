# SPDX-License-Identifier: Apache-2.0
"""QoS specs and the types that have them."""

from collections.abc import Collection, Mapping, Sequence

import sqlalchemy as sa
from oslo_db import exception as db_exc

from multiattach.db import database, models, paging, qos_specs as db_qos, types as db_types
from multiattach.domain import bounds, errors, qos
from multiattach.engine.context import RequestContext
from multiattach.engine.policy import Policy

_RULE = 'volume_extension:qos_specs_manage:'


class QosSpecs:
    """Use cases on QoS specs; each locks the specs first, then a type."""

    def __init__(self, db: database.Database, policy: Policy) -> None:
        self._db = db
        self._policy = policy

    @database.retry
    def list_page(
        self, ctx: RequestContext, filters: Sequence[sa.ColumnElement[bool]], page: paging.Page
    ) -> list[models.QosSpecs]:
        self._policy.check(ctx, _RULE + 'get_all')
        with self._db.reader() as session:
            return db_qos.list_page(session, filters, page)

    @database.retry
    def show(self, ctx: RequestContext, qos_id: str) -> models.QosSpecs:
        self._policy.check(ctx, _RULE + 'get')
        with self._db.reader() as session:
            return db_qos.get(session, qos_id)

    @database.retry
    def create(self, ctx: RequestContext, name: str, consumer: str, specs: Mapping[str, str | None]) -> models.QosSpecs:
        """Create QoS specs.

        :raises InvalidInput: an unknown consumer, or a rate that is no number.
        :raises Conflict: the name is taken.
        """
        self._policy.check(ctx, _RULE + 'create')
        qos.check_consumer(consumer)
        qos.check_specs(specs)
        try:
            with self._db.writer() as session:
                return db_qos.get(session, db_qos.add(session, name, consumer, specs))
        except db_exc.DBDuplicateEntry as exc:
            raise errors.Conflict(f'QoS Specs {name} already exists.') from exc

    @database.retry
    def update(self, ctx: RequestContext, qos_id: str, specs: Mapping[str, str | None]) -> None:
        """Set keys, or the ``consumer``; the others stay. Attachments that have their connection_info keep it."""
        self._policy.check(ctx, _RULE + 'update')
        items = dict(specs)
        with self._db.writer() as session:
            found = db_qos.get(session, qos_id, lock=True)
            if 'consumer' in items:
                consumer = items.pop('consumer')
                qos.check_consumer(consumer)
                found.consumer = str(consumer)
            qos.check_specs(items)
            bounds.check_items(found.specs.keys() | items.keys(), 'keys of QoS specs')
            found.updated_at = models.now()
            db_qos.set_items(session, qos_id, items)

    @database.retry
    def delete_keys(self, ctx: RequestContext, qos_id: str, keys: Collection[str]) -> None:
        """Delete keys: all of them, or none if one is not there."""
        self._policy.check(ctx, _RULE + 'delete')
        with self._db.writer() as session:
            found = db_qos.get(session, qos_id, lock=True)
            for key in keys:
                if key not in found.specs:
                    raise errors.NotFound(f'QoS spec {qos_id} has no spec with key {key[:64]}.')
            found.updated_at = models.now()
            db_qos.delete_items(session, qos_id, keys)

    @database.retry
    def delete(self, ctx: RequestContext, qos_id: str, *, force: bool) -> None:
        """Delete QoS specs, also from the types that have them if it is forced.

        :raises InvalidInput: types have them, and it is not forced.
        """
        self._policy.check(ctx, _RULE + 'delete')
        with self._db.writer() as session:
            db_qos.get(session, qos_id, lock=True)
            if not force and db_qos.list_types(session, qos_id):
                raise errors.InvalidInput('Qos specs still in use.')
            # An API server of the release before leaves the association of a type that it deletes.
            db_qos.unlink(session, qos_id=qos_id)
            db_qos.delete(session, qos_id)

    # -- types ---------------------------------------------------------------------------------

    @database.retry
    def list_types(self, ctx: RequestContext, qos_id: str) -> list[models.VolumeType]:
        self._policy.check(ctx, _RULE + 'get_all')
        with self._db.reader() as session:
            db_qos.get(session, qos_id)
            return db_qos.list_types(session, qos_id)

    @database.retry
    def associate(self, ctx: RequestContext, qos_id: str, type_id: str | None) -> None:
        """Give a type QoS specs; having them is success."""
        self._policy.check(ctx, _RULE + 'update')
        type_id = _check_named(type_id)
        with self._db.writer() as session:
            db_qos.get(session, qos_id, lock=True)
            db_types.get(session, type_id, lock=True)
            present = db_qos.find_id(session, type_id)
            if present is None:
                db_qos.link(session, qos_id, type_id)
            elif present != qos_id:
                raise errors.InvalidInput(
                    f'Invalid volume type: Type {type_id} is already associated with another qos specs: {present}.'
                )

    @database.retry
    def disassociate(self, ctx: RequestContext, qos_id: str, type_id: str | None) -> None:
        """Take QoS specs from a type; not having them is success."""
        self._policy.check(ctx, _RULE + 'update')
        type_id = _check_named(type_id)
        with self._db.writer() as session:
            db_qos.get(session, qos_id, lock=True)
            db_types.get(session, type_id, lock=True)
            db_qos.unlink(session, qos_id=qos_id, type_id=type_id)

    @database.retry
    def disassociate_all(self, ctx: RequestContext, qos_id: str) -> None:
        self._policy.check(ctx, _RULE + 'update')
        with self._db.writer() as session:
            db_qos.get(session, qos_id, lock=True)
            db_qos.unlink(session, qos_id=qos_id)


def _check_named(type_id: str | None) -> str:
    if not type_id:
        raise errors.InvalidInput('Volume Type id must not be None.')
    return type_id
