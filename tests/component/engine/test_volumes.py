# SPDX-License-Identifier: Apache-2.0
"""Volumes, retype, extend and delete through the engine, with the real worker."""

import concurrent.futures
import uuid

import pytest
import sqlalchemy as sa

from multiattach.cmd import parts
from multiattach.db import models
from multiattach.domain import errors
from multiattach.domain.services import VOLUME_BINARY
from multiattach.engine.volumes import VolumeWish
from tests.contexts import make_context
from tests.deployments.embedded import BACKEND
from tests.deployments.noauth import make_connector


def messages(d):
    with d.db.reader() as session:
        return [m.user_message for m in session.scalars(sa.select(models.Message))]


def test_a_volume_without_a_place_ends_in_error_and_says_why(deployed):
    deployed.engine.services.set_disabled(deployed.ctx, VOLUME_BINARY, BACKEND, True, 'for a test')
    volume = deployed.engine.volumes.create(deployed.ctx, VolumeWish(1))
    assert volume.status == 'creating'
    assert deployed.status(volume.id) == 'error'
    assert messages(deployed) == ['schedule allocate volume: No volume backend is up and enabled.']
    deployed.engine.services.set_disabled(deployed.ctx, VOLUME_BINARY, BACKEND, False)
    deployed.make_volume()
    deployed.engine.volumes.delete(deployed.ctx, volume.id)
    assert deployed.status(volume.id) is None


def test_a_type_that_no_backend_serves(deployed):
    deployed.engine.types.create(deployed.ctx, 'odd', None, True, {'volume_backend_name': 'elsewhere'})
    volume = deployed.engine.volumes.create(deployed.ctx, VolumeWish(1, 'odd'))
    assert deployed.status(volume.id) == 'error'
    assert 'what the volume type asks for' in messages(deployed)[0]


def test_the_file_is_sparse_private_and_gone_with_the_volume(deployed):
    volume_id = deployed.make_volume(size=3)
    path = deployed.directory / 'volumes' / f'volume-{volume_id}'
    assert path.stat().st_size == 3 << 30
    assert path.stat().st_blocks == 0
    assert path.stat().st_mode & 0o777 == 0o600
    deployed.engine.volumes.delete(deployed.ctx, volume_id)
    deployed.wait(lambda: deployed.status(volume_id) is None)
    assert not path.exists()


@pytest.mark.parametrize('force', [False, True])
def test_a_volume_with_attachments_is_not_deleted(deployed, force):
    """Contract 11.4 number 22."""
    volume_id = deployed.make_volume()
    row = deployed.engine.attachments.create(deployed.ctx, volume_id, None, None, None)
    with pytest.raises(errors.InvalidVolume, match='attachments'):
        deployed.engine.volumes.delete(deployed.ctx, volume_id, force=force)
    assert deployed.engine.attachments.show(deployed.ctx, row.id).state == 'reserved'


def test_retype_moves_type_and_flag_together_and_only_while_available(deployed):
    deployed.make_type()
    volume_id = deployed.make_volume()
    deployed.engine.actions.retype(deployed.ctx, volume_id, 'multi')
    volume = deployed.engine.volumes.show(deployed.ctx, volume_id)
    assert (volume.multiattach, volume.type_name, volume.status) == (True, 'multi', 'available')
    with pytest.raises(errors.InvalidInput):
        deployed.engine.actions.retype(deployed.ctx, volume_id, 'multi')
    deployed.engine.attachments.create(deployed.ctx, volume_id, None, make_connector('h'), None)
    with pytest.raises(errors.InvalidVolume):
        deployed.engine.actions.retype(deployed.ctx, volume_id, '__DEFAULT__')


def test_a_retype_that_the_backend_cannot_serve_changes_nothing_and_says_why(deployed):
    """Contract 11.4 number 9."""
    deployed.engine.types.create(
        deployed.ctx, 'far', None, True, {'multiattach': '<is> True', 'volume_backend_name': 'elsewhere'}
    )
    volume_id = deployed.make_volume()
    deployed.engine.actions.retype(deployed.ctx, volume_id, 'far')
    volume = deployed.engine.volumes.show(deployed.ctx, volume_id)
    assert (volume.multiattach, volume.type_name, volume.status) == (False, '__DEFAULT__', 'available')
    assert 'retype volume' in messages(deployed)[0]


def test_retype_to_multiattach_asks_its_policy(deployed):
    deployed.make_type()
    member = make_context(admin=False, roles=('member', 'reader'))
    volume_id = deployed.make_volume(ctx=member)
    deployed.engine.policy._enforcer.set_rules({'volume:multiattach': _parse('!')}, overwrite=False, use_conf=False)
    with pytest.raises(errors.NotAuthorized):
        deployed.engine.actions.retype(member, volume_id, 'multi')
    with pytest.raises(errors.NotAuthorized):
        deployed.engine.volumes.create(member, VolumeWish(1, 'multi'))


def _parse(rule):
    from oslo_policy import _parser

    return _parser.parse_rule(rule)


def test_extend_available_and_in_use(deployed):
    deployed.make_type()
    volume_id = deployed.make_volume('multi')
    row = deployed.engine.attachments.create(deployed.ctx, volume_id, None, make_connector('h'), None)
    deployed.engine.attachments.complete(deployed.ctx, row.id)
    with pytest.raises(errors.InvalidVolume):
        deployed.engine.actions.extend(deployed.ctx, volume_id, 2, in_use_allowed=False)
    with pytest.raises(errors.InvalidInput):
        deployed.engine.actions.extend(deployed.ctx, volume_id, 1, in_use_allowed=True)
    deployed.engine.actions.extend(deployed.ctx, volume_id, 2, in_use_allowed=True)
    deployed.wait(lambda: deployed.status(volume_id) == 'in-use')
    assert deployed.engine.volumes.show(deployed.ctx, volume_id).size == 2


def test_a_foreign_project_sees_nothing(deployed):
    volume_id = deployed.make_volume()
    row = deployed.engine.attachments.create(deployed.ctx, volume_id, None, None, None)
    stranger = make_context('b' * 32, admin=False, roles=('member', 'reader'))
    for call in (
        lambda: deployed.engine.volumes.show(stranger, volume_id),
        lambda: deployed.engine.volumes.delete(stranger, volume_id),
        lambda: deployed.engine.attachments.create(stranger, volume_id, None, None, None),
        lambda: deployed.engine.attachments.show(stranger, row.id),
        lambda: deployed.engine.attachments.connect(stranger, row.id, make_connector('h')),
        lambda: deployed.engine.attachments.complete(stranger, row.id),
        lambda: deployed.engine.attachments.delete(stranger, row.id),
        lambda: deployed.engine.actions.reserve(stranger, volume_id),
    ):
        with pytest.raises(errors.NotFound):
            call()


def test_a_reader_may_see_and_not_do(deployed):
    volume_id = deployed.make_volume()
    row = deployed.engine.attachments.create(deployed.ctx, volume_id, None, None, None)
    reader = make_context(admin=False, roles=('reader',))
    deployed.engine.volumes.show(reader, volume_id)
    deployed.engine.attachments.show(reader, row.id)
    for call in (
        lambda: deployed.engine.volumes.delete(reader, volume_id),
        lambda: deployed.engine.attachments.create(reader, volume_id, None, None, None),
        lambda: deployed.engine.attachments.delete(reader, row.id),
    ):
        with pytest.raises(errors.NotAuthorized):
            call()


def share(deployed, number):
    """Make a volume that servers on as many hosts have."""
    deployed.make_type()
    volume_id = deployed.make_volume('multi')
    return volume_id, [add_sharer(deployed, volume_id, f'host{each}') for each in range(number)]


def add_sharer(deployed, volume_id, host):
    row = deployed.engine.attachments.create(deployed.ctx, volume_id, str(uuid.uuid4()), make_connector(host), None)
    deployed.engine.attachments.complete(deployed.ctx, row.id)
    return row


def test_detaching_is_shown_until_that_detach_ends(deployed):
    volume_id, rows = share(deployed, 3)
    for left in (1, 2):
        deployed.engine.actions.begin_detaching(deployed.ctx, volume_id)
        assert deployed.status(volume_id) == 'detaching', left
    deployed.engine.attachments.delete(deployed.ctx, rows[0].id)
    assert deployed.status(volume_id) == 'detaching'  # the second has not ended
    deployed.engine.attachments.delete(deployed.ctx, rows[1].id)
    assert deployed.status(volume_id) == 'in-use'
    deployed.engine.actions.begin_detaching(deployed.ctx, volume_id)
    deployed.engine.actions.roll_detaching(deployed.ctx, volume_id)
    assert deployed.status(volume_id) == 'in-use'
    deployed.engine.actions.begin_detaching(deployed.ctx, volume_id)
    with pytest.raises(errors.InvalidVolume, match='detaching'):  # there is nobody else
        deployed.engine.actions.begin_detaching(deployed.ctx, volume_id)
    deployed.engine.attachments.delete(deployed.ctx, rows[2].id)
    assert deployed.status(volume_id) == 'available'


def test_a_sharer_that_detaches_refuses_nothing_to_the_others(deployed):
    volume_id, rows = share(deployed, 2)
    deployed.engine.actions.begin_detaching(deployed.ctx, volume_id)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:  # more servers come meanwhile
        more = list(pool.map(lambda name: add_sharer(deployed, volume_id, name), 'abcd'))
    assert deployed.status(volume_id) == 'detaching'
    deployed.engine.actions.reserve(deployed.ctx, volume_id)
    deployed.engine.actions.unreserve(deployed.ctx, volume_id)
    deployed.engine.actions.extend(deployed.ctx, volume_id, 2, in_use_allowed=True)
    deployed.wait(lambda: deployed.engine.volumes.show(deployed.ctx, volume_id).size == 2)
    deployed.wait(lambda: deployed.status(volume_id) == 'detaching')
    clone = deployed.engine.volumes.create(deployed.ctx, VolumeWish(None, None, source_volid=volume_id))
    deployed.wait(lambda: deployed.status(clone.id) == 'available')
    deployed.make_type('other')
    deployed.engine.actions.retype(deployed.ctx, volume_id, 'other')
    for row in (rows[0], *more):
        deployed.engine.attachments.delete(deployed.ctx, row.id)
    assert deployed.status(volume_id) == 'in-use'


def test_a_single_volume_that_detaches_is_not_extended(deployed):
    volume_id = deployed.make_volume()
    add_sharer(deployed, volume_id, 'a')
    deployed.engine.actions.begin_detaching(deployed.ctx, volume_id)
    assert deployed.status(volume_id) == 'detaching'
    with pytest.raises(errors.InvalidVolume):
        deployed.engine.actions.extend(deployed.ctx, volume_id, 2, in_use_allowed=True)


def test_begin_detaching_needs_an_attachment(deployed):
    volume_id, rows = share(deployed, 1)
    deployed.engine.actions.begin_detaching(deployed.ctx, volume_id)
    assert deployed.status(volume_id) == 'detaching'
    deployed.engine.actions.roll_detaching(deployed.ctx, volume_id)
    assert deployed.status(volume_id) == 'in-use'
    deployed.engine.actions.begin_detaching(deployed.ctx, volume_id)
    deployed.engine.attachments.delete(deployed.ctx, rows[0].id)
    assert deployed.status(volume_id) == 'available'
    with pytest.raises(errors.InvalidVolume):
        deployed.engine.actions.begin_detaching(deployed.ctx, volume_id)


def test_reserve_and_unreserve_without_an_attachment(deployed):
    volume_id = deployed.make_volume()
    deployed.engine.actions.reserve(deployed.ctx, volume_id)
    assert deployed.status(volume_id) == 'attaching'
    with pytest.raises(errors.InvalidVolume):
        deployed.engine.attachments.create(deployed.ctx, volume_id, None, None, None)
    with pytest.raises(errors.InvalidVolume):
        deployed.engine.actions.reserve(deployed.ctx, volume_id)
    with pytest.raises(errors.InvalidVolume):
        deployed.engine.volumes.delete(deployed.ctx, volume_id)
    deployed.engine.actions.unreserve(deployed.ctx, volume_id)
    deployed.engine.actions.unreserve(deployed.ctx, volume_id)
    assert deployed.status(volume_id) == 'available'


def test_extra_specs_change_only_while_no_volume_has_the_type(deployed):
    type_id = deployed.make_type()
    deployed.make_volume('multi')
    with pytest.raises(errors.InvalidInput, match='in use'):
        deployed.engine.types.set_specs(deployed.ctx, type_id, {'multiattach': '<is> False'})
    with pytest.raises(errors.InvalidInput, match='in use'):
        deployed.engine.types.delete_spec(deployed.ctx, type_id, 'multiattach')
    with pytest.raises(errors.InvalidInput, match='in use'):
        deployed.engine.types.delete(deployed.ctx, type_id)


def test_the_zone_is_named_at_once(deployed):
    assert deployed.engine.volumes.create(deployed.ctx, VolumeWish(1)).availability_zone == 'nova'


def test_zones_of_a_type_go_before_the_default_zone(deployed):
    """As Cinder has it: a default that the type does not allow would only ever end in an error."""
    deployed.engine.types.create(deployed.ctx, 'near', None, True, {'RESKEY:availability_zones': 'mars, nova'})
    deployed.conf.set_override('default_availability_zone', 'venus')
    engine = parts.build_engine(deployed.conf, deployed.db, deployed.rpc)
    near = engine.volumes.create(deployed.ctx, VolumeWish(1, 'near'))
    assert near.availability_zone == 'nova'
    deployed.wait(lambda: deployed.status(near.id) == 'available')
    elsewhere = engine.volumes.create(deployed.ctx, VolumeWish(1))
    assert elsewhere.availability_zone == 'venus'
    assert deployed.status(elsewhere.id) == 'error'
    assert 'availability zone venus' in messages(deployed)[0]


def test_a_zone_that_the_type_does_not_allow_is_refused(deployed):
    deployed.engine.types.create(deployed.ctx, 'far', None, True, {'RESKEY:availability_zones': 'mars,'})
    with pytest.raises(errors.InvalidInput, match=r"'nova' is invalid: .* in mars only"):
        deployed.engine.volumes.create(deployed.ctx, VolumeWish(1, 'far', zone='nova'))
    with deployed.db.reader() as session:
        assert session.scalars(sa.select(models.Volume.id)).all() == []
