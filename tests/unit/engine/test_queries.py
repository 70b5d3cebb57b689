# SPDX-License-Identifier: Apache-2.0
"""Who may filter by what, and from which microversion."""

import pytest
import sqlalchemy as sa

from multiattach.db import filters, models
from multiattach.domain import errors, states
from multiattach.engine import queries
from tests.contexts import make_context

ADMIN = make_context()
READER = make_context(admin=False, roles=('reader',))


def compile_all(conditions):
    return [str(c.compile(compile_kwargs={'literal_binds': True})) for c in conditions]


@pytest.mark.parametrize(
    ('build', 'names'),
    [(queries.volume_conditions, filters.VOLUMES), (queries.attachment_conditions, filters.ATTACHMENTS)],
)
def test_everybody_may_use_the_public_filters(build, names):
    values = {
        'bootable': 'true',
        'size': '1',
        'created_at': '2024-01-01T00:00:00',
        'consumes_quota': 'true',
        'encrypted': 'true',
        'updated_at': '2024-01-01T00:00:00',
        'metadata': '{"a": "b"}',
    }
    for ctx in (ADMIN, READER):
        for minor in (0, 71):
            for name in names:
                assert len(build(ctx, {name: values.get(name, 'x')}, minor)) == 1


@pytest.mark.parametrize(
    ('build', 'admins', 'name'),
    [
        (queries.volume_conditions, filters.VOLUMES_ADMIN, 'host'),
        (queries.attachment_conditions, filters.ATTACHMENTS_ADMIN, 'attached_host'),
    ],
)
def test_some_are_for_admins(build, admins, name):
    assert name in admins
    assert name in compile_all(build(ADMIN, {name: 'x'}, 71))[0]
    assert build(READER, {name: 'x'}, 30) == []
    with pytest.raises(errors.InvalidInput, match=name):
        build(READER, {name: 'x'}, 31)


@pytest.mark.parametrize('build', [queries.volume_conditions, queries.attachment_conditions])
def test_unknown_filters(build):
    for minor in (0, 71):
        assert compile_all(build(ADMIN, {'colour': 'x'}, minor)) == compile_all([sa.false()])
    assert build(READER, {'colour': 'x'}, 30) == []
    assert build(READER, {'project_id': 'x'}, 71) == []
    with pytest.raises(errors.InvalidInput, match='colour'):
        build(READER, {'colour': 'x'}, 31)


def test_like_is_there_from_3_34():
    (condition,) = compile_all(queries.volume_conditions(READER, {'name~': '50%'}, 34))
    assert 'display_name LIKE' in condition
    assert '/%' in condition  # a percent sign stands for itself
    assert compile_all(queries.volume_conditions(ADMIN, {'name~': 'x'}, 33)) == compile_all([sa.false()])
    with pytest.raises(errors.InvalidInput):
        queries.volume_conditions(READER, {'name~': 'x'}, 33)
    with pytest.raises(errors.InvalidInput):
        queries.volume_conditions(READER, {'host~': 'x'}, 71)
    assert len(queries.volume_conditions(ADMIN, {'host~': 'x'}, 71)) == 1


@pytest.mark.parametrize('name', ['status', 'attach_status'])
@pytest.mark.parametrize('status', sorted({info.public for info in states.ATTACHMENT_STATES.values()}))
def test_a_public_status_stands_for_its_states(name, status):
    (condition,) = compile_all(queries.attachment_conditions(READER, {name: status}, 71))
    for state, info in states.ATTACHMENT_STATES.items():
        assert (f"'{state}'" in condition) is (info.public == status)


@pytest.mark.parametrize(
    ('wanted', 'expected'),
    [
        ({}, 1),
        ({'is_public': 'true'}, 1),
        ({'is_public': 'False'}, 0),
        ({'is_public': 'none'}, None),
        ({'is_public': 'None'}, None),
        ({'colour': 'x'}, 1),
    ],
)
def test_types_are_public_unless_an_admin_asks(wanted, expected):
    conditions = compile_all(queries.type_conditions(ADMIN, wanted, 0))
    assert conditions == ([] if expected is None else [f'volume_types.is_public IS {str(bool(expected)).lower()}'])
    # Others are scoped to the public ones by the use case itself.
    assert queries.type_conditions(READER, wanted, 0) == []


def test_people_filter_types_by_what_they_may_see():
    def build(ctx, minor, key='multiattach'):
        wanted = {'is_public': 'none', 'extra_specs': f"{{'{key}': '<is> True'}}"}
        return compile_all(queries.type_conditions(ctx, wanted, minor))

    assert build(READER, 51) == []
    assert 'EXISTS' in build(READER, 52)[0]
    assert build(READER, 52, 'secret') == compile_all([sa.false()])
    assert 'EXISTS' in build(ADMIN, 0, 'secret')[0]


@pytest.mark.parametrize(
    ('text', 'expected'), [("{'a': 'b'}", {'a': 'b'}), ('{"a": "b"}', {'a': 'b'}), ("{'a': 1}", {'a': '1'}), ('{}', {})]
)
def test_mappings(text, expected):
    assert filters.parse_mapping(text) == expected


@pytest.mark.parametrize('text', ['', 'x', '[]', '{', '1', '{[]: 1}', '__import__("os")', '[' * 10_000, '{1, 2}'])
def test_mappings_that_are_none(text):
    with pytest.raises(errors.InvalidInput):
        filters.parse_mapping(text)


@pytest.mark.parametrize(
    ('text', 'operator'),
    [
        ('2024-01-02T03:04:05', '='),
        ('gt:2024-01-02T03:04:05', '>'),
        ('lte:2024-01-02T05:04:05+02:00', '<='),
        ('neq:2024-01-02T03:04:05Z', '!='),
    ],
)
def test_times(text, operator):
    condition = filters.VOLUMES['created_at'](text)
    assert f'volumes.created_at {operator} ' in str(condition)
    (moment,) = condition.compile().params.values()
    assert moment.isoformat() == '2024-01-02T03:04:05'


@pytest.mark.parametrize('text', ['', 'x', 'gt:', 'gt:x', 'about:2024-01-01', ',', 'gt:0001-01-01T00:00:00+14:00'])
def test_times_that_are_none(text):
    with pytest.raises(errors.InvalidInput):
        filters.VOLUMES['created_at'](text)


@pytest.mark.parametrize(
    ('keys', 'model'),
    [
        (queries.VOLUME_SORT_KEYS, models.Volume),
        (queries.ATTACHMENT_SORT_KEYS, models.Attachment),
        (queries.TYPE_SORT_KEYS, models.VolumeType),
    ],
)
def test_sort_keys_are_columns(keys, model):
    assert set(keys.values()) <= set(model.__table__.columns.keys())


def test_no_volume_is_encrypted():
    """Horizon offers this filter, which Block Storage refuses."""
    for value, answer in (('True', sa.false()), ('False', sa.true())):
        conditions = queries.volume_conditions(READER, {'encrypted': value}, 58)
        assert compile_all(conditions) == compile_all([answer])
    assert 'encrypted' not in queries.RESOURCE_FILTERS['volume']
