# SPDX-License-Identifier: Apache-2.0
"""The rows of gateways: who may be one, who is lost, and what is known of a volume at each."""

import pytest

from multiattach.cmd import services
from multiattach.db import gateways as db_gateways, services as db_services
from multiattach.domain import errors
from multiattach.domain.blocklist import Cause, Reason
from multiattach.domain.services import VOLUME_BINARY
from multiattach.steps.blocklist import BlocklistRows
from multiattach.steps.gateways import GatewayRows
from tests.deployments.embedded import Deployment

BACKEND = 'storage@fast'
ENTRIES = {'192.0.2.1:0/7': '2026-12-01T00:00:00.000000'}


@pytest.fixture
def volume(deployed: Deployment) -> str:
    return deployed.make_volume()


@pytest.fixture
def rows(deployed: Deployment, volume: str) -> list[GatewayRows]:
    """The sides of two members of another backend than the volume's."""
    made = []
    for number, name in enumerate(('left@fast', 'right@fast'), 1):
        db_services.beat(deployed.db, VOLUME_BINARY, name, 'nova', {'cluster': BACKEND})
        one = GatewayRows(deployed.db, BACKEND, name)
        one.register(f'192.0.2.{number}:3260', f'user-{number}')
        made.append(one)
    return made


def test_each_has_a_portal_and_a_user_of_its_own(deployed: Deployment, rows: list[GatewayRows]) -> None:
    third = GatewayRows(deployed.db, BACKEND, 'third@fast')
    with pytest.raises(errors.ConfigurationError, match=r'Option portal in \[tgt\]: gateway left@fast has'):
        third.register('192.0.2.1:3260', 'user-3')
    with pytest.raises(errors.ConfigurationError, match=r'Option rbd_user: gateway right@fast is client\.user-2'):
        third.register('192.0.2.3:3260', 'user-2')
    GatewayRows(deployed.db, 'other@fast', 'else@fast').register('192.0.2.1:3260', 'user-1')
    rows[0].register('192.0.2.9:3260', 'user-9')  # its own may change
    assert rows[1].list_gateways()['left@fast'].portal == '192.0.2.9:3260'
    assert sorted(rows[1].list_gateways()) == ['left@fast', 'right@fast']


def test_one_that_is_lost_exports_nothing_until_it_is_back(rows: list[GatewayRows], volume: str) -> None:
    left, right = rows
    assert left.begin_export(volume, {'left@fast', 'right@fast'}, 'iqn.x:a', {}) == ['left@fast', 'right@fast']
    left.put_exports(volume, {'left@fast': ('exported', None), 'right@fast': ('unknown', 'silence')})
    assert left.list_portals([volume]) == {volume: ['192.0.2.1:3260']}
    left.begin_loss('right@fast')
    assert not right.is_serving
    assert not right.begin_own_export(volume)
    assert left.finish_loss('right@fast', ENTRIES) == [volume]
    # What it says afterwards of what it was asked before changes nothing.
    left.put_exports(volume, {'right@fast': ('exported', None)})
    assert left.list_exports(volume) == {'left@fast': 'exported', 'right@fast': 'lost'}
    assert left.begin_export(volume, {'left@fast', 'right@fast'}, 'iqn.x:a', {}) == ['left@fast']
    assert left.list_gateways()['right@fast'].entries == ENTRIES
    right.come_back()
    assert right.is_serving
    assert right.list_exports(volume) == {'left@fast': 'exported'}
    assert left.finish_loss('right@fast', ENTRIES) is None  # it is back: whoever was late does nothing
    assert left.list_volumes() == [volume]
    assert right.list_volumes() == []


def test_what_is_to_be_shut_out_of_one_is_known_to_the_others(deployed: Deployment, rows: list[GatewayRows]) -> None:
    entries = BlocklistRows(deployed.db, BACKEND)
    entries.intend('f', {'192.0.2.1:0/7': Reason(Cause.GATEWAY, 'right@fast')})
    entries.intend('f', {'192.0.2.1:0/8': Reason(Cause.FENCE, 'right@fast')})
    assert rows[0].list_excluded('right@fast') == {'192.0.2.1:0/7'}
    assert rows[0].list_excluded('left@fast') == set()


def test_one_that_is_gone_for_good_is_forgotten_once_it_is_lost(deployed: Deployment, rows: list[GatewayRows]) -> None:
    def check() -> None:
        with deployed.db.reader() as session:
            services.check_unused(session, VOLUME_BINARY, 'right@fast')

    with pytest.raises(errors.Conflict, match='not known to be shut out of Ceph'):
        check()
    rows[0].begin_loss('right@fast')
    rows[0].finish_loss('right@fast', ENTRIES)
    check()
    with deployed.db.writer() as session:
        db_gateways.remove(session, 'right@fast')
    assert list(rows[0].list_gateways()) == ['left@fast']
