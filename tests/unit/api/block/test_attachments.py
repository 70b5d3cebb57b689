# SPDX-License-Identifier: Apache-2.0
import datetime

import pytest

from multiattach.api.block import attachments as views
from multiattach.db import models
from multiattach.domain import connection, states

INFO = {'driver_volume_type': 'iscsi', 'target_iqn': 'iqn', **dict.fromkeys(connection.SECRET_KEYS, 'secret')}


def make(**values):
    return models.Attachment(
        **{
            'id': 'a',
            'volume_id': 'v',
            'instance_uuid': None,
            'state': 'reserved',
            'connection_info': None,
            'attached_at': None,
            'detached_at': None,
            'attach_mode': None,
        }
        | values
    )


def test_a_reservation():
    assert views.detail(make(), sees_secrets=True) == {
        'id': 'a',
        'status': 'reserved',
        'instance': None,
        'volume_id': 'v',
        'attached_at': '',
        'detached_at': '',
        'attach_mode': 'null',
        'connection_info': {},
    }


def test_dates_and_mode():
    moment = datetime.datetime(2024, 1, 2, 3, 4, 5, 6)
    shown = views.detail(make(attached_at=moment, attach_mode='ro'), sees_secrets=True)
    assert (shown['attached_at'], shown['attach_mode']) == ('2024-01-02T03:04:05.000006', 'ro')


def test_secrets():
    assert views.detail(make(connection_info=INFO), sees_secrets=True)['connection_info'] == INFO
    hidden = views.detail(make(connection_info=INFO), sees_secrets=False)
    assert hidden['connection_info'] == {'driver_volume_type': 'iscsi', 'target_iqn': 'iqn'}
    assert 'secret' not in str(hidden)


@pytest.mark.parametrize('state', list(states.Attachment))
def test_the_status_is_the_public_one(state):
    assert views.summary(make(state=state))['status'] == states.public_status(state)
