# SPDX-License-Identifier: Apache-2.0
"""What all commands share: the clients, errors that say what to do next, examples in the help."""

import argparse
import contextlib
import functools
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

from keystoneauth1 import exceptions as auth_exceptions
from openstack import exceptions as sdk_exceptions
from osc_lib import exceptions
from osc_lib.command import command

from multiattach.client.proxy import Proxy
from multiattach.client.waiting import StepFailed
from multiattach.osc.terminal import Terminal

_NO_COMPUTE = (
    'There is no compute endpoint. Where no Nova is deployed, multiattach has one of its own at '
    '/compute/v2.1: register it in the catalogue as type "compute", or set compute_endpoint_override in '
    'clouds.yaml.'
)


Fields = tuple[tuple[str, ...], tuple[Any, ...]]
Rows = tuple[tuple[str, ...], Iterable[tuple[Any, ...]]]


Argument = tuple[tuple[str, ...], dict[str, Any]]


def argument(*names: str, **options: Any) -> Argument:
    """Declare an argument of a command, as argparse takes it."""
    return names, options


SERVER = argument('server', metavar='<server>', help='Name or UUID of the server')
VOLUME = argument('volume', metavar='<volume>', help='Name or UUID of the volume')
HOST = argument('host', metavar='<host>', help='Name of the compute host')
ATTACHMENT = argument(
    'attachment', metavar='<attachment>', help='UUID of the attachment ("openstack volume attachment list" shows them)'
)


class _Parser(argparse.RawDescriptionHelpFormatter):
    """Keeps the lines of examples; cliff's own formatter cannot be combined with that."""


class Service:
    """Mixin of the commands: their clients, their words on stderr, and their errors."""

    arguments: tuple[Argument, ...] = ()
    #: Lines below the help.
    examples = ''
    #: Seconds without an answer after which a command says that it waits.
    patience = 5.0
    app: Any

    @property
    def service(self) -> Proxy:
        found: Proxy = self.app.client_manager.multiattach
        return found

    @property
    def storage(self) -> Any:
        return self.app.client_manager.sdk_connection.block_storage

    @property
    def compute(self) -> Any:
        """Compute: Nova's, or this service's own endpoint."""
        return self.app.client_manager.sdk_connection.compute

    @functools.cached_property
    def terminal(self) -> Terminal:
        """Where people read what is no result."""
        return Terminal(self.app.stderr)

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Make the parser, with the examples at the end of its help."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)  # type: ignore[misc]
        for names, options in self.arguments:
            parser.add_argument(*names, **options)
        if self.examples:
            lines = textwrap.indent(textwrap.dedent(self.examples).strip(), '  ')
            parser.epilog = f'examples:\n{lines}'
            parser.formatter_class = _Parser
        return parser

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Run the command; what goes wrong ends in one message."""
        with explaining(), self.terminal.waiting('the service', self.patience):
            status: int = super().run(parsed_args)  # type: ignore[misc]
            return status

    def find_volume(self, name: str) -> Any:
        return self.storage.find_volume(name, ignore_missing=False)

    def find_server(self, name: str) -> Any:
        """Find a server."""
        try:
            return self.compute.find_server(name, ignore_missing=False)
        except (
            sdk_exceptions.ConfigException,
            sdk_exceptions.ServiceDisabledException,
            auth_exceptions.EndpointNotFound,
        ) as exc:
            raise exceptions.CommandError(_NO_COMPUTE) from exc


class Command(Service, command.Command):
    pass


class Lister(Service, command.Lister):
    pass


class ShowOne(Service, command.ShowOne):
    pass


@contextlib.contextmanager
def explaining() -> Iterator[None]:
    """Turn errors of the libraries into one message for people."""
    try:
        yield
    except StepFailed as exc:
        raise exceptions.CommandError(str(exc)) from exc
    except sdk_exceptions.HttpException as exc:
        raise exceptions.CommandError(describe(exc)) from exc
    except (
        auth_exceptions.EndpointNotFound,
        sdk_exceptions.EndpointNotFound,
        sdk_exceptions.ServiceDisabledException,
    ) as exc:
        raise exceptions.CommandError(
            f'{exc} Is multiattach registered in the catalogue as type "block-storage"? "openstack catalog '
            'list" shows what is.'
        ) from exc
    except (auth_exceptions.ConnectFailure, auth_exceptions.DiscoveryFailure) as exc:
        raise exceptions.CommandError(f'{exc} Is the service running, and is its URL right?') from exc


def describe(error: Any) -> str:
    """Write an HttpException of openstacksdk for people: what the service says, and what to do next."""
    said = _find_text(error)
    if error.status_code == 404 and said is None and error.response is not None:
        return (
            f'{error.response.url.partition("/multiattach/")[0]} knows no "multiattach" calls: it is '
            'another Block Storage service, or an older release of this one.'
        )
    text = (said or str(error.details or error)).strip()
    hint = {
        401: 'Check user, password and project: openstack token issue',
        403: 'Ask an admin, or use credentials with another role (--os-cloud, --os-username).',
        503: 'Try again when it is back: openstack volume service list, openstack multiattach host list',
        504: 'The step may go on: openstack multiattach volume explain VOLUME',
    }.get(error.status_code, '')
    return f'{text} {hint}'.strip()


def _find_text(error: Any) -> str | None:
    """Find the message in a reply of an OpenStack service; None if it is of another shape."""
    if error.response is None:  # the client found nothing by that name
        return str(error.message)
    try:
        body = error.response.json()
    except ValueError:
        return None
    for value in body.values() if isinstance(body, dict) else ():
        if isinstance(value, dict) and isinstance(value.get('message'), str):
            text: str = value['message']
            return text
    return None
