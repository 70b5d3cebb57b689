# SPDX-License-Identifier: Apache-2.0
"""Encryption records of types. This service encrypts nothing: the records serve to refuse."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from multiattach.db import database, encryptions as db_encryptions, models, types as db_types
from multiattach.domain import errors, extra_specs
from multiattach.engine.context import RequestContext
from multiattach.engine.policy import Policy

_RULE = 'volume_extension:volume_type_encryption:'


class Encryptions:
    def __init__(self, db: database.Database, policy: Policy) -> None:
        self._db = db
        self._policy = policy

    @database.retry
    def show(self, ctx: RequestContext, type_id: str) -> models.TypeEncryption | None:
        self._policy.check(ctx, _RULE + 'get')
        with self._db.reader() as session:
            db_types.get(session, type_id)
            return db_encryptions.find(session, type_id)

    @database.retry
    def create(self, ctx: RequestContext, type_id: str, values: Mapping[str, Any]) -> models.TypeEncryption:
        """Give a type a record: ``provider``, ``control_location``, ``cipher``, ``key_size``.

        :raises InvalidInput: the type is multiattach, in use, or has a record.
        """
        self._policy.check(ctx, _RULE + 'create')
        with self._db.writer() as session:
            self._check(session, type_id)
            if db_encryptions.find(session, type_id) is not None:
                raise errors.InvalidInput(f'Volume type encryption for type {type_id} already exists.')
            return db_encryptions.add(session, type_id, values)

    @database.retry
    def update(
        self, ctx: RequestContext, type_id: str, encryption_id: str, values: Mapping[str, Any]
    ) -> models.TypeEncryption:
        self._policy.check(ctx, _RULE + 'update')
        with self._db.writer() as session:
            self._check(session, type_id)
            row = self._find(session, type_id, encryption_id)
            for key, value in values.items():
                setattr(row, key, value)
            return row

    @database.retry
    def delete(self, ctx: RequestContext, type_id: str, encryption_id: str) -> None:
        self._policy.check(ctx, _RULE + 'delete')
        with self._db.writer() as session:
            row = self._find(session, type_id, encryption_id)
            if db_types.count_volumes(session, type_id):
                raise errors.InvalidInput('Cannot delete encryption specs. Volume type in use.')
            db_encryptions.delete(session, row)

    def _check(self, session: Session, type_id: str) -> None:
        found = db_types.get(session, type_id, lock=True)
        if extra_specs.is_multiattach(found.extra_specs):
            raise errors.InvalidInput('A multiattach type cannot be encrypted.')
        if db_types.count_volumes(session, type_id):
            raise errors.InvalidInput('Cannot create encryption specs. Volume type in use.')

    def _find(self, session: Session, type_id: str, encryption_id: str) -> models.TypeEncryption:
        db_types.get(session, type_id, lock=True)
        row = db_encryptions.find(session, type_id)
        if row is None or row.encryption_id != encryption_id:
            raise errors.NotFound(f'Volume type encryption for type {type_id} does not exist.')
        return row


def check_type(session: Session, type_id: str) -> None:
    """Refuse to make an encrypted type multiattach."""
    if db_encryptions.find(session, type_id) is not None:
        raise errors.InvalidInput('An encrypted type cannot be multiattach.')


def check_not_encrypted(session: Session, type_id: str, *, multiattach: bool) -> None:
    """Refuse a volume of an encrypted type: nothing here would encrypt it (contract 3.4, 11.4 number 9)."""
    if db_encryptions.find(session, type_id) is not None:
        raise errors.InvalidVolume(
            'Invalid volume: Multiattach cannot be used with encrypted volumes.'
            if multiattach
            else 'Invalid volume: volumes of an encrypted type are not offered by this service.'
        )
