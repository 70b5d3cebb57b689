# SPDX-License-Identifier: Apache-2.0
"""The type that a project's volumes get if none is asked for (microversion 3.62)."""

from sqlalchemy.orm import Session

from multiattach.db import database, default_types as db_defaults, models, types as db_types
from multiattach.domain import errors
from multiattach.engine.context import RequestContext
from multiattach.engine.policy import Policy

_RULE = 'volume_extension:default_'


class DefaultTypes:
    def __init__(self, db: database.Database, policy: Policy) -> None:
        self._db = db
        self._policy = policy

    @database.retry
    def list_all(self, ctx: RequestContext) -> list[models.DefaultType]:
        self._policy.check(ctx, _RULE + 'get_all')
        with self._db.reader() as session:
            return db_defaults.list_all(session)

    @database.retry
    def show(self, ctx: RequestContext, project_id: str) -> models.DefaultType:
        self._policy.check(ctx, _RULE + 'get', project_id)
        with self._db.reader() as session:
            found = db_defaults.find(session, project_id)
        if found is None:
            raise errors.NotFound(f'Default type for project {project_id} not found.')
        return found

    @database.retry
    def set(self, ctx: RequestContext, project_id: str, name_or_id: str) -> models.DefaultType:
        """Set the default type of a project.

        :raises InvalidInput: the project may not use it.
        """
        self._policy.check(ctx, _RULE + 'set_or_update', project_id)
        with self._db.writer() as session:
            found = db_types.find(session, name_or_id, lock=True)
            if not db_types.is_accessible(session, found, project_id):
                raise errors.InvalidInput(
                    f'Project {project_id} may not use volume type {found.id}: give it access first.'
                )
            return db_defaults.put(session, project_id, found.id)

    @database.retry
    def unset(self, ctx: RequestContext, project_id: str) -> None:
        self._policy.check(ctx, _RULE + 'unset', project_id)
        with self._db.writer() as session:
            row = db_defaults.find(session, project_id)
            if row is None:
                raise errors.NotFound(f'Default type for project {project_id} not found.')
            db_defaults.delete(session, row)


def check_kept(session: Session, type_id: str, *, goes: bool) -> None:
    """Refuse to take a type from projects whose default type it is: creating volumes would fail for them.

    :param session: a session that holds the type's lock.
    :param goes: from all projects; otherwise from those that were given no access.
    """
    project = db_defaults.find_project(session, type_id, without_access=not goes)
    if project is not None:
        raise errors.InvalidInput(
            f'The volume type {type_id} is the default volume type of project {project} and cannot be taken '
            'from it: unset that first.'
        )
