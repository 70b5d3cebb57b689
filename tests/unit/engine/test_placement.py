# SPDX-License-Identifier: Apache-2.0
import dataclasses

import pytest

from multiattach.engine.placement import Candidate, Requirements, choose

GOOD = Candidate(
    'h@a',
    'nova',
    'id',
    is_up=True,
    is_enabled=True,
    total_gb=100,
    free_gb=50,
    allocated_gb=10,
    max_over_subscription=1.0,
    capabilities={'multiattach': True},
)
SHARED = {'multiattach': '<is> True'}


def test_the_backend_with_the_most_room_is_chosen():
    fuller = dataclasses.replace(GOOD, host='h@b', allocated_gb=50)
    assert choose(Requirements(1, None, SHARED), [fuller, GOOD]).backend is GOOD


@pytest.mark.parametrize(
    ('change', 'wish', 'reason'),
    [
        ({'is_up': False}, Requirements(1, None, {}), 'up and enabled'),
        ({'is_enabled': False}, Requirements(1, None, {}), 'up and enabled'),
        ({}, Requirements(1, 'mars', {}), 'availability zone mars'),
        ({'capabilities': {'multiattach': False}}, Requirements(1, None, SHARED), 'multiattach=<is> True'),
        ({'capabilities': {}}, Requirements(1, None, SHARED), 'multiattach=<is> True'),
        (
            {},
            Requirements(1, None, SHARED | {'multiattach:reservations': '<is> True'}),
            'multiattach:reservations=<is> True',
        ),
        ({'is_answering': False, 'total_gb': 0}, Requirements(1, None, {}), 'storage that answers'),
        ({'allocated_gb': 99.5}, Requirements(1, None, {}), 'room for 1 GiB'),
    ],
)
def test_the_reason_names_what_nobody_met(change, wish, reason):
    choice = choose(wish, [dataclasses.replace(GOOD, **change)])
    assert choice.backend is None
    assert reason in choice.reason


def test_no_backend_at_all_has_a_reason():
    assert 'up and enabled' in choose(Requirements(1, None, {}), []).reason


def test_capacity_may_be_promised_more_than_once():
    thin = dataclasses.replace(GOOD, allocated_gb=150, max_over_subscription=2.0)
    assert choose(Requirements(50, None, {}), [thin]).backend is thin
    assert choose(Requirements(51, None, {}), [thin]).backend is None


def test_what_is_thick_has_the_room_that_is_free_and_not_promised():
    thick = dataclasses.replace(GOOD, max_over_subscription=20.0, is_thick=True)
    assert thick.room_gb == 50, 'snapshots and what is being wiped take the rest'
    assert dataclasses.replace(thick, allocated_gb=80).room_gb == 20, 'volumes that were placed since the heartbeat'


def test_extra_specs_that_users_may_not_see_are_not_in_the_reason():
    reason = choose(Requirements(1, None, {'secret_spec': 'x'}), [GOOD]).reason
    assert 'secret_spec' not in reason


def test_a_type_says_in_which_zones_its_volumes_may_be():
    specs = {'RESKEY:availability_zones': 'a, b'}
    there = dataclasses.replace(GOOD, zone='b', allocated_gb=60)
    assert choose(Requirements(1, None, specs), [GOOD, there]).backend is there
    assert 'RESKEY:availability_zones=a, b' in choose(Requirements(1, None, specs), [GOOD]).reason
