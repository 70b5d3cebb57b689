# SPDX-License-Identifier: Apache-2.0
"""Lists in pages, by every order: each row exactly once, whatever is NULL and whatever database sorts."""

import dataclasses
import datetime
import itertools
import random
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import sqlalchemy as sa

from multiattach.db import models, paging
from multiattach.domain import states
from multiattach.engine import queries, server_queries
from tests.deployments.embedded import Deployment

NUMBER = 12
DIRECTIONS = ('asc', 'desc')
# Few values, so that many rows are alike; some that databases sort each in its own way.
NAMES = (None, None, '', 'a', 'A', 'ä', 'b ', 'Z', '~')
MOMENT = datetime.datetime(2026, 1, 2, 3, 4, 5, 678901)
MOMENTS = (MOMENT, MOMENT + datetime.timedelta(microseconds=1), MOMENT + datetime.timedelta(days=1))
PROJECT = 'a' * 32


@dataclasses.dataclass(frozen=True)
class Listed:
    """A list of the API: what it can be sorted by, how rows come about, and how a page of it is read."""

    columns: set[str]
    model: Any
    make: Callable[[random.Random, dict[str, str]], dict[str, Any]]
    read: Callable[[Deployment, paging.Page], list[Any]]


def stamps(rand: random.Random) -> dict[str, Any]:
    return {'created_at': rand.choice(MOMENTS), 'updated_at': rand.choice((None, *MOMENTS))}


def volume(rand: random.Random, known: dict[str, str]) -> dict[str, Any]:
    return stamps(rand) | {
        'project_id': PROJECT,
        'user_id': rand.choice((None, 'x', 'y')),
        'display_name': rand.choice(NAMES),
        'size': rand.choice((1, 2, 10)),
        'volume_type_id': known['type'],
        'status': rand.choice(('available', 'in-use', 'error')),
        'host': rand.choice((None, 'h1@b', 'h2@b')),
        'availability_zone': rand.choice((None, 'nova', 'z2')),
        'bootable': rand.choice((True, False)),
        'multiattach': rand.choice((True, False)),
    }


def attachment(rand: random.Random, known: dict[str, str]) -> dict[str, Any]:
    return stamps(rand) | {
        'volume_id': known['volume'],
        'state': rand.choice((states.Attachment.RESERVED, states.Attachment.EXPORTED, states.Attachment.ATTACHED)),
        'instance_uuid': rand.choice((None, known['volume'], known['type'])),
        'attach_mode': rand.choice((None, 'ro', 'rw')),
        'attached_host': rand.choice(NAMES),
        'mountpoint': rand.choice(NAMES),
        'attached_at': rand.choice((None, *MOMENTS)),
        'timeline': '',
    }


def volume_type(rand: random.Random, _known: dict[str, str]) -> dict[str, Any]:
    return stamps(rand) | {
        'name': rand.choice(NAMES[2:]),
        'live_name': str(uuid.UUID(int=rand.getrandbits(128))),
        'description': rand.choice(NAMES),
        'is_public': rand.choice((True, False)),
    }


def message(rand: random.Random, _known: dict[str, str]) -> dict[str, Any]:
    return {
        'project_id': PROJECT,
        'request_id': rand.choice(NAMES),
        'resource_type': rand.choice(('A', 'B')),
        'resource_uuid': rand.choice((None, 'x')),
        'event_id': rand.choice(('1', '2')),
        'message_level': 'ERROR',
        'user_message': 'text',
        'created_at': rand.choice(MOMENTS),
        'guaranteed_until': rand.choice(MOMENTS),
    }


def qos_specs(rand: random.Random, _known: dict[str, str]) -> dict[str, Any]:
    return stamps(rand) | {
        'name': str(uuid.UUID(int=rand.getrandbits(128))),
        'consumer': rand.choice(('both', 'back-end')),
    }


def server(rand: random.Random, _known: dict[str, str]) -> dict[str, Any]:
    return stamps(rand) | {
        'name': rand.choice(NAMES[2:]),
        'project_id': PROJECT,
        'host': rand.choice(('h1', 'h2')),
        'power_state': rand.choice(('running', 'shutdown')),
    }


def columns(keys: Mapping[str, str | None]) -> set[str]:
    return {column for column in keys.values() if column is not None}


LISTS = {
    'volumes': Listed(
        columns(queries.VOLUME_SORT_KEYS),
        models.Volume,
        volume,
        lambda d, page: list(d.engine.volumes.list_page(d.ctx, [], page, all_projects=True)),
    ),
    'attachments': Listed(
        columns(queries.ATTACHMENT_SORT_KEYS),
        models.Attachment,
        attachment,
        lambda d, page: list(d.engine.attachments.list_page(d.ctx, [], page, detail=False, all_projects=True)),
    ),
    'types': Listed(
        columns(queries.TYPE_SORT_KEYS),
        models.VolumeType,
        volume_type,
        lambda d, page: list(d.engine.types.list_page(d.ctx, [], page)),
    ),
    'messages': Listed(
        columns(queries.MESSAGE_SORT_KEYS),
        models.Message,
        message,
        lambda d, page: list(d.engine.messages.list_page(d.ctx, [], page)),
    ),
    'qos_specs': Listed(
        columns(queries.QOS_SORT_KEYS),
        models.QosSpecs,
        qos_specs,
        lambda d, page: list(d.engine.qos_specs.list_page(d.ctx, [], page)),
    ),
    'servers': Listed(
        columns(server_queries.SORT_KEYS),
        models.Server,
        server,
        lambda d, page: list(d.engine.servers.list_page(d.ctx, [], page, all_projects=True)),
    ),
}


def fill(deployed: Deployment, listed: Listed, rand: random.Random) -> None:
    known = {'type': deployed.make_type('of-all'), 'volume': deployed.make_volume()}
    with deployed.db.writer() as session:
        session.execute(
            sa.insert(listed.model),
            [
                {'id': str(uuid.UUID(int=rand.getrandbits(128), version=4)), **listed.make(rand, known)}
                for _ in range(NUMBER)
            ],
        )


def walk(deployed: Deployment, listed: Listed, page: paging.Page) -> list[str]:
    """Read a list page by page, as a client follows the links."""
    found: list[str] = []
    while True:
        rows = listed.read(deployed, page)
        found += [row.id for row in rows]
        assert len(found) <= 3 * NUMBER, 'pages without end'
        if len(rows) < page.limit:
            return found
        page = dataclasses.replace(page, marker=rows[-1].id)


def place(row: Any, column: str) -> bool:
    return getattr(row, column) is not None


@pytest.mark.parametrize('name', LISTS)
def test_each_row_is_on_one_page(deployed: Deployment, name: str) -> None:
    rand, listed = random.Random(name), LISTS[name]
    fill(deployed, listed, rand)
    keys = sorted(listed.columns)
    assert 'id' in keys
    orders: list[tuple[tuple[str, str], ...]] = [
        ((key, direction),) for key, direction in itertools.product(keys, DIRECTIONS)
    ]
    for _ in range(8):  # and some of several keys
        some = rand.sample(keys, rand.randint(2, len(keys)))
        orders.append(tuple((key, rand.choice(DIRECTIONS)) for key in some))
    for order in orders:
        whole = listed.read(deployed, paging.Page(sort=order))
        expected = [row.id for row in whole]
        assert len(set(expected)) == len(expected) >= NUMBER
        key, direction = order[0]
        assert [place(row, key) for row in whole] == sorted(
            (place(row, key) for row in whole), reverse=direction == 'desc'
        ), order
        assert walk(deployed, listed, paging.Page(limit=2, sort=order)) == expected, order
