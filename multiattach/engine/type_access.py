# SPDX-License-Identifier: Apache-2.0
"""Which projects may use a type that is not public."""

from multiattach.db import database, default_types as db_defaults, type_access as db_access, types as db_types
from multiattach.domain import errors
from multiattach.engine.context import RequestContext
from multiattach.engine.policy import Policy


class TypeAccess:
    def __init__(self, db: database.Database, policy: Policy) -> None:
        self._db = db
        self._policy = policy

    @database.retry
    def list_projects(self, ctx: RequestContext, type_id: str) -> list[str]:
        self._policy.check(ctx, 'volume_extension:volume_type_access:get_all_for_type')
        with self._db.reader() as session:
            if db_types.get(session, type_id).is_public:
                raise errors.NotFound('Access list not available for public volume types.')
            return db_access.list_projects(session, type_id)

    @database.retry
    def add(self, ctx: RequestContext, type_id: str, project_id: str) -> None:
        """Let a project use a type."""
        self._policy.check(ctx, 'volume_extension:volume_type_access:addProjectAccess')
        with self._db.writer() as session:
            if db_types.get(session, type_id, lock=True).is_public:
                raise errors.Conflict('Type access modification is not applicable to public volume type.')
            if db_access.find(session, type_id, project_id) is not None:
                raise errors.Conflict(f'Volume type access for {type_id} / {project_id} combination already exists.')
            db_access.add(session, type_id, project_id)

    @database.retry
    def remove(self, ctx: RequestContext, type_id: str, project_id: str) -> None:
        """Take a project's use of a type back."""
        self._policy.check(ctx, 'volume_extension:volume_type_access:removeProjectAccess')
        with self._db.writer() as session:
            if db_types.get(session, type_id, lock=True).is_public:
                raise errors.Conflict('Type access modification is not applicable to public volume type.')
            row = db_access.find(session, type_id, project_id)
            if row is None:
                raise errors.NotFound(f'Volume type access not found for {type_id} / {project_id} combination.')
            default = db_defaults.find(session, project_id)
            if default is not None and default.volume_type_id == type_id:
                raise errors.Conflict(
                    f'The volume type {type_id} is the default volume type of project {project_id}: unset that first.'
                )
            db_access.delete(session, row)
