# SPDX-License-Identifier: Apache-2.0
"""The type that a project's volumes get if none is asked for (microversion 3.62)."""

import sqlalchemy as sa
from sqlalchemy.orm import Session

from multiattach.db import database, models
from multiattach.db import types as db_types
from multiattach.domain import errors
from multiattach.engine.context import RequestContext
from multiattach.engine.policy import Policy

_RULE = 'volume_extension:default_'


class DefaultTypes:
    """Use cases on default types.

    :param db: the database.
    :param policy: the rules.
    """

    def __init__(self, db: database.Database, policy: Policy) -> None:
        self._db = db
        self._policy = policy

    @database.retry
    def list_all(self, ctx: RequestContext) -> list[models.DefaultType]:
        """List the default types of all projects.

        :param ctx: the caller.
        :returns: rows.
        """
        self._policy.check(ctx, _RULE + 'get_all')
        with self._db.reader() as session:
            return list(session.scalars(
                sa.select(models.DefaultType).order_by(models.DefaultType.project_id)))

    @database.retry
    def show(self, ctx: RequestContext, project_id: str) -> models.DefaultType:
        """Read the default type of a project.

        :param ctx: the caller.
        :param project_id: the project.
        :returns: the row.
        :raises NotFound: none is set.
        """
        self._policy.check(ctx, _RULE + 'get', project_id)
        with self._db.reader() as session:
            found = session.get(models.DefaultType, project_id)
        if found is None:
            raise errors.NotFound(f'Default type for project {project_id} not found.')
        return found

    @database.retry
    def set(self, ctx: RequestContext, project_id: str, name_or_id: str) -> models.DefaultType:
        """Set the default type of a project.

        :param ctx: the caller.
        :param project_id: the project.
        :param name_or_id: the type.
        :returns: the row.
        :raises VolumeTypeNotFound: no such type.
        """
        self._policy.check(ctx, _RULE + 'set_or_update', project_id)
        with self._db.writer() as session:
            found = db_types.find(session, name_or_id, lock=True)
            row = session.get(models.DefaultType, project_id)
            if row is None:
                row = models.DefaultType(project_id=project_id, volume_type_id=found.id)
                session.add(row)
            row.volume_type_id = found.id
            session.flush()
            return row

    @database.retry
    def unset(self, ctx: RequestContext, project_id: str) -> None:
        """Forget the default type of a project.

        :param ctx: the caller.
        :param project_id: the project.
        :raises NotFound: none is set.
        """
        self._policy.check(ctx, _RULE + 'unset', project_id)
        with self._db.writer() as session:
            row = session.get(models.DefaultType, project_id)
            if row is None:
                raise errors.NotFound(f'Default type for project {project_id} not found.')
            session.delete(row)


def find_type_id(session: Session, project_id: str) -> str | None:
    """Find the default type of a project.

    :param session: an open session.
    :param project_id: the project.
    :returns: UUID of the type, or None.
    """
    row = session.get(models.DefaultType, project_id)
    return row.volume_type_id if row is not None else None
