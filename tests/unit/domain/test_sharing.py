# SPDX-License-Identifier: Apache-2.0
import pytest

from multiattach.domain import errors
from multiattach.domain.sharing import (
    Sharer,
    VolumeFacts,
    check_connect,
    check_reserve,
    decide_mode,
    is_last_of_initiator,
    is_last_on_host,
    is_last_on_target,
)

REFUSING = ['creating', 'deleting', 'extending', 'maintenance', 'error', 'error_deleting', 'error_extending']


@pytest.mark.parametrize('status', REFUSING)
@pytest.mark.parametrize('multiattach', [True, False])
def test_no_reservation_in_a_status_of_the_volumes_own_life(status, multiattach):
    with pytest.raises(errors.InvalidVolume) as caught:
        check_reserve(VolumeFacts(status, multiattach), 0, 0)
    assert caught.value.code == 400


@pytest.mark.parametrize(
    ('status', 'multiattach', 'same', 'others', 'allowed'),
    [
        ('available', False, 0, 0, True),
        ('reserved', False, 0, 1, False),
        ('attaching', False, 0, 1, False),
        ('in-use', False, 0, 1, False),
        ('detaching', False, 0, 1, False),
        # a legacy claim without an attachment
        ('attaching', False, 0, 0, False),
        # the same server: source and destination of a migration, never a third
        ('in-use', False, 1, 0, True),
        ('reserved', False, 1, 0, True),
        ('in-use', False, 2, 0, False),
        ('in-use', True, 2, 0, False),
        ('in-use', True, 1, 5, True),
        # sharers in any phase let others in
        ('reserved', True, 0, 31, True),
        ('attaching', True, 0, 31, True),
        ('in-use', True, 0, 31, True),
        ('detaching', True, 0, 1, True),
    ],
)
def test_reservation(status, multiattach, same, others, allowed):
    facts = VolumeFacts(status, multiattach)
    if allowed:
        check_reserve(facts, same, others)
    else:
        with pytest.raises(errors.InvalidVolume):
            check_reserve(facts, same, others)


ME = Sharer('me', 'reserved', 'server')


@pytest.mark.parametrize(
    ('multiattach', 'me', 'others', 'allowed'),
    [
        (False, ME, [], True),
        (False, ME, [ME], True),
        # destination of a migration beside its connected source
        (False, ME, [Sharer('b', 'attached', 'server', 'other', 'iqn.b')], True),
        (False, ME, [Sharer('b', 'attached', 'server', 'here', 'iqn.x')], False),
        (True, ME, [Sharer('b', 'exported', 'server', 'here', 'iqn.x')], False),
        (True, ME, [Sharer('b', 'reserved', 'server', None, None)], True),
        (True, ME, [Sharer('b', 'attached', 'another', 'here', 'iqn.x')], True),
        (False, ME, [Sharer('b', 'attached', 'another', 'other', 'iqn.x')], False),
        (False, ME, [Sharer('b', 'attached', None, 'other', 'iqn.x')], False),
        # repeated with the same connector, or moved without a disconnect
        (True, Sharer('me', 'attached', 's', 'here', 'iqn.x'), [], True),
        (True, Sharer('me', 'exporting', 's', 'here', 'iqn.x'), [], True),
        (True, Sharer('me', 'attached', 's', 'other', 'iqn.x'), [], False),
        (True, Sharer('me', 'exported', 's', 'here', 'iqn.y'), [], False),
    ],
)
def test_connect(multiattach, me, others, allowed):
    call = (VolumeFacts('in-use', multiattach), me, 'here', 'iqn.x', others)
    if allowed:
        check_connect(*call)
    else:
        with pytest.raises(errors.Conflict):
            check_connect(*call)


def test_connect_is_refused_with_409_while_the_volume_is_in_error():
    with pytest.raises(errors.Conflict):
        check_connect(VolumeFacts('error_extending', True), ME, 'here', 'iqn.x', [])


@pytest.mark.parametrize(
    ('state', 'last'),
    [
        ('reserved', True),
        ('error_attaching', True),
        ('exporting', False),
        ('exported', False),
        ('attached', False),
        ('unexporting', False),
        ('error_detaching', False),
    ],
)
def test_last_on_target_counts_only_who_has_a_connector(state, last):
    assert is_last_on_target('me', [ME, Sharer('b', state, 's', 'h', 'iqn.b')]) is last


def test_last_of_initiator_looks_at_the_initiator():
    others = [Sharer('b', 'attached', 's', 'h', 'iqn.b')]
    assert is_last_of_initiator('me', 'iqn.a', others)
    assert not is_last_of_initiator('me', 'iqn.b', others)


@pytest.mark.parametrize(
    ('state', 'host', 'last'),
    [
        ('attached', 'here', False),
        ('connecting', 'here', False),
        ('detaching', 'here', False),
        ('exported', 'here', True),
        ('unexporting', 'here', True),
        ('attached', 'there', True),
    ],
)
def test_last_on_host(state, host, last):
    assert is_last_on_host('me', 'here', [Sharer('b', state, 's', host, 'iqn')]) is last


@pytest.mark.parametrize(
    ('requested', 'connector', 'readonly', 'mode'),
    [
        (None, None, False, 'rw'),
        ('rw', None, False, 'rw'),
        ('ro', None, False, 'ro'),
        (None, 'ro', False, 'ro'),
        ('rw', 'ro', False, 'rw'),
        ('ro', 'rw', False, 'ro'),
        ('rw', 'rw', True, 'ro'),
        (None, None, True, 'ro'),
    ],
)
def test_one_source_of_truth(requested, connector, readonly, mode):
    assert decide_mode(requested, connector, readonly) == mode
