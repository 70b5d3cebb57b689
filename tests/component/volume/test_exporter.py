# SPDX-License-Identifier: Apache-2.0
"""The exporter with a target that refuses or does not answer; real database and RPC."""

import contextlib
import uuid

import pytest

from multiattach.domain import connection, errors
from multiattach.drivers.errors import TargetError, TargetUnavailable
from tests.deployments import embedded
from tests.deployments.noauth import make_connector
from tests.deployments.targets import AnyTarget

pytestmark = pytest.mark.every_target


class MoodyTarget(AnyTarget):
    """Does what it is told to, or fails as ``mood`` says."""

    def __init__(self):
        super().__init__()
        self.mood = None
        self.lives = 1

    def _act(self):
        if self.mood is not None:
            raise self.mood

    def grant(self, volume_id, device, grant):
        info = super().grant(volume_id, device, grant)  # it fails after the act
        self._act()
        return info

    def revoke(self, volume_id, initiator, username, *, alone=False):
        self._act()
        super().revoke(volume_id, initiator, username, alone=alone)

    def remove_export(self, volume_id):
        self._act()
        super().remove_export(volume_id)

    def extend(self, volume_id, device):
        self._act()

    def generation(self):
        return self.lives


@pytest.fixture
def d(tmp_path):
    with embedded.deploy(tmp_path, MoodyTarget(), report_interval=600) as parts:
        parts.make_type()
        yield parts
        parts.target.mood = None
        parts.target.clear()


def attach(d, volume_id, host):
    row = d.engine.attachments.create(d.ctx, volume_id, str(uuid.uuid4()), make_connector(host), None)
    d.engine.attachments.complete(d.ctx, row.id)
    return row


def test_a_refused_export_leaves_the_others_alone_and_takes_the_reservation_back(d):
    """Contract 11.4 numbers 2 and 7."""
    volume_id = d.make_volume('multi')
    attach(d, volume_id, 'a')
    before = d.target.list_exports()
    d.target.mood = TargetError('no room for another initiator')
    with pytest.raises(errors.BackendError, match='no room'):
        d.engine.attachments.create(d.ctx, volume_id, str(uuid.uuid4()), make_connector('b'), None)
    d.target.mood = None
    assert d.status(volume_id) == 'in-use'
    assert len(d.engine.volumes.show(d.ctx, volume_id).attachments) == 1
    assert before[volume_id].initiators[0] in d.target.list_exports()[volume_id].initiators


def test_a_refused_update_is_reserved_again_and_may_be_repeated(d):
    volume_id = d.make_volume()
    row = d.engine.attachments.create(d.ctx, volume_id, None, None, None)

    class Once(TargetError):
        pass

    d.target.mood = Once('busy')
    with pytest.raises(errors.BackendError):
        d.engine.attachments.connect(d.ctx, row.id, make_connector('a'))
    d.target.mood = None
    assert d.engine.attachments.show(d.ctx, row.id).state == 'reserved'
    assert 'busy' in d.engine.attachments.show(d.ctx, row.id).error
    assert d.status(volume_id) == 'reserved'
    assert d.engine.attachments.connect(d.ctx, row.id, make_connector('b')).state == 'exported'


def test_no_answer_is_unknown_and_is_carried_on(d):
    volume_id = d.make_volume()
    row = d.engine.attachments.create(d.ctx, volume_id, None, None, None)
    d.target.mood = TargetUnavailable('no answer')
    with pytest.raises(errors.OutcomeUnknown):
        d.engine.attachments.connect(d.ctx, row.id, make_connector('a'))
    assert d.engine.attachments.show(d.ctx, row.id).state == 'exporting'
    assert d.status(volume_id) == 'attaching'
    d.target.mood = None
    d.worker.tend()
    after = d.engine.attachments.show(d.ctx, row.id)
    assert after.state == 'exported'
    assert after.connection_info['attachment_id'] == row.id
    # and the client that repeats gets the same answer
    again = d.engine.attachments.connect(d.ctx, row.id, make_connector('a'))
    assert again.connection_info == after.connection_info


def test_an_export_that_the_own_round_of_the_worker_saw_fail_first(d):
    """The call that comes second tells why, and not that somebody else changed the attachment."""
    volume_id = d.make_volume()
    row = d.engine.attachments.create(d.ctx, volume_id, None, None, None)
    d.target.mood = TargetUnavailable('no answer')
    with pytest.raises(errors.OutcomeUnknown):
        d.engine.attachments.connect(d.ctx, row.id, make_connector('a'))
    d.target.mood = TargetError('busy')
    d.exporter.resume()
    with pytest.raises(errors.BackendError, match='busy'):
        d.exporter.export(volume_id, row.id)


def test_an_attachment_completed_without_connector_gets_one_later(d):
    """Nova does so when a shelved server comes back."""
    volume_id = d.make_volume()
    row = d.engine.attachments.create(d.ctx, volume_id, str(uuid.uuid4()), None, None)
    d.engine.attachments.complete(d.ctx, row.id)
    d.exporter.restore()
    assert d.target.list_exports() == {}
    d.target.mood = TargetError('busy')
    with pytest.raises(errors.BackendError):
        d.engine.attachments.connect(d.ctx, row.id, make_connector('a'))
    d.target.mood = None
    assert d.engine.attachments.connect(d.ctx, row.id, make_connector('a')).state == 'exported'
    d.engine.attachments.complete(d.ctx, row.id)
    assert d.target.list_exports()[volume_id].initiators == (make_connector('a')['initiator'],)
    assert d.status(volume_id) == 'in-use'
    d.engine.attachments.delete(d.ctx, row.id)
    assert d.target.list_exports() == {}


def test_an_unexport_without_answer_is_carried_on(d):
    volume_id = d.make_volume()
    row = attach(d, volume_id, 'a')
    d.target.mood = TargetUnavailable('no answer')
    with pytest.raises(errors.OutcomeUnknown):
        d.engine.attachments.delete(d.ctx, row.id)
    assert d.status(volume_id) == 'detaching'
    d.target.mood = None
    d.worker.tend()
    assert d.status(volume_id) == 'available'
    assert d.target.list_exports() == {}


def test_a_refused_unexport_may_be_repeated(d):
    volume_id = d.make_volume()
    row = attach(d, volume_id, 'a')
    d.target.mood = TargetError('sessions cannot be closed')
    with pytest.raises(errors.BackendError):
        d.engine.attachments.delete(d.ctx, row.id)
    assert d.engine.attachments.show(d.ctx, row.id).state == 'error_detaching'
    d.target.mood = None
    assert d.engine.attachments.delete(d.ctx, row.id) == []
    assert d.status(volume_id) == 'available'


def test_a_restarted_target_gets_every_export_back(d):
    """Contract 11.4 number 19: whatever the status of the volume."""
    volumes = [d.make_volume('multi') for _ in range(3)]
    rows = [attach(d, v, h) for v in volumes for h in ('a', 'b')]
    half = d.engine.attachments.create(d.ctx, volumes[0], str(uuid.uuid4()), make_connector('c'), None)
    before = d.target.list_exports()
    d.target.lose()
    d.target.lives += 1
    d.worker.tend()
    assert d.target.list_exports() == before
    assert len(before[volumes[0]].initiators) == 3
    for row in [*rows, half]:
        d.engine.attachments.delete(d.ctx, row.id)
    assert d.target.list_exports() == {}


def test_servers_of_one_host_share_credentials_and_the_last_one_takes_them_away(d):
    volume_id = d.make_volume('multi')
    first, second = attach(d, volume_id, 'a'), attach(d, volume_id, 'a')
    other = attach(d, volume_id, 'b')
    info = {row.id: d.engine.attachments.show(d.ctx, row.id).connection_info for row in (first, second, other)}
    assert info[first.id]['auth_password'] == info[second.id]['auth_password']
    assert info[first.id]['auth_password'] != info[other.id]['auth_password']
    d.engine.attachments.delete(d.ctx, first.id)
    assert len(d.target.list_exports()[volume_id].initiators) == 2
    d.engine.attachments.delete(d.ctx, second.id)
    assert d.target.list_exports()[volume_id].initiators == (other.initiator,)
    # and a later attach gets a new secret (contract 11.4 number 15)
    again = attach(d, volume_id, 'a')
    assert again.connection_info['auth_password'] != info[first.id]['auth_password']


def test_no_secret_in_the_log(d, caplog):
    caplog.set_level('DEBUG')
    volume_id = d.make_volume()
    row = attach(d, volume_id, 'a')
    secret = row.connection_info['auth_password']
    d.engine.attachments.delete(d.ctx, row.id)
    assert secret not in caplog.text


def sleep_before(d, method, meanwhile):
    """Have a process sleep for longer than its lock lasts when it is about to act; another one goes on."""
    real = getattr(d.target, method)

    def act(*args, **named):
        setattr(d.target, method, real)
        meanwhile()
        return real(*args, **named)

    setattr(d.target, method, act)


@pytest.fixture
def free(d, monkeypatch):
    """Locks that have run out."""
    monkeypatch.setattr(d.exporter._locks, 'hold', lambda _ident, _step: contextlib.nullcontext())


def begin_connect(d, volume_id):
    row = d.engine.attachments.create(d.ctx, volume_id, str(uuid.uuid4()), None, None)
    d.engine.attachments._begin_connect(d.ctx, row.id, connection.parse_connector(make_connector('a')))
    return row


def test_a_sleeper_does_not_change_the_secret_of_what_another_one_exported(d, free):
    """What a target knows is what the row says, whoever wrote it."""
    volume_id = d.make_volume()
    row = begin_connect(d, volume_id)
    seen = []
    real = d.target.ensure_export
    d.target.ensure_export = lambda export: seen.append(export) or real(export)
    sleep_before(d, 'grant', lambda: d.exporter.export(volume_id, row.id))
    with pytest.raises(errors.InvalidTransition):
        d.exporter.export(volume_id, row.id)
    info = d.engine.attachments.show(d.ctx, row.id).connection_info
    assert [grant.secret for grant in seen[-1].grants] == [info['auth_password']]


def test_a_sleeper_leaves_no_export_of_what_is_gone(d, free):
    volume_id = d.make_volume()
    row = begin_connect(d, volume_id)
    sleep_before(d, 'grant', lambda: d.engine.attachments.delete(d.ctx, row.id))
    with pytest.raises(errors.InvalidTransition):
        d.exporter.export(volume_id, row.id)
    assert d.target.list_exports() == {}
    assert d.status(volume_id) == 'available'


def test_a_sleeper_does_not_turn_away_who_came_meanwhile(d, free):
    volume_id = d.make_volume()
    row = attach(d, volume_id, 'a')
    d.engine.attachments._begin_delete(d.ctx, row.id, asked=True)

    def meanwhile():
        d.exporter.unexport(volume_id, row.id)
        attach(d, volume_id, 'a')

    sleep_before(d, 'revoke', meanwhile)
    with pytest.raises(errors.InvalidTransition):
        d.exporter.unexport(volume_id, row.id)
    assert d.target.list_exports()[volume_id].initiators == (make_connector('a')['initiator'],)
