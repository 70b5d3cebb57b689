# SPDX-License-Identifier: Apache-2.0
"""QoS specs: what attachments are told, and what a race of two cannot do."""

import concurrent.futures
import threading
import uuid

import pytest
import sqlalchemy as sa

from multiattach.db import history, models
from multiattach.domain import errors
from multiattach.engine.volumes import VolumeWish
from tests import contexts

TABLES = (models.QosSpecs, models.QosSpec, models.TypeQos)
CONNECTOR = {'host': 'one', 'initiator': 'iqn.1994-05.com.example:one', 'ip': '192.0.2.1'}


def attach(d, volume_id):
    return d.engine.attachments.create(d.ctx, volume_id, str(uuid.uuid4()), CONNECTOR, None)


def make(d, consumer='front-end', specs=None, type_id=None):
    made = d.engine.qos_specs.create(d.ctx, uuid.uuid4().hex, consumer, specs or {})
    if type_id is not None:
        d.engine.qos_specs.associate(d.ctx, made.id, type_id)
    return made.id


def count(d, model):
    with d.db.reader() as session:
        return session.execute(sa.select(sa.func.count()).select_from(model)).scalar_one()


@pytest.mark.parametrize(
    ('consumer', 'told'),
    [
        ('front-end', {'read_iops_sec': 200, 'vendor': 'x'}),
        ('both', {'read_iops_sec': 200, 'vendor': 'x'}),
        ('back-end', None),
    ],
)
def test_connection_info_tells_hosts_their_part(deployed, consumer, told):
    make(deployed, consumer, {'read_iops_sec_per_gb': '100', 'vendor': 'x'}, deployed.make_type())
    row = attach(deployed, deployed.make_volume('multi', size=2))
    assert row.connection_info['qos_specs'] == told


def test_without_specs_nothing_is_told(deployed):
    assert attach(deployed, deployed.make_volume()).connection_info['qos_specs'] is None


def test_specs_without_keys_are_an_empty_object(deployed):
    make(deployed, type_id=deployed.make_type())
    assert attach(deployed, deployed.make_volume('multi')).connection_info['qos_specs'] == {}


def test_who_is_connected_keeps_what_he_was_told(deployed):
    """A repeated call returns the same connection_info; who comes later is told what holds then."""
    ident = make(deployed, specs={'read_iops_sec': '1'}, type_id=deployed.make_type())
    volume_id = deployed.make_volume('multi')
    first = attach(deployed, volume_id)
    deployed.engine.qos_specs.update(deployed.ctx, ident, {'read_iops_sec': '2'})
    again = deployed.engine.attachments.connect(deployed.ctx, first.id, CONNECTOR)
    assert again.connection_info['qos_specs'] == {'read_iops_sec': '1'}
    assert attach(deployed, volume_id).connection_info['qos_specs'] == {'read_iops_sec': '2'}


def test_a_volume_that_has_grown_may_be_faster(deployed):
    make(deployed, specs={'total_bytes_sec_per_gb': '10'}, type_id=deployed.make_type())
    volume_id = deployed.make_volume('multi')
    first = attach(deployed, volume_id)
    assert first.connection_info['qos_specs'] == {'total_bytes_sec': 10}
    deployed.engine.attachments.complete(deployed.ctx, first.id)
    deployed.engine.actions.extend(deployed.ctx, volume_id, 3, in_use_allowed=True)
    deployed.wait(lambda: deployed.engine.volumes.show(deployed.ctx, volume_id).size == 3)
    assert attach(deployed, volume_id).connection_info['qos_specs'] == {'total_bytes_sec': 30}


@pytest.mark.parametrize(
    ('old', 'new', 'allowed'),
    [
        (None, None, True),
        ('back-end', None, True),
        (None, 'back-end', True),
        ('back-end', 'back-end', True),
        ('front-end', None, False),
        (None, 'both', False),
        ('front-end', 'front-end', False),
        ('both', 'back-end', False),
    ],
)
def test_a_volume_in_use_keeps_what_hosts_see_to(deployed, old, new, allowed):
    """Contract 5; while it is available, it may be retyped."""
    for name, consumer in (('old', old), ('new', new)):
        type_id = deployed.make_type(name)
        if consumer:
            make(deployed, consumer, type_id=type_id)
    volume_id = deployed.make_volume('old')
    row = attach(deployed, volume_id)
    deployed.engine.attachments.complete(deployed.ctx, row.id)
    if allowed:
        deployed.engine.actions.retype(deployed.ctx, volume_id, 'new')
    else:
        with pytest.raises(errors.InvalidVolume, match='front-end qos specs'):
            deployed.engine.actions.retype(deployed.ctx, volume_id, 'new')
        deployed.engine.attachments.delete(deployed.ctx, row.id)
        deployed.engine.actions.retype(deployed.ctx, volume_id, 'new')
    assert deployed.engine.volumes.show(deployed.ctx, volume_id).type_name == 'new'


def test_types_that_share_specs_may_be_exchanged_in_use(deployed):
    ident = make(deployed, 'both')
    for name in ('old', 'new'):
        deployed.engine.qos_specs.associate(deployed.ctx, ident, deployed.make_type(name))
    volume_id = deployed.make_volume('old')
    deployed.engine.attachments.complete(deployed.ctx, attach(deployed, volume_id).id)
    deployed.engine.actions.retype(deployed.ctx, volume_id, 'new')


def test_a_type_that_goes_takes_its_association_along(deployed):
    ident = make(deployed, type_id=deployed.make_type())
    [found] = deployed.engine.qos_specs.list_types(deployed.ctx, ident)
    deployed.engine.types.delete(deployed.ctx, found.id)
    assert deployed.engine.qos_specs.list_types(deployed.ctx, ident) == []
    deployed.engine.qos_specs.delete(deployed.ctx, ident, force=False)
    assert [count(deployed, model) for model in TABLES] == [0, 0, 0]


def test_a_type_that_an_older_program_deleted(deployed):
    """It leaves the association, which neither shows nor stands against a deletion or a purge."""
    type_id, other = deployed.make_type('one'), deployed.make_type('two')
    first, second = make(deployed, type_id=type_id), make(deployed, type_id=other)
    with deployed.db.writer() as session:
        session.execute(
            sa.update(models.VolumeType)
            .where(models.VolumeType.id.in_([type_id, other]))
            .values(deleted_at=models.now(), live_name=None)
        )
    assert deployed.engine.qos_specs.list_types(deployed.ctx, first) == []
    deployed.engine.qos_specs.delete(deployed.ctx, first, force=False)
    assert history.purge(deployed.db, models.now())['volume_types'] == 2
    deployed.engine.qos_specs.delete(deployed.ctx, second, force=False)
    assert [count(deployed, model) for model in TABLES] == [0, 0, 0]


def test_specs_in_use_go_by_force_only(deployed):
    ident = make(deployed, specs={'a': 'b'}, type_id=deployed.make_type())
    with pytest.raises(errors.InvalidInput, match='still in use'):
        deployed.engine.qos_specs.delete(deployed.ctx, ident, force=False)
    assert deployed.engine.qos_specs.show(deployed.ctx, ident).specs == {'a': 'b'}
    deployed.engine.qos_specs.delete(deployed.ctx, ident, force=True)
    assert [count(deployed, model) for model in TABLES] == [0, 0, 0]
    assert deployed.engine.types.find(deployed.ctx, 'multi').qos_specs_id is None


def at_once(*calls):
    barrier = threading.Barrier(len(calls))

    def run(call):
        barrier.wait()
        try:
            return call()
        except errors.MultiattachError as exc:
            return exc

    with concurrent.futures.ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def test_a_race_for_a_type_has_one_winner(deployed):
    type_id = deployed.make_type()
    idents = [make(deployed) for _ in range(8)]
    results = at_once(
        *(lambda ident=ident: deployed.engine.qos_specs.associate(deployed.ctx, ident, type_id) for ident in idents)
    )
    assert [type(result) for result in results].count(errors.InvalidInput) == 7
    assert deployed.engine.types.show(deployed.ctx, type_id).qos_specs_id == idents[results.index(None)]


def test_associate_and_delete_at_once_leave_nothing_half(deployed):
    for _ in range(5):
        type_id, ident = deployed.make_type(uuid.uuid4().hex), make(deployed)
        at_once(
            lambda i=ident, t=type_id: deployed.engine.qos_specs.associate(deployed.ctx, i, t),
            lambda i=ident: deployed.engine.qos_specs.delete(deployed.ctx, i, force=False),
            lambda t=type_id: deployed.engine.types.delete(deployed.ctx, t),
        )
    with deployed.db.reader() as session:
        left = set(session.execute(sa.select(models.TypeQos.volume_type_id, models.TypeQos.qos_specs_id)))
        types = set(session.scalars(sa.select(models.VolumeType.id).where(models.VolumeType.deleted_at.is_(None))))
        specs = set(session.scalars(sa.select(models.QosSpecs.id)))
    assert all(type_id in types and qos_id in specs for type_id, qos_id in left)


def test_a_name_is_taken_once(deployed):
    results = at_once(*[lambda: deployed.engine.qos_specs.create(deployed.ctx, 'gold', 'both', {'a': 'b'})] * 6)
    assert [type(result) for result in results].count(errors.Conflict) == 5
    assert (count(deployed, models.QosSpecs), count(deployed, models.QosSpec)) == (1, 1)


def test_who_may(deployed):
    member = contexts.make_context(admin=False, roles=('member', 'reader'))
    ident, specs = make(deployed), deployed.engine.qos_specs
    for call in (
        lambda: specs.show(member, ident),
        lambda: specs.create(member, 'x', 'both', {}),
        lambda: specs.update(member, ident, {}),
        lambda: specs.delete(member, ident, force=True),
        lambda: specs.delete_keys(member, ident, []),
        lambda: specs.list_types(member, ident),
        lambda: specs.associate(member, ident, None),
        lambda: specs.disassociate_all(member, ident),
        lambda: specs.disassociate(member, ident, None),
    ):
        with pytest.raises(errors.NotAuthorized):
            call()


def test_a_volume_of_a_type_with_specs_is_made_as_any(deployed):
    make(deployed, type_id=deployed.make_type())
    volume = deployed.engine.volumes.create(deployed.ctx, VolumeWish(1, 'multi'))
    deployed.wait(lambda: deployed.status(volume.id) == 'available')
