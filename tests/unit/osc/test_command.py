# SPDX-License-Identifier: Apache-2.0
"""Errors of libraries and services as people read them; each command has help with examples."""

import argparse
import importlib.metadata
import io
import json
import time
import types

import pytest
import requests
from keystoneauth1 import exceptions as auth_exceptions
from openstack import exceptions as sdk_exceptions
from osc_lib import exceptions

from multiattach.client.waiting import StepFailed
from multiattach.osc import command

URL = 'http://192.0.2.1:8776/v3/multiattach/hosts'


def reply(status: int, body: object) -> requests.Response:
    made = requests.Response()
    made.status_code = status
    made.url = URL
    made._content = json.dumps(body).encode() if body is not None else b'<html>'
    return made


def explain(error: Exception) -> str:
    with pytest.raises(exceptions.CommandError) as caught, command.explaining():
        raise error
    return str(caught.value)


@pytest.mark.parametrize(
    ('status', 'body', 'text'),
    [
        (404, {'itemNotFound': {'code': 404, 'message': 'Host x could not be found.'}}, 'Host x could not be found.'),
        (403, {'forbidden': {'message': "Policy doesn't allow."}}, "Policy doesn't allow. Ask an admin"),
        (401, {'error': {'message': 'Who?'}}, 'Who? Check user, password and project'),
        (503, {'serviceUnavailable': {'message': 'Down.'}}, 'Down. Try again when it is back'),
        (504, {'gatewayTimeout': {'message': 'Late.'}}, 'Late. The step may go on'),
        (404, None, 'http://192.0.2.1:8776/v3 knows no "multiattach" calls'),
        (404, {'message': 'x', 'code': '404 Not Found'}, 'knows no "multiattach" calls'),
    ],
)
def test_what_a_service_says(status: int, body: object, text: str) -> None:
    assert text in explain(sdk_exceptions.HttpException('Error', response=reply(status, body)))


def test_what_the_client_does_not_find() -> None:
    assert explain(sdk_exceptions.NotFoundException('No Volume found for x')) == 'No Volume found for x'


@pytest.mark.parametrize(
    ('error', 'text'),
    [
        (auth_exceptions.ConnectFailure('refused'), 'Is the service running'),
        (auth_exceptions.DiscoveryFailure('nothing'), 'Is the service running'),
        (auth_exceptions.EndpointNotFound('none'), 'registered in the catalogue'),
        (sdk_exceptions.ServiceDisabledException('none'), 'registered in the catalogue'),
        (StepFailed('The attach failed: x'), 'The attach failed: x'),
    ],
)
def test_what_is_not_there(error: Exception, text: str) -> None:
    assert text in explain(error)


def test_other_errors_are_left_alone() -> None:
    with pytest.raises(ZeroDivisionError), command.explaining():
        raise ZeroDivisionError


COMMANDS = list(importlib.metadata.entry_points(group='openstack.multiattach.v1'))


def test_the_commands_are_registered() -> None:
    assert {entry.name for entry in COMMANDS} >= {
        'multiattach_attachment_explain',
        'multiattach_volume_explain',
        'multiattach_host_list',
        'multiattach_host_show',
        'multiattach_target_list',
        'multiattach_target_show',
        'multiattach_server_volume_attach',
        'multiattach_server_volume_detach',
        'multiattach_server_volume_list',
        'multiattach_attachment_fence',
        'multiattach_host_fence',
        'multiattach_host_unfence',
    }
    [plugin] = [
        entry
        for entry in importlib.metadata.entry_points(group='openstack.cli.extension')
        if entry.name == 'multiattach'
    ]
    assert plugin.load().API_NAME == 'multiattach'


@pytest.mark.parametrize('entry', COMMANDS, ids=lambda entry: entry.name)
def test_help_has_examples_of_the_command_itself(entry: importlib.metadata.EntryPoint) -> None:
    name = f'openstack {entry.name.replace("_", " ")}'
    parser = entry.load()(None, None).get_parser(name)
    assert isinstance(parser, argparse.ArgumentParser)
    text = parser.format_help()
    assert 'examples:\n' in text
    assert f'  {name}' in text.partition('examples:')[2]
    assert (parser.description or '').strip().endswith('.')


@pytest.mark.parametrize('slow', [False, True])
def test_a_command_that_waits_says_so(slow: bool) -> None:
    """A target or a worker that hangs is waited for, half a minute and longer."""

    class Slow(command.Command):
        patience = 0.05

        def take_action(self, parsed_args: argparse.Namespace) -> None:
            time.sleep(0.3 if slow else 0.0)

    stream = io.StringIO()
    app = types.SimpleNamespace(stderr=stream, stdout=io.StringIO())
    assert Slow(app, None).run(argparse.Namespace()) == 0
    assert ('Still waiting for the service' in stream.getvalue()) is slow
