# SPDX-License-Identifier: Apache-2.0
"""Many at once: threads in one process, then several processes on one database."""

import collections
import concurrent.futures
import json
import subprocess
import sys
import threading
import uuid

import pytest
import sqlalchemy as sa

from multiattach.db import models
from multiattach.domain import errors
from tests.deployments import embedded, surroundings
from tests.deployments.noauth import make_connector


def at_once(number, call):
    """Run call(0..number-1) in as many threads that start together; results or errors."""
    barrier = threading.Barrier(number)

    def run(index):
        barrier.wait()
        try:
            return call(index)
        except errors.MultiattachError as exc:
            return exc

    with concurrent.futures.ThreadPoolExecutor(number) as pool:
        return list(pool.map(run, range(number)))


def rows(deployed, volume_id, live=True):
    query = sa.select(models.Attachment).where(models.Attachment.volume_id == volume_id)
    if live:
        query = query.where(models.Attachment.deleted_at.is_(None))
    with deployed.db.reader() as session:
        return list(session.scalars(query))


def split(results):
    failed = [r for r in results if isinstance(r, Exception)]
    return [r for r in results if not isinstance(r, Exception)], failed


def test_32_sharers_all_get_in_and_out(deployed):
    deployed.make_type()
    volume_id = deployed.make_volume('multi')

    def attach(index):
        row = deployed.engine.attachments.create(
            deployed.ctx, volume_id, str(uuid.uuid4()), make_connector(f'host{index}'), None
        )
        deployed.engine.attachments.complete(deployed.ctx, row.id)
        return row

    won, failed = split(at_once(32, attach))
    assert failed == []
    assert deployed.status(volume_id) == 'in-use'
    assert {r.state for r in rows(deployed, volume_id)} == {'attached'}
    assert len(deployed.target.list_exports()[volume_id].initiators) == 32
    secrets = {r.connection_info['auth_password'] for r in won}
    assert len(secrets) == 32

    _, failed = split(at_once(32, lambda i: deployed.engine.attachments.delete(deployed.ctx, won[i].id)))
    assert failed == []
    assert deployed.status(volume_id) == 'available'
    assert deployed.target.list_exports() == {}


def test_16_race_for_a_single_attach_volume_and_one_wins(deployed):
    volume_id = deployed.make_volume()
    won, failed = split(
        at_once(
            16, lambda i: deployed.engine.attachments.create(deployed.ctx, volume_id, str(uuid.uuid4()), None, None)
        )
    )
    assert len(won) == 1
    assert {type(e) for e in failed} == {errors.InvalidVolume}
    assert {e.code for e in failed} == {400}
    assert len(rows(deployed, volume_id, live=False)) == 1


@pytest.mark.parametrize('shared', [True, False])
def test_16_requests_of_one_server_leave_two_attachments_and_one_host(deployed, shared):
    deployed.make_type()
    volume_id = deployed.make_volume('multi' if shared else None)
    server = str(uuid.uuid4())
    won, failed = split(
        at_once(
            16,
            lambda i: deployed.engine.attachments.create(deployed.ctx, volume_id, server, make_connector('host'), None),
        )
    )
    assert {e.code for e in failed} <= {400, 409}
    left = rows(deployed, volume_id)
    assert len(left) <= 2
    assert len([r for r in left if r.initiator]) == 1
    assert len(won) == 1


def test_attach_against_delete_of_the_volume(deployed):
    deployed.make_type()
    for _ in range(10):
        volume_id = deployed.make_volume('multi')

        def race(index, volume_id=volume_id):
            if index == 0:
                return deployed.engine.volumes.delete(deployed.ctx, volume_id)
            return deployed.engine.attachments.create(deployed.ctx, volume_id, str(uuid.uuid4()), None, None)

        results = at_once(4, race)
        attached = [r for r in results[1:] if not isinstance(r, Exception)]
        if isinstance(results[0], Exception):
            assert attached, 'the volume was refused its deletion by nobody'
            assert deployed.status(volume_id) == 'reserved'
        else:
            assert attached == []
            deployed.wait(lambda v=volume_id: deployed.status(v) is None)
            assert {e.code for e in results[1:]} <= {400, 404}


def test_attach_against_retype_never_shares_a_single_attach_volume(deployed):
    deployed.make_type()
    for _ in range(10):
        volume_id = deployed.make_volume('multi')

        def race(index, volume_id=volume_id):
            if index == 0:
                return deployed.engine.actions.retype(deployed.ctx, volume_id, '__DEFAULT__')
            return deployed.engine.attachments.create(deployed.ctx, volume_id, str(uuid.uuid4()), None, None)

        results = at_once(5, race)
        attached = [r for r in results[1:] if not isinstance(r, Exception)]
        volume = deployed.engine.volumes.show(deployed.ctx, volume_id)
        assert volume.multiattach == (volume.type_name == 'multi')
        if isinstance(results[0], Exception):
            assert volume.multiattach
            assert len(attached) == 4
        else:
            assert not volume.multiattach
            assert len(attached) <= 1


def test_attach_against_extend(deployed):
    deployed.make_type()
    for _ in range(5):
        volume_id = deployed.make_volume('multi')

        def race(index, volume_id=volume_id):
            if index == 0:
                return deployed.engine.actions.extend(deployed.ctx, volume_id, 2, in_use_allowed=True)
            return deployed.engine.attachments.create(deployed.ctx, volume_id, str(uuid.uuid4()), None, None)

        results = at_once(4, race)
        attached = [r for r in results[1:] if not isinstance(r, Exception)]
        deployed.wait(lambda v=volume_id: deployed.status(v) != 'extending')
        volume = deployed.engine.volumes.show(deployed.ctx, volume_id)
        assert volume.size == (1 if isinstance(results[0], Exception) else 2)
        assert volume.status == ('reserved' if attached else 'available')


def test_delete_during_connect_leaves_nothing_on_the_target(deployed):
    """Contract 11.4 number 4."""
    deployed.make_type()
    volume_id = deployed.make_volume('multi')
    for _ in range(20):
        ident = deployed.engine.attachments.create(deployed.ctx, volume_id, str(uuid.uuid4()), None, None).id

        def race(index, ident=ident):
            if index:
                return deployed.engine.attachments.connect(deployed.ctx, ident, make_connector('h'))
            return deployed.engine.attachments.delete(deployed.ctx, ident)

        outcome = at_once(2, race)
        for exc in split(outcome)[1]:
            assert exc.code in (404, 409)
        left = rows(deployed, volume_id)
        for row in left:  # the delete came first to a row that the connect then took
            deployed.engine.attachments.delete(deployed.ctx, row.id)
        assert deployed.target.list_exports() == {}
        assert deployed.status(volume_id) == 'available'


def test_concurrent_deletes_take_the_export_away(deployed):
    """Contract 11.4 number 3."""
    deployed.make_type()
    volume_id = deployed.make_volume('multi')
    for _ in range(10):
        idents = [
            deployed.engine.attachments.create(
                deployed.ctx, volume_id, str(uuid.uuid4()), make_connector(f'h{i}'), None
            ).id
            for i in range(4)
        ]
        _, failed = split(
            at_once(8, lambda i, ids=idents: deployed.engine.attachments.delete(deployed.ctx, ids[i // 2]))
        )
        assert {e.code for e in failed} <= {404, 409}
        assert deployed.target.list_exports() == {}


def test_processes_race_on_one_database(tmp_path):
    """One winner of single-attach volumes and all sharers in, with four processes."""
    with embedded.deploy(tmp_path) as deployed:
        deployed.make_type()
        single = [deployed.make_volume() for _ in range(5)]
        shared = deployed.make_volume('multi')
        program = [sys.executable, '-m', 'tests.functional.races.reserver', str(tmp_path), shared, *single]
        children = [
            subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)
        ]
        for child in children:
            child.stdin.write(surroundings.current.find_database(tmp_path) + '\n')
            child.stdin.flush()
        answers = [json.loads(child.communicate(timeout=120)[0]) for child in children]
        wins: collections.Counter[str] = collections.Counter()
        for answer in answers:
            wins.update(answer['won'])
            assert set(answer['codes']) <= {400}
        assert wins == {**dict.fromkeys(single, 1), shared: 4 * 8}
        for volume_id in single:
            assert len(rows(deployed, volume_id, live=False)) == 1
        assert len(rows(deployed, shared)) == 32
