# SPDX-License-Identifier: Apache-2.0
"""User messages (microversion 3.3): why something failed after the reply."""

from collections.abc import Sequence

import sqlalchemy as sa

from multiattach.db import database, messages as db_messages, models, paging
from multiattach.domain import errors
from multiattach.engine.context import RequestContext
from multiattach.engine.policy import Policy


class Messages:
    def __init__(self, db: database.Database, policy: Policy) -> None:
        self._db = db
        self._policy = policy

    @database.retry
    def list_page(
        self, ctx: RequestContext, filters: Sequence[sa.ColumnElement[bool]], page: paging.Page
    ) -> list[models.Message]:
        self._policy.check(ctx, 'message:get_all')
        with self._db.reader() as session:
            return db_messages.list_page(session, [models.Message.project_id == ctx.project, *filters], page)

    @database.retry
    def show(self, ctx: RequestContext, message_id: str) -> models.Message:
        missing = errors.NotFound(f'Message {message_id} could not be found.')
        with self._db.reader() as session:
            found = db_messages.get(session, message_id)
        if found is None:
            raise missing
        self._policy.check_visible(ctx, found, missing)
        self._policy.check(ctx, 'message:get', found.project_id)
        return found

    @database.retry
    def delete(self, ctx: RequestContext, message_id: str) -> None:
        found = self.show(ctx, message_id)
        self._policy.check(ctx, 'message:delete', found.project_id)
        with self._db.writer() as session:
            db_messages.delete(session, message_id)
