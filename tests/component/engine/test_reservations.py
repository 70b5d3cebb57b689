# SPDX-License-Identifier: Apache-2.0
"""Volumes whose type asks for what only some targets can do: to keep reservations, to hold to read-only."""

import concurrent.futures
import threading
import uuid

import pytest

from multiattach.db import attachments as db_attachments, services as db_services
from multiattach.domain import errors
from multiattach.domain.services import HOST_BINARY
from multiattach.engine.servers import ServerAttach
from multiattach.engine.volumes import VolumeWish
from tests.component.engine.test_volumes import messages
from tests.contexts import make_context
from tests.deployments import embedded
from tests.deployments.keeping import KeepingTarget
from tests.deployments.noauth import make_connector
from tests.functional.compute import compute_host

CLUSTER, STRICT = {'multiattach:reservations': '<is> True'}, {'multiattach:enforce_read_only': '<is> True'}


@pytest.fixture(scope='module')
def keeping(tmp_path_factory):
    with embedded.deploy(tmp_path_factory.mktemp('keeping'), KeepingTarget()) as deployed:
        for name, specs in (('cluster', CLUSTER), ('strict', STRICT), ('multi', {})):
            deployed.engine.types.create(deployed.ctx, name, None, True, {'multiattach': '<is> True', **specs})
        yield deployed


def attach(deployed, volume_id, host, mode=None):
    made = deployed.engine.attachments.create(deployed.ctx, volume_id, str(uuid.uuid4()), make_connector(host), mode)
    deployed.engine.attachments.complete(deployed.ctx, made.id)
    return made


@pytest.mark.parametrize('specs', [CLUSTER, STRICT])
def test_without_such_a_target_the_volume_ends_in_error_and_says_why(deployed, specs):
    deployed.engine.types.create(deployed.ctx, 'cluster', None, True, {'multiattach': '<is> True', **specs})
    volume = deployed.engine.volumes.create(deployed.ctx, VolumeWish(1, 'cluster'))
    assert deployed.status(volume.id) == 'error'
    assert messages(deployed) == [
        'schedule allocate volume: No volume backend has what the volume type asks for '
        f'(multiattach=<is> True, {next(iter(specs))}=<is> True).'
    ]


def test_hosts_are_told_and_each_server_needs_an_initiator_of_its_own(keeping):
    volume_id = keeping.make_volume('cluster')
    first = attach(keeping, volume_id, 'one')
    assert first.connection_info['reservations'] is True
    with pytest.raises(errors.InvalidVolume, match=f'attachment {first.id} has the initiator') as caught:
        attach(keeping, volume_id, 'one')
    assert caught.value.code == 400
    attach(keeping, volume_id, 'two')
    # The place of a refused one is free again, and so is the initiator with the attachment.
    keeping.engine.attachments.delete(keeping.ctx, first.id)
    attach(keeping, volume_id, 'one')
    plain = keeping.make_volume('multi')
    assert 'reservations' not in attach(keeping, plain, 'one').connection_info
    attach(keeping, plain, 'one')


def test_the_old_way_leaves_nothing_when_it_is_refused(keeping):
    volume_id = keeping.make_volume('cluster')
    made = attach(keeping, volume_id, 'one')
    keeping.engine.actions.reserve(keeping.ctx, volume_id)
    with pytest.raises(errors.InvalidVolume, match=made.id):
        keeping.engine.legacy.initialize_connection(keeping.ctx, volume_id, {**make_connector('one'), 'host': 'two'})
    with keeping.db.rows() as rows:
        assert [row.id for row in db_attachments.list_left(rows, volume_id)] == [made.id]


def test_an_initiator_that_many_present_at_once_is_admitted_once(keeping):
    volume_id, gate = keeping.make_volume('cluster'), threading.Barrier(4)

    def run(_number):
        gate.wait()
        try:
            return attach(keeping, volume_id, 'one').id
        except errors.InvalidVolume:
            return None

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert sum(found is not None for found in pool.map(run, range(4))) == 1


def test_an_initiator_is_held_to_one_mode(keeping):
    volume_id = keeping.make_volume('strict')
    attach(keeping, volume_id, 'reader', 'ro')
    attach(keeping, volume_id, 'reader', 'ro')
    attach(keeping, volume_id, 'writer', 'rw')
    assert keeping.target.modes[volume_id, 'iqn.1994-05.com.redhat:reader'] == 'ro'
    assert keeping.target.modes[volume_id, 'iqn.1994-05.com.redhat:writer'] == 'rw'
    for host, mode in (('reader', 'rw'), ('writer', 'ro')):
        with pytest.raises(errors.InvalidVolume, match='enforces read-only attachments'):
            attach(keeping, volume_id, host, mode)


def test_a_reader_takes_nothing_from_a_writer_of_its_host(keeping):
    """Where the type does not ask: before, the last grant counted."""
    volume_id = keeping.make_volume('multi')
    writer = attach(keeping, volume_id, 'one', 'rw')
    reader = attach(keeping, volume_id, 'one', 'ro')
    assert (writer.connection_info['access_mode'], reader.connection_info['access_mode']) == ('rw', 'ro')
    assert keeping.target.modes[volume_id, 'iqn.1994-05.com.redhat:one'] == 'rw'
    keeping.target.modes.clear()
    keeping.exporter.restore()
    assert keeping.target.modes[volume_id, 'iqn.1994-05.com.redhat:one'] == 'rw'


@pytest.mark.parametrize(
    ('old', 'new', 'what'), [('cluster', 'multi', 'reservations'), ('multi', 'strict', 'read_only')]
)
def test_it_changes_only_while_the_volume_is_available(keeping, old, new, what):
    volume_id = keeping.make_volume(old)
    made = attach(keeping, volume_id, 'one')
    with pytest.raises(errors.InvalidVolume, match=f'multiattach:.*{what} of a volume can change only while'):
        keeping.engine.actions.retype(keeping.ctx, volume_id, new)
    keeping.engine.attachments.delete(keeping.ctx, made.id)
    keeping.engine.actions.retype(keeping.ctx, volume_id, new)
    assert ('reservations' in attach(keeping, volume_id, 'one').connection_info) is (new == 'cluster')


def test_a_worker_with_another_target_than_when_the_volume_was_made_refuses(keeping, monkeypatch):
    volume_id = keeping.make_volume('cluster')
    monkeypatch.setattr(keeping.target, 'keeps_reservations', False)
    with pytest.raises(errors.InvalidVolume, match=r'does not have \(multiattach:reservations\): retype'):
        attach(keeping, volume_id, 'one')
    assert keeping.status(volume_id) == 'available'


def test_a_host_with_one_initiator_is_told_at_once(keeping):
    """Whoever attaches to a server does not wait for the end: the agent's failure is seen later by nobody."""
    ctx = make_context(compute_host.PROJECT)
    volume_id = keeping.make_volume('cluster', ctx=ctx)

    def ask(server):
        return keeping.engine.servers.attach(ctx, server, ServerAttach(volume_id, supports_multiattach=True))

    with compute_host.run(keeping) as host:
        host.register()
        report = {'cannot_share': None, 'connector': {'initiator': f'iqn.1994-05.com.example:{compute_host.HOST}'}}
        db_services.beat(keeping.db, HOST_BINARY, compute_host.HOST, 'nova', report)
        host.may_go_on.clear()  # it has no connector yet
        first = ask(compute_host.WEB)
        with pytest.raises(errors.InvalidVolume, match=f'attachment {first.id} has the initiator'):
            ask(compute_host.DB)
        host.may_go_on.set()
        keeping.wait(lambda: keeping.engine.attachments.show(ctx, first.id).state == 'attached')
        with pytest.raises(errors.InvalidVolume, match='use the connector "qemu"'):
            ask(compute_host.DB)
        # Hosts whose attachments have one each do not say one.
        db_services.beat(keeping.db, HOST_BINARY, compute_host.HOST, 'nova', {'cannot_share': None, 'connector': {}})
        ask(compute_host.IDLE)


def test_an_explanation_names_the_target_only_where_the_initiator_may_not_write_by_another_attachment(keeping):
    volume_id = keeping.make_volume('multi')
    reader = attach(keeping, volume_id, 'one', 'ro')

    def explain():
        found = keeping.engine.explanations.explain_attachment(keeping.ctx, reader.id).read_only_at
        [by_volume] = [
            one.read_only_at
            for one in keeping.engine.explanations.explain_volume(keeping.ctx, volume_id).attachments
            if one.row.id == reader.id
        ]
        assert by_volume == found
        return found

    assert explain() == 'target'
    writer = attach(keeping, volume_id, 'one', 'rw')
    assert explain() == 'host'
    keeping.engine.attachments.delete(keeping.ctx, writer.id)
    assert keeping.target.modes[volume_id, 'iqn.1994-05.com.redhat:one'] == 'rw'
    assert explain() == 'host'


@pytest.mark.parametrize('kind', ['cluster', 'strict'])
def test_names_that_differ_in_capitals_only_are_one_initiator(keeping, kind):
    """So the kernel's target has it: the second would take over the entry of the first."""
    volume_id = keeping.make_volume(kind)
    made = attach(keeping, volume_id, 'one', 'rw')
    with pytest.raises(errors.InvalidVolume, match=made.id):
        attach(keeping, volume_id, 'ONE', 'ro')
