# SPDX-License-Identifier: Apache-2.0
"""No change of a type takes it from a project whose volumes have it unless they ask for another one."""

import pytest
import sqlalchemy as sa

from multiattach.db import models
from multiattach.domain import errors
from multiattach.engine.volumes import VolumeWish
from tests.contexts import make_context

PROJECT = 'b' * 32
MEMBER = make_context(PROJECT, admin=False, roles=('member', 'reader'))


def create(deployed):
    """Have the project make a volume without a type; the type's name."""
    return deployed.engine.volumes.create(MEMBER, VolumeWish(1, None)).type_name


@pytest.fixture
def fast(deployed):
    ident = deployed.make_type('fast')
    deployed.engine.default_types.set(deployed.ctx, PROJECT, ident)
    return ident


def test_the_type_is_not_deleted(deployed, fast):
    with pytest.raises(errors.InvalidInput, match=f'default volume type of project {PROJECT}'):
        deployed.engine.types.delete(deployed.ctx, fast)
    assert create(deployed) == 'fast'


def test_it_goes_once_no_project_has_it(deployed, fast):
    deployed.engine.default_types.unset(deployed.ctx, PROJECT)
    deployed.engine.types.delete(deployed.ctx, fast)
    assert create(deployed) == '__DEFAULT__'


def test_one_that_is_gone_all_the_same_is_nobodys(deployed, fast):
    """A release before this one let it go."""
    with deployed.db.writer() as session:
        session.execute(
            sa.update(models.VolumeType)
            .where(models.VolumeType.id == fast)
            .values(deleted_at=models.now(), live_name=None)
        )
    assert create(deployed) == '__DEFAULT__'


def test_it_is_not_made_private_without_access(deployed, fast):
    types, access, ctx = deployed.engine.types, deployed.engine.type_access, deployed.ctx
    with pytest.raises(errors.InvalidInput, match=PROJECT):
        types.update(ctx, fast, {'is_public': False})
    assert create(deployed) == 'fast'
    deployed.engine.default_types.unset(ctx, PROJECT)
    types.update(ctx, fast, {'is_public': False})
    with pytest.raises(errors.InvalidInput, match='access'):
        deployed.engine.default_types.set(ctx, PROJECT, fast)
    access.add(ctx, fast, PROJECT)
    deployed.engine.default_types.set(ctx, PROJECT, fast)
    with pytest.raises(errors.Conflict, match=PROJECT):
        access.remove(ctx, fast, PROJECT)
    assert create(deployed) == 'fast'


@pytest.mark.parametrize('change', [{'name': 'another'}, {'is_public': False}])
def test_the_configured_one_stays_in_reach(deployed, change):
    ident = deployed.engine.types.find(deployed.ctx, '__DEFAULT__').id
    with pytest.raises(errors.InvalidInput, match='default volume type'):
        deployed.engine.types.update(deployed.ctx, ident, change)
    deployed.engine.types.update(deployed.ctx, ident, {'description': 'of everybody', 'name': '__DEFAULT__'})
    assert create(deployed) == '__DEFAULT__'


def test_a_type_goes_with_its_qos_specs_and_access_and_nobody_misses_it(deployed):
    ctx, engine = deployed.ctx, deployed.engine
    ident = deployed.make_type('going')
    qos = engine.qos_specs.create(ctx, 'q', 'both', {})
    engine.qos_specs.associate(ctx, qos.id, ident)
    engine.types.update(ctx, ident, {'is_public': False})
    engine.type_access.add(ctx, ident, PROJECT)
    engine.types.delete(ctx, ident)
    engine.qos_specs.delete(ctx, qos.id, force=False)
    assert create(deployed) == '__DEFAULT__'


def test_no_scoped_multiattach_is_left_alone(deployed):
    ctx, types = deployed.ctx, deployed.engine.types
    ident = types.create(
        ctx, 'both', None, True, {'multiattach': '<is> True', 'capabilities:multiattach': '<is> True', 'odd': 'x'}
    ).id
    with pytest.raises(errors.InvalidInput, match='would not be shared'):
        types.delete_spec(ctx, ident, 'multiattach')
    types.delete_spec(ctx, ident, 'odd')
    types.delete_spec(ctx, ident, 'capabilities:multiattach')
    types.delete_spec(ctx, ident, 'multiattach')
    assert types.list_specs(ctx, ident) == {}
