# SPDX-License-Identifier: Apache-2.0
import collections

from multiattach.domain.connection import GatewayAddress, TargetAddress, relocate
from multiattach.domain.gateways import order_portals, tell_exclusion

PORTALS = [f'192.0.2.{number}:3260' for number in range(1, 5)]
ONE = TargetAddress('iqn.x:volume-1', PORTALS[0], 1)


def test_volumes_and_hosts_are_spread_over_portals() -> None:
    first = collections.Counter(order_portals(f'volume-{number}', PORTALS)[0] for number in range(1000))
    assert sorted(first) == PORTALS
    assert min(first.values()) > 150


def test_the_order_of_the_others_stays_when_one_goes() -> None:
    before = order_portals('volume', PORTALS)
    for gone in PORTALS:
        left = [one for one in PORTALS if one != gone]
        assert order_portals('volume', reversed(left)) == [one for one in before if one != gone]


def test_the_portal_in_use_is_the_first_one() -> None:
    for used in PORTALS:
        assert order_portals('volume', PORTALS, used)[0] == used
    assert order_portals('volume', PORTALS, '192.0.2.9:3260') == order_portals('volume', PORTALS)


def test_a_host_is_told_of_all_and_keeps_its_portal() -> None:
    told = {'attachment_id': 'a', 'auth_password': 'x', **GatewayAddress.make(ONE, PORTALS[:2]).tell()}
    assert relocate(told, GatewayAddress.make(ONE, PORTALS[:2])) is None
    more = relocate(told, GatewayAddress.make(ONE, PORTALS[:3]))
    assert more is not None
    assert more['target_portal'] == more['target_portals'][0] == PORTALS[0]
    assert sorted(more['target_portals']) == PORTALS[:3]
    assert more['target_iqns'] == ['iqn.x:volume-1'] * 3
    assert more['target_luns'] == [1] * 3
    assert more['auth_password'] == 'x'
    # The one that it used is gone.
    left = relocate(more, GatewayAddress.make(ONE, PORTALS[1:2]))
    assert left is not None
    assert (left['target_portal'], left['target_portals']) == (PORTALS[1], PORTALS[1:2])


def test_a_proof_names_some_of_many_instances() -> None:
    entries = {f'192.0.2.1:0/{number}': '2026-12-01T00:00:00.000000' for number in range(1, 1000)}
    told = tell_exclusion('192.0.2.1:3260', entries)
    assert told['instances'] == 999
    assert len(told['blocklisted']) == 16
