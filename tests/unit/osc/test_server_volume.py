# SPDX-License-Identifier: Apache-2.0
"""What the commands on servers say where Nova, or nobody, has them."""

import argparse
import types
from typing import Any

import pytest
from openstack import exceptions as sdk_exceptions
from osc_lib import exceptions

from multiattach.osc.v1.server_volume import AttachVolume


class Missing:
    """A service that the catalogue does not have, as openstacksdk gives it."""

    def __getattr__(self, name: str) -> Any:
        raise sdk_exceptions.ServiceDisabledException('Service compute is disabled')


def make(compute: Any, service: Any = None) -> AttachVolume:
    volume = types.SimpleNamespace(id='V', attachments=[], is_multiattach=True)
    storage = types.SimpleNamespace(find_volume=lambda *_args, **_more: volume)
    manager = types.SimpleNamespace(
        multiattach=service, sdk_connection=types.SimpleNamespace(block_storage=storage, compute=compute)
    )
    return AttachVolume(types.SimpleNamespace(client_manager=manager, stderr=None), None)


def arguments(command: AttachVolume, *words: str) -> argparse.Namespace:
    return command.get_parser('openstack x').parse_args(['web', 'data', *words])


def test_without_a_compute_endpoint_it_says_where_one_is() -> None:
    command = make(Missing())
    with pytest.raises(exceptions.CommandError, match=r'compute_endpoint_override in clouds\.yaml'):
        command.take_action(arguments(command))


def test_nova_has_no_read_only_attach() -> None:
    def refuse(*_args: Any) -> None:
        error = sdk_exceptions.NotFoundException('Error')
        error.details = 'Instance S could not be found.'
        raise error

    compute = types.SimpleNamespace(find_server=lambda *_args, **_more: types.SimpleNamespace(id='S'))
    command = make(compute, types.SimpleNamespace(attach_server_volume=refuse))
    with pytest.raises(exceptions.CommandError, match='openstack volume set --read-only V'):
        command.take_action(arguments(command, '--mode', 'ro'))


def test_an_attachment_that_is_gone_at_once_is_told() -> None:
    compute = types.SimpleNamespace(
        find_server=lambda *_args, **_more: types.SimpleNamespace(id='S'),
        create_volume_attachment=lambda *_args, **_more: types.SimpleNamespace(attachment_id=None),
    )
    command = make(compute)
    command.storage.attachments = lambda **_query: iter(())
    with pytest.raises(exceptions.CommandError, match='openstack server event list S'):
        command.take_action(arguments(command))
