# SPDX-License-Identifier: Apache-2.0
"""What of a Cinder could move, and what could not: why, and what to do about it."""

import json

import pytest

from multiattach.db import services as db_services
from multiattach.domain import errors
from multiattach.domain.services import VOLUME_BINARY
from multiattach.takeover import report, settings
from tests.functional.takeover.cinder_rows import HOST, PORTAL, new_id
from tests.functional.takeover.conftest import OURS


def left(found, kind='volume'):
    """Return reason and remedy by id."""
    return {one.ident: (one.reason, one.remedy) for one in found.obstacles if one.kind == kind}


def test_a_cloud_that_can_move(mover, theirs):
    qos = theirs.add_qos('fast', consumer='front-end', total_iops_sec='500')
    kind = theirs.add_type('multi', {'multiattach': '<is> True'}, qos_specs_id=qos)
    volume = theirs.add_volume(kind)
    theirs.attach(volume, 'h1')
    theirs.add('quotas', project_id='p1', resource='volumes', hard_limit=7)
    found = mover.check()
    assert found.obstacles == []
    assert found.notes == []
    assert found.plan.count() == {
        'qos-specs': 1,
        'volume-type': 1,
        'default-type': 0,
        'quota': 1,
        'volume': 1,
        'attachment': 1,
        'snapshot': 0,
    }
    text = '\n'.join(report.tell(found, done=False))
    assert '1 new' in text
    assert 'secret0123456789' not in text + json.dumps(report.describe(found))


REFUSED = [
    ({'status': 'creating'}, 'It is creating.', 'Wait'),
    ({'status': 'uploading'}, 'It is uploading.', 'Wait'),
    ({'status': 'retyping'}, 'It is retyping.', 'Wait'),
    ({'status': 'backing-up'}, 'It is backing-up.', 'Wait'),
    ({'status': 'attaching'}, 'It is attaching.', 'Wait'),
    ({'status': 'awaiting-transfer'}, 'It is awaiting-transfer.', 'transfer'),
    ({'status': 'in-use'}, 'by its attachments it is available', '--state available'),
    ({'encryption_key_id': new_id()}, 'encrypted', 'Copy'),
    ({'group_id': new_id()}, 'in a group', 'group-update'),
    ({'replication_status': 'enabled'}, 'replicated', 'Retype'),
    ({'migration_status': 'migrating'}, 'being migrated', 'Wait'),
    ({'volume_type_id': new_id()}, 'is deleted', 'retype'),
    ({'host': None, 'status': 'error'}, 'no storage', 'Delete'),
    ({'host': 'other@x#x'}, 'No backend here', '--backend other@x#x='),
]


@pytest.mark.parametrize(('values', 'reason', 'remedy'), REFUSED, ids=[text for _, text, _ in REFUSED])
def test_a_volume_that_cannot_move(mover, theirs, values, reason, remedy):
    kind = theirs.add_type('multi')
    stays, moves = theirs.add_volume(values.pop('volume_type_id', kind), **values), theirs.add_volume(kind)
    found = mover.check()
    why = left(found)
    assert list(why) == [stays]
    assert reason in why[stays][0]
    assert remedy in why[stays][1]
    assert [item.ident for item in found.plan.items if item.kind == 'volume'] == [moves]


ATTACHMENTS = [
    ({'attach_status': 'attaching'}, 'is attaching', 'Wait'),
    ({'attach_status': 'detaching'}, 'is detaching', 'Wait'),
    ({'connector': None}, 'no connector', 'refresh'),
    ({'connection_info': None}, 'nothing that Cinder stored', 'refresh'),
    ({'connection_info': '{"driver_volume_type": "fibre_channel"}'}, 'fibre_channel', 'No driver'),
    (
        {'connection_info': '{"driver_volume_type": "iscsi", "target_lun": 1, "target_iqn": "iqn.x:volume-1"}'},
        'connected to target iqn.x:volume-1',
        'refresh',
    ),
    ({'connector': '{"host": "h", "initiator": "10.0.0.1"}'}, 'Invalid connector', 'refresh'),
]


@pytest.mark.parametrize(('values', 'reason', 'remedy'), ATTACHMENTS, ids=[text for _, text, _ in ATTACHMENTS])
def test_an_attachment_that_keeps_its_volume(mover, theirs, values, reason, remedy):
    volume = theirs.add_volume(theirs.add_type('multi'))
    theirs.attach(volume, 'h1')
    theirs.attach(volume, 'h2', **values)
    found = mover.check()
    assert reason in left(found)[volume][0]
    assert remedy in left(found)[volume][1]
    assert not [item for item in found.plan.items if item.kind in ('volume', 'attachment')]


@pytest.mark.parametrize(
    ('lun', 'kernel', 'reason', 'remedy'),
    [
        (0, 4711, None, None),
        (1, None, None, None),
        (0, None, 'as LUN 0, which lio serves, and the worker of new@lvm exports by tgt', 'target_driver = lio'),
        (1, 4711, 'as LUN 1, which tgt serves, and the worker of new@lvm exports by lio', 'target_driver = tgt'),
    ],
)
def test_sessions_go_on_only_with_the_target_that_they_are_at(mover, theirs, db, lun, kernel, reason, remedy):
    db_services.beat(db, VOLUME_BINARY, OURS, 'nova', {'protocol': 'iscsi', 'portal': PORTAL, 'kernel': kernel})
    kind = theirs.add_type('multi')
    volume, idle = theirs.add_volume(kind), theirs.add_volume(kind)
    theirs.set('volumes', volume, status='in-use')
    attachment = theirs.attach(volume, 'h1')
    theirs.set_info(attachment, theirs.read_info(attachment) | {'target_lun': lun})
    found = mover.check()
    if reason is None:
        assert left(found) == {}
        return
    assert list(left(found)) == [volume]
    assert f'attachment {attachment} is connected {reason}' in left(found)[volume][0]
    assert remedy in left(found)[volume][1]
    assert [item.ident for item in found.plan.items if item.kind == 'volume'] == [idle]


def test_what_there_is_no_such_thing_of_here(mover, theirs):
    kind = theirs.add_type('multi')
    volume = theirs.add_volume(kind)
    snapshot, backup, group = new_id(), new_id(), new_id()
    theirs.add('snapshots', id=snapshot, volume_id=volume, project_id='p1', status='creating', volume_type_id=kind)
    theirs.add('backups', id=backup, volume_id=volume, project_id='p1', status='available')
    theirs.add('groups', id=group, project_id='p1', name='g')
    found = mover.check()
    assert {one.kind: one.ident for one in found.obstacles} == {
        'volume': volume,
        'snapshot': snapshot,
        'backup': backup,
        'group': group,
    }
    assert all(one.remedy for one in found.obstacles)


def test_what_is_deleted_or_has_an_old_id_is_left_out(mover, theirs):
    kind = theirs.add_type('multi')
    theirs.add_volume(kind, 'vol-00000001')
    theirs.delete('volumes', theirs.add_volume(kind, status='deleting'))
    volume = theirs.add_volume(kind)
    theirs.attach(volume, 'h1', attach_status='detached')
    theirs.set('volumes', volume, status='available')
    found = mover.check()
    assert found.obstacles == []
    assert found.plan.count()['volume'] == 1
    assert found.plan.count()['attachment'] == 0
    assert found.plan.skipped == {'volumes with an id of before 2013': 1}


CONF = """[DEFAULT]
enabled_backends = lvm
volume_name_template = {template}
[database]
connection = mysql+pymysql://cinder:{secret}@db/cinder
[lvm]
volume_driver = {driver}
"""
LVM, RBD = 'cinder.volume.drivers.lvm.LVMVolumeDriver', 'cinder.volume.drivers.rbd.RBDDriver'


@pytest.mark.parametrize(
    ('template', 'driver', 'reason'),
    [
        ('volume-%s', LVM, None),
        ('volume-%s', RBD, 'Hosts reach it by rbd, and volumes of new@lvm by iscsi'),
        ('volume-%s', 'cinder.volume.drivers.solidfire.SolidFireDriver', 'Its driver is'),
        ('vol-%s', LVM, 'volume_name_template'),
    ],
)
def test_what_cinder_conf_says(mover, theirs, tmp_path, template, driver, reason):
    path = tmp_path / 'cinder.conf'
    path.write_text(CONF.format(template=template, driver=driver, secret='hush'))
    volume = theirs.add_volume(theirs.add_type('multi'))
    conf = settings.read_conf(str(path))
    assert conf.url == 'mysql+pymysql://cinder:hush@db/cinder'
    assert 'hush' not in repr(conf)
    found = left(mover.check(conf=conf))
    assert reason is None or reason in found[volume][0]
    assert bool(found) == bool(reason)


def test_an_account_of_several_volumes(mover, theirs):
    kind = theirs.add_type('multi')
    one, two, other = (theirs.add_volume(kind) for _ in range(3))
    theirs.attach(one, 'h1')
    theirs.attach(two, 'h1')
    theirs.attach(other, 'h1', ('own', 'secret'))
    found = left(mover.check())
    assert found.keys() == {one, two}
    assert 'is that of 1 other volumes' in found[one][0]


def test_another_portal_is_told(mover, theirs):
    volume = theirs.add_volume(theirs.add_type('multi'))
    info = json.dumps(
        {
            'driver_volume_type': 'iscsi',
            'target_lun': 1,
            'target_iqn': f'iqn.2010-10.org.openstack:volume-{volume}',
            'target_portal': '192.0.2.1:3260',
            'auth_username': 'u',
            'auth_password': 'p',
        }
    )
    theirs.attach(volume, 'h1', connection_info=info)
    (note,) = mover.check().notes
    assert '192.0.2.1:3260' in note
    assert 'target_ip_address' in note


@pytest.mark.parametrize('text', ['old@lvm', 'old@lvm=', 'old=new@lvm', 'old@lvm#LVM=new@lvm#p'])
def test_a_malformed_mapping(mover, text):
    with pytest.raises(errors.InvalidInput, match='HOST@BACKEND#POOL=HOST@BACKEND'):
        mover.check(named=[text])


def test_a_backend_of_the_same_name_needs_no_mapping(mover, theirs):
    theirs.add_volume(theirs.add_type('multi'), host='new@lvm#LVM')
    assert mover.check(named=[]).obstacles == []
    with pytest.raises(errors.InvalidInput, match='twice'):
        mover.check(named=[f'{HOST}=a@b', f'{HOST}=a@c'])
