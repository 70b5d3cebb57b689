# SPDX-License-Identifier: Apache-2.0
"""Names are found by the expressions that clients send, alike on each database."""

import pytest
import sqlalchemy as sa

from multiattach.db import models, server_filters
from multiattach.domain import errors
from tests.deployments.embedded import Deployment

NAMES = ('web', 'WEB-2', 'db', 'webdb', 'a.b', 'a_b', '50%', 'x!y')


@pytest.mark.parametrize(
    ('pattern', 'found'),
    [
        ('web', {'web', 'WEB-2', 'webdb'}),
        ('^web$', {'web'}),
        ('^web', {'web', 'WEB-2', 'webdb'}),
        ('db$', {'db', 'webdb'}),
        ('^(web|db)$', {'web', 'db'}),
        ('^w.*b$', {'web', 'webdb'}),
        (r'a\.b', {'a.b'}),
        ('a.b', {'a.b', 'a_b'}),
        ('a_b', {'a_b'}),
        ('50%', {'50%'}),
        ('%', {'50%'}),
        ('x!y', {'x!y'}),
        ('', set(NAMES)),
        ('nobody', set()),
    ],
)
def test_names(deployed: Deployment, pattern: str, found: set[str]) -> None:
    with deployed.db.writer() as session:
        for number, name in enumerate(NAMES):
            session.add(models.Server(id=f'{number:036}', name=name, project_id='p', host='h', power_state='running'))
    _, build = server_filters.EVERYBODY['name']
    with deployed.db.reader() as session:
        assert set(session.scalars(sa.select(models.Server.name).where(build(pattern)))) == found


@pytest.mark.parametrize('pattern', ['(', 'a+', '[ab]', 'a{2}', '(a(b))', 'a?', 'a\\', '(a+)+$'])
def test_what_is_not_understood_is_said(pattern: str) -> None:
    _, build = server_filters.EVERYBODY['name']
    with pytest.raises(errors.InvalidInput, match='is not understood'):
        build(pattern)
