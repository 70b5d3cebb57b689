# SPDX-License-Identifier: Apache-2.0
"""Whose registration is meant by a word."""

import types
from typing import Any

import pytest
from osc_lib import exceptions

from multiattach.osc.v1.reservations import ShowReservations

ROWS = [
    {'server_id': 'S1', 'server_name': 'web', 'attachment_id': 'A1', 'initiator': 'iqn.1'},
    {'server_id': 'S2', 'server_name': 'twin', 'attachment_id': 'A2', 'initiator': 'iqn.2'},
    {'server_id': 'S3', 'server_name': 'twin', 'attachment_id': 'A3', 'initiator': 'iqn.3'},
    {'server_id': 'S4', 'server_name': None, 'attachment_id': 'A4', 'initiator': 'iqn.4'},
    {'server_id': None, 'server_name': None, 'attachment_id': None, 'initiator': 'iqn.5'},
]


def find(name: str) -> dict[str, str]:
    def find_server(_name: str, **_more: Any) -> Any:
        return types.SimpleNamespace(id={'novas': 'S4', 'twin': 'S9'}.get(_name, 'S8'))

    service = types.SimpleNamespace(get_reservations=lambda _volume: types.SimpleNamespace(registrations=ROWS))
    compute = types.SimpleNamespace(find_server=find_server)
    manager = types.SimpleNamespace(multiattach=service, sdk_connection=types.SimpleNamespace(compute=compute))
    return ShowReservations(types.SimpleNamespace(client_manager=manager, stderr=None), None)._find('V', name)


@pytest.mark.parametrize(
    ('name', 'whose'),
    [
        ('web', {'server_id': 'S1'}),
        ('S3', {'server_id': 'S3'}),
        ('A2', {'attachment_id': 'A2'}),
        ('iqn.5', {'initiator': 'iqn.5'}),
        ('novas', {'server_id': 'S4'}),
    ],
)
def test_one_is_meant(name: str, whose: dict[str, str]) -> None:
    assert find(name) == whose


@pytest.mark.parametrize(('name', 'said'), [('twin', '2 registered servers'), ('other', 'No registered servers')])
def test_nobody_or_several_are_not_guessed(name: str, said: str) -> None:
    with pytest.raises(exceptions.CommandError, match=f'{said} are called {name}'):
        find(name)


def test_an_empty_text_does_not_mean_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that was not set would end the registrations of a whole cluster."""

    def clear_reservations(_volume: str, **_whose: str) -> None:
        pytest.fail('all registrations are ended')

    service = types.SimpleNamespace(clear_reservations=clear_reservations)
    manager = types.SimpleNamespace(multiattach=service)
    command = ShowReservations(types.SimpleNamespace(client_manager=manager, stderr=None), None)
    monkeypatch.setattr(command, 'find_volume', lambda _name: types.SimpleNamespace(id='V'))
    with pytest.raises(exceptions.CommandError, match='An empty text is no server'):
        command.take_action(command.get_parser('test').parse_args(['data', '--clear', '']))
