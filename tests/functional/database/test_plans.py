# SPDX-License-Identifier: Apache-2.0
"""Which index each database takes for the lists of the API and for what a host has: pages cost the same anywhere."""

import dataclasses
import datetime
import uuid
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from multiattach.db import agendas, attachments, database, fences, hosts, migration, models, paging, volumes
from multiattach.engine import queries
from tests import contexts

A, V = models.Attachment, models.Volume
NUMBER = 10_000
MINE, MOMENT = 'p1', datetime.datetime(2026, 1, 1)
ADMIN = contexts.make_context(project=MINE, roles=('admin',))
ANALYZE = {'mysql': 'ANALYZE TABLE volumes, attachments, volume_metadata', 'postgresql': 'ANALYZE'}


def name(number: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, str(number)))


def fill(db: database.Database) -> None:
    """Volumes of ten projects, every fourth deleted; most attached twice, one a thousand times."""
    rows, items, held = [], [], []
    for number in range(NUMBER):
        at = MOMENT + datetime.timedelta(minutes=number)
        gone = at if number % 4 == 0 else None
        rows.append(
            {
                'id': name(number),
                'project_id': f'p{number % 10}',
                'display_name': f'v-{name(number)[:8]}' if number % 20 else None,
                'size': number * 1001 % NUMBER + 1,
                'volume_type_id': 't',
                'host': f'h{number % 50}@b',
                'availability_zone': f'z{number % 3}' if number % 1000 > 5 else 'small',
                'status': ('in-use', 'in-use', 'available')[number % 3] if number % 500 > 2 else 'error',
                # A few were changed of late.
                'updated_at': at + datetime.timedelta(days=100 if number % 1000 == 7 else 1) if number % 3 else None,
                'created_at': at,
                'deleted_at': gone,
            }
        )
        items.append({'volume_id': name(number), 'key': 'purpose', 'value': f'p{number % 300}'})
        held += [(number, gone)] * 2
    held += [(5, None)] * 1000
    made = [make(*one) for one in enumerate(held)]
    with db.engine.begin() as connection:
        connection.execute(
            sa.insert(models.VolumeType), [{'id': 't', 'name': 't', 'live_name': 't', 'is_public': True}]
        )
        for model, some in ((V, rows), (models.VolumeMetadata, items), (A, made)):
            for start in range(0, len(some), 2000):
                connection.execute(sa.insert(model), some[start : start + 2000])
    if db.engine.dialect.name in ANALYZE:
        with db.engine.connect().execution_options(isolation_level='AUTOCOMMIT') as connection:
            connection.execute(sa.text(ANALYZE[db.engine.dialect.name]))


def make(number: int, of: tuple[int, datetime.datetime | None]) -> dict[str, Any]:
    at = MOMENT + datetime.timedelta(seconds=number)
    return {
        'id': name(-number - 1),
        'volume_id': name(of[0]),
        'instance_uuid': name(number // 2),
        'state': 'attached' if number % 200 else 'exporting',
        'attached_host': f'c{number % 500}',
        'agent_host': f'c{number % 500}' if number % 3 else None,
        'initiator': f'i{number % 500}',
        'fenced_at': at if number % 700 == 0 else None,
        'created_at': at,
        'deleted_at': of[1],
        'connector': None,
        'connection_info': {'text': 'x' * 500},
        'timeline': 'x' * 500,
    }


@pytest.fixture(scope='module', params=['sqlite', 'mariadb', 'postgresql'])
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    found = request.getfixturevalue(request.param)
    served = found.dialect != 'sqlite'
    folder = tmp_path_factory.mktemp('plans')
    db = database.Database(found.make_database() if served else f'sqlite:///{folder}/p.sqlite')
    migration.sync(db)
    fill(db)
    yield db
    db.close()


def explain(db: database.Database, call: Callable[[Any], Any], which: int | None = None) -> tuple[str, int]:
    """Return a plan, and how many rows the call gave.

    :param which: number of the statement; None for the last one that has a limit, or the last one.
    """
    seen: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        seen.append((statement, parameters))

    sa.event.listen(db.read_engine, 'before_cursor_execute', note)
    with db.reader() as session:
        found = len(call(session))
    sa.event.remove(db.read_engine, 'before_cursor_execute', note)
    limited = [one for one in seen if ' LIMIT ' in one[0]]
    statement, parameters = seen[which] if which is not None else (limited or seen)[-1]
    words = 'EXPLAIN QUERY PLAN' if db.engine.dialect.name == 'sqlite' else 'EXPLAIN'
    with db.engine.connect() as connection:
        cursor = connection.connection.cursor()
        cursor.execute(f'{words} {statement}', parameters)
        return '\n'.join(' '.join(map(str, row)) for row in cursor.fetchall()), found


# What a plan says of rows that are sorted after they were found.
SORTS = {'mysql': 'Using filesort', 'postgresql': 'Sort', 'sqlite': 'TEMP B-TREE'}


@dataclasses.dataclass(frozen=True)
class List:
    """A list, and the index that it is to be read by.

    :param index: its columns.
    :param marker: number of the row that the page comes after.
    :param is_ordered: the index gives the order, too: no more rows are read than the page has, and those left out.
    :param but: databases that are known to choose otherwise.
    """

    index: str
    filters: dict[str, str] = dataclasses.field(default_factory=dict)
    sort: str = 'created_at:desc'
    marker: int | None = None
    mine: bool = False
    is_ordered: bool = True
    but: tuple[str, ...] = ()

    def page(self, sign: int) -> paging.Page:
        key, _, direction = self.sort.partition(':')
        marker = None if self.marker is None else name(sign * self.marker - (sign < 0))
        return paging.Page(limit=100, marker=marker, sort=((key, direction),))


# It has no statistics of NULL, and thinks that few rows live; such databases are small.
_SQLITE = ('sqlite',)
_MIDDLE, _LAST = NUMBER // 2 + 2, 151
VOLUMES = {
    'first': List('deleted_at_created_at_id'),
    'middle': List('deleted_at_created_at_id', marker=_MIDDLE),
    'last': List('deleted_at_created_at_id', marker=_LAST),
    'oldest': List('deleted_at_created_at_id', sort='created_at:asc', marker=_MIDDLE),
    'own first': List('project_id_deleted_at_created_at_id', mine=True),
    'own middle': List('project_id_deleted_at_created_at_id', mine=True, marker=_MIDDLE, is_ordered=False),
    'own last': List('project_id_deleted_at_created_at_id', mine=True, marker=_LAST, is_ordered=False),
    **{
        f'by {key}, {order}{"" if marker is None else ", middle"}': List(
            f'deleted_at_{key}_id', sort=f'{key}:{order}', marker=marker, but=but
        )
        for key, but in (
            ('size', ()),
            ('status', ()),
            ('display_name', ('postgresql',)),  # which has NULL at the other end of its indexes
            ('updated_at', ('postgresql',)),
        )
        for order in ('asc', 'desc')
        for marker in (None, _MIDDLE)
    },
    'name': List('deleted_at_display_name_id', {'name': f'v-{name(77)[:8]}'}, is_ordered=False, but=_SQLITE),
    'status': List('deleted_at_status_id', {'status': 'creating'}, is_ordered=False, but=_SQLITE),
    'size': List('deleted_at_size_id', {'size': '77'}, is_ordered=False, but=_SQLITE),
    'host': List('host_deleted_at_status', {'host': 'h3@b'}, is_ordered=False, but=_SQLITE),
    'zone': List('availability_zone_deleted_at_created_at_id', {'availability_zone': 'small'}, is_ordered=False),
    'created since': List('deleted_at_created_at_id', {'created_at': 'gte:2026-01-07T00:00:00'}),
    'updated since': List('deleted_at_updated_at_id', {'updated_at': 'gte:2026-04-01T00:00:00'}, is_ordered=False),
    'metadata': List('key_value', {'metadata': "{'purpose': 'p7'}"}, is_ordered=False, but=_SQLITE),
}
ATTACHMENTS = {
    'first': List('deleted_at_created_at_id'),
    'middle': List('deleted_at_created_at_id', marker=_MIDDLE),
    'volume with 1,000': List('volume_id_deleted_at_created_at_id', {'volume_id': name(5)}),
    'volume with 2': List('volume_id_deleted_at_created_at_id', {'volume_id': name(7)}),
    'server': List('instance_uuid_deleted_at', {'instance_id': name(77)}, is_ordered=False, but=_SQLITE),
    'status': List('state', {'status': 'attaching'}, is_ordered=False, but=_SQLITE),
    'host': List('attached_host_deleted_at_state', {'attached_host': 'c77'}, is_ordered=False, but=_SQLITE),
}


def check(db: database.Database, listed: List, table: str, call: Callable[[Any], Any]) -> None:
    dialect = db.engine.dialect.name
    if dialect in listed.but:
        pytest.skip('known: it reads the rows of all')
    plan, found = explain(db, call)
    assert f'ix_{table}_{listed.index} ' in f'{plan.replace(chr(10), " ")} ', plan
    if listed.is_ordered:
        assert SORTS[dialect] not in plan, plan
    if dialect == 'mysql' and listed.marker is not None:
        assert ' range ' in plan, plan
    assert found or listed.filters, 'the page is empty'


@pytest.mark.parametrize('case', VOLUMES)
def test_a_page_of_volumes_is_read_by_its_index(filled: database.Database, case: str) -> None:
    listed = VOLUMES[case]
    conditions = [
        *queries.volume_conditions(ADMIN, listed.filters, 60),
        *([V.project_id == MINE] if listed.mine else []),
    ]
    check(
        filled,
        listed,
        'volume_metadata' if case == 'metadata' else 'volumes',
        lambda session: volumes.list_page(session, conditions, listed.page(1)),
    )


@pytest.mark.parametrize('case', ATTACHMENTS)
def test_a_page_of_attachments_is_read_by_its_index(filled: database.Database, case: str) -> None:
    listed = ATTACHMENTS[case]
    conditions = queries.attachment_conditions(ADMIN, listed.filters, 60)
    check(
        filled,
        listed,
        'attachments',
        lambda session: attachments.list_page(session, conditions, listed.page(-1), detail=True),
    )


def test_what_an_agent_has_to_let_go_of_is_found_without_its_history(filled: database.Database) -> None:
    plan, found = explain(filled, lambda session: fences.list_unswept(session, 'c0'))
    assert 'ix_attachments_agent_host_fenced_at' in plan, plan
    assert found


def test_an_agent_looks_for_work_without_its_history(filled: database.Database) -> None:
    plan, _found = explain(filled, lambda session: agendas.read(session, 'c0'))
    assert 'ix_attachments_agent_host_fenced_at' in plan, plan
    assert 'ix_attachments_agent_host_deleted_at_state' in plan, plan


@pytest.mark.parametrize(
    ('call', 'which'),
    [
        (lambda session: fences.list_volumes_of(session, 'c77'), None),
        (lambda session: hosts.list_facts(session, 'c77'), 0),
        (lambda session: hosts.list_facts(session, 'c77'), 1),
        (lambda session: hosts.list_attachments(session, 'c77'), None),
    ],
    ids=['volumes', 'states', 'initiators', 'attachments'],
)
def test_what_a_host_has_is_found_by_both_of_its_names(
    filled: database.Database, call: Callable[[Any], Any], which: int | None
) -> None:
    plan, found = explain(filled, call, which)
    if filled.engine.dialect.name == 'sqlite':
        pytest.skip('known: it reads the rows of all')
    for index in ('ix_attachments_attached_host_deleted_at_state', 'ix_attachments_agent_host_'):
        assert index in plan, plan
    assert found
