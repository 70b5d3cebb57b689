# SPDX-License-Identifier: Apache-2.0
import pytest
import sqlalchemy as sa
from sqlalchemy import orm

from multiattach.db import models
from multiattach.domain import errors
from multiattach.engine.server_queries import ADMIN_SORT_KEYS, FILTERS, SORT_KEYS, server_conditions
from tests.contexts import make_context

ADMIN = make_context()
MEMBER = make_context(admin=False, roles=('member',))


@pytest.fixture
def session():
    engine = sa.create_engine('sqlite://')
    models.Base.metadata.create_all(engine)
    with orm.Session(engine) as opened:
        opened.add_all(
            [
                models.Server(id='1', name='web-1', project_id='a', host='h1', power_state='running'),
                models.Server(id='2', name='web-2', project_id='a', host='h2', power_state='shutdown'),
                models.Server(id='3', name='db', project_id='b', host='h1', power_state='suspended'),
            ]
        )
        opened.flush()
        yield opened


def names(session, wanted, ctx=ADMIN, minor=89, all_projects=True):
    conditions = server_conditions(ctx, wanted, minor, all_projects=all_projects)
    return ''.join(
        session.scalars(sa.select(models.Server.id).where(sa.true(), *conditions).order_by(models.Server.id))
    )


@pytest.mark.parametrize(
    ('wanted', 'found'),
    [
        ({}, '123'),
        ({'name': 'web'}, '12'),
        ({'name': '^web$'}, ''),
        ({'name': '-2$'}, '2'),
        ({'status': 'ACTIVE'}, '1'),
        ({'status': 'active,SUSPENDED'}, '13'),
        ({'status': 'BUILD'}, ''),
        ({'vm_state': 'stopped'}, '2'),
        ({'power_state': '7'}, '3'),
        ({'power_state': 'x'}, ''),
        ({'uuid': '2'}, '2'),
        ({'host': 'h1'}, '13'),
        ({'host': 'h'}, ''),
        ({'node': 'h'}, '123'),
        ({'project_id': 'b'}, '3'),
        ({'tenant_id': 'a'}, '12'),
        ({'deleted': 'True'}, ''),
        ({'deleted': 'False'}, '123'),
        ({'locked': 'yes'}, ''),
        ({'tags': 'x'}, ''),
        ({'not-tags': 'x'}, '123'),
        ({'image': 'x'}, ''),
        ({'colour': 'red'}, '123'),
        ({'name': 'web', 'host': 'h1'}, '1'),
        ({'changes-since': '2020-01-01T00:00:00'}, '123'),
        ({'changes-before': '2020-01-01T00:00:00Z'}, ''),
    ],
)
def test_filters(session, wanted, found):
    assert names(session, wanted) == found


def test_a_project_is_a_filter_of_all_projects_only(session):
    assert names(session, {'project_id': 'b', 'tenant_id': 'b'}, all_projects=False) == '123'


def test_people_without_the_admin_role_have_fewer_filters(session):
    assert names(session, {'host': 'h1', 'uuid': '1', 'deleted': '1'}, ctx=MEMBER) == '123'
    assert names(session, {'name': 'web'}, ctx=MEMBER) == '12'
    assert names(session, {'vm_state': 'active'}, ctx=MEMBER, minor=82) == '123'
    assert names(session, {'vm_state': 'active'}, ctx=MEMBER, minor=83) == '1'
    assert names(session, {'vm_state': 'active'}, minor=1) == '1'


@pytest.mark.parametrize(
    'wanted', [{'name': '('}, {'name': '*'}, {'node': '[', 'host': 'h'}, {'changes-since': 'yesterday'}]
)
def test_values_that_cannot_be_read(wanted):
    with pytest.raises(errors.InvalidInput):
        server_conditions(ADMIN, wanted, 89, all_projects=False)


def test_every_filter_can_be_built():
    for key in FILTERS:
        value = '2020-01-01T00:00:00Z' if key.startswith('changes') else 'x'
        assert server_conditions(ADMIN, {key: value}, 89, all_projects=True)


def test_sort_keys_are_columns():
    assert {column for column in SORT_KEYS.values() if column} <= set(models.Server.__table__.columns.keys())
    assert set(SORT_KEYS) > ADMIN_SORT_KEYS
