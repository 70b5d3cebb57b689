# SPDX-License-Identifier: Apache-2.0
"""A database without room says so, and is as it was; one that is wrong is not taken for it."""

import pathlib
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from oslo_db import exception as db_exc

from multiattach.db import models, room
from multiattach.domain import errors
from tests.deployments.embedded import Deployment, deploy


def test_a_full_sqlite(tmp_path: pathlib.Path) -> None:
    with deploy(tmp_path, start_worker=False, url=f'sqlite:///{tmp_path}/db') as deployed:
        with pytest.raises(errors.Unavailable, match='disk were full'):
            fill(deployed)
        with deployed.db.reader() as session:
            assert session.scalar(sa.select(sa.func.count()).select_from(models.Message)) == 0


def fill(deployed: Deployment) -> None:
    with deployed.db.writer() as session:
        pages = session.execute(sa.text('PRAGMA page_count')).scalar_one()
        session.execute(sa.text(f'PRAGMA max_page_count = {pages}'))
        for number in range(1000):
            session.add(
                models.Message(
                    id=str(number),
                    project_id='p',
                    resource_type='VOLUME',
                    event_id='e',
                    message_level='ERROR',
                    user_message='x' * 1000,
                    guaranteed_until=models.now(),
                )
            )


@pytest.mark.parametrize(
    ('cause', 'is_full'),
    [
        (SimpleNamespace(pgcode='53100'), True),
        (SimpleNamespace(pgcode='53200'), False),
        (SimpleNamespace(sqlite_errorcode=13), True),
        (SimpleNamespace(sqlite_errorcode=778), True),
        (SimpleNamespace(sqlite_errorcode=19), False),
        (SimpleNamespace(), False),
    ],
)
def test_what_servers_say(cause: SimpleNamespace, is_full: bool) -> None:
    class Cause(Exception):
        pass

    orig = Cause()
    vars(orig).update(vars(cause))
    for error in (sa.exc.OperationalError('x', {}, orig), db_exc.DBError(orig)):
        with pytest.raises(errors.Unavailable if is_full else type(error)), room.told():
            raise error
