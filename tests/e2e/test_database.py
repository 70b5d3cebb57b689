# SPDX-License-Identifier: Apache-2.0
"""Decisions under MariaDB's row locks, with messages through RabbitMQ."""

import collections
import concurrent.futures
import uuid
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa

from multiattach.db.database import Database
from tests.deployments import two_hosts

SHARERS = 32
RIVALS = 16


@pytest.fixture
def single(cloud: two_hosts.Deployment) -> Iterator[str]:
    """A volume that one server may have."""
    ident = cloud.make_volume('single')
    yield ident
    cloud.delete_volume(ident)


def answer(call: Callable[[], object]) -> int:
    """Return the HTTP status of a call."""
    try:
        call()
    except two_hosts.Refused as exc:
        return exc.status
    return 200


def race(number: int, call: Callable[[int], object]) -> collections.Counter[int]:
    """Make calls at once; count their HTTP statuses."""
    with concurrent.futures.ThreadPoolExecutor(number) as pool:
        return collections.Counter(pool.map(lambda index: answer(lambda: call(index)), range(number)))


def connect(cloud: two_hosts.Deployment, volume: str, index: int) -> str:
    """Attach a volume through the Block Storage API, as Nova on a host of its own would."""
    name = f'nova{index}'
    ident: str = cloud.ask(
        'POST',
        '/v3/attachments',
        {
            'attachment': {
                'volume_uuid': volume,
                'instance_uuid': str(uuid.uuid4()),
                'connector': {
                    'host': name,
                    'ip': '10.99.0.200',
                    'platform': 'x86_64',
                    'os_type': 'linux',
                    'initiator': f'iqn.1993-08.org.debian:01:{name}',
                },
            }
        },
    )['attachment']['id']
    cloud.ask('POST', f'/v3/attachments/{ident}/action', {'os-complete': {}})
    return ident


def remove_all(cloud: two_hosts.Deployment, volume: str) -> None:
    idents = [a['attachment_id'] for a in cloud.show_volume(volume)['attachments']]
    assert idents
    removed = race(len(idents), lambda index: cloud.ask('DELETE', f'/v3/attachments/{idents[index]}'))
    assert removed == {200: len(idents)}
    assert cloud.show_volume(volume)['status'] == 'available'


def test_transactions_see_what_others_have_committed(cloud: two_hosts.Deployment) -> None:
    with cloud.network.inside():
        database = Database(cloud.database_url)
        try:
            for _ in range(2):
                with database.writer() as first, database.reader() as second:
                    for session in (first, second):
                        assert session.scalar(sa.text('SELECT @@tx_isolation')) == 'READ-COMMITTED'
        finally:
            database.close()


def test_names_that_differ_in_case_are_two(cloud: two_hosts.Deployment, volume: str) -> None:
    wanted = {'Key': 'one', 'key': 'two'}
    cloud.ask('POST', f'/v3/volumes/{volume}/metadata', {'metadata': wanted})
    assert cloud.show_volume(volume)['metadata'] == wanted


def test_sharers_attach_and_detach_at_once(cloud: two_hosts.Deployment, volume: str) -> None:
    done = race(SHARERS, lambda index: connect(cloud, volume, index))
    assert done == {200: SHARERS}
    assert cloud.show_volume(volume)['status'] == 'in-use'
    target = cloud.list_exports()[volume]
    assert len(set(target.initiators)) == len(set(target.accounts)) == SHARERS
    remove_all(cloud, volume)


def test_of_rivals_one_wins(cloud: two_hosts.Deployment, single: str) -> None:
    done = race(RIVALS, lambda index: connect(cloud, single, index))
    assert done == {200: 1, 400: RIVALS - 1}
    assert len(cloud.show_volume(single)['attachments']) == 1
    remove_all(cloud, single)
