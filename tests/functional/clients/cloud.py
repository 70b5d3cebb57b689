# SPDX-License-Identifier: Apache-2.0
"""The service with a compute host, served over HTTP, and what real clients say to it."""

import contextlib
import dataclasses
import io
import json
import logging
import os
import pathlib
import re
import threading
import wsgiref.simple_server
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from unittest import mock

import openstack
from cinderclient import shell as cinder_shell
from openstackclient import shell as openstack_shell
from openstackclient.common import clientmanager
from osc_lib.clientmanager import ClientCache
from oslo_config import cfg

from multiattach.api import auth, deploy, keystone as api_keystone
from multiattach.api.faults import WsgiApp
from multiattach.drivers.backends.base import Backend
from multiattach.periodic import Periodic
from tests.deployments import embedded
from tests.deployments.keeping import KeepingTarget
from tests.functional import plugin
from tests.functional.compute import compute_host
from tests.testbed.keystone import Keystone
from tests.testbed.polling import wait_until
from tests.testbed.servers import pick_port

_DISCOVERY = ('/', '/v3', '/compute', '/compute/', '/compute/v2.1', '/compute/v2.1/')
_PROJECT = re.compile(r'^/v3/[0-9a-f]{32}(?=/)')


@dataclasses.dataclass(frozen=True)
class Exchange:
    """A request as it came and the reply as it went.

    ``path`` is without ``/v3`` and without the project id, as both are the endpoint's.
    """

    method: str
    path: str
    query: str
    version: str
    body: Any
    status: int
    reply: Any

    @property
    def line(self) -> str:
        """The request line."""
        return f'{self.method} {self.path}{"?" if self.query else ""}{self.query}'


class Recorder:
    """Middleware that remembers what passes."""

    def __init__(self, application: WsgiApp, host: compute_host.ComputeHost, target: KeepingTarget) -> None:
        self._application = application
        self.host = host
        self.target = target
        self.exchanges: list[Exchange] = []

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        sent = environ['wsgi.input'].read(int(environ.get('CONTENT_LENGTH') or 0))
        environ['wsgi.input'] = io.BytesIO(sent)
        path, statuses = environ['PATH_INFO'], []

        def start(status: str, headers: Any, *rest: Any) -> Any:
            statuses.append(int(status.split()[0]))
            return start_response(status, headers, *rest)

        replied = b''.join(self._application(environ, start))
        self.exchanges.append(
            Exchange(
                environ['REQUEST_METHOD'],
                _strip(path),
                environ.get('QUERY_STRING', ''),
                environ.get('HTTP_OPENSTACK_API_VERSION', ''),
                _parse(sent),
                statuses[-1],
                _parse(replied),
            )
        )
        return [replied]


def _strip(path: str) -> str:
    return _PROJECT.sub('', path) if _PROJECT.match(path) else path.removeprefix('/v3') or path


def _parse(text: bytes) -> Any:
    return json.loads(text) if text else None


@dataclasses.dataclass(frozen=True)
class Session:
    """One command: what it printed and the exchanges that it made, without discovery."""

    printed: str
    exchanges: list[Exchange]

    @property
    def json(self) -> Any:
        """What it printed, parsed."""
        return json.loads(self.printed)

    @property
    def lines(self) -> list[str]:
        """The request lines."""
        return [exchange.line for exchange in self.exchanges]

    def find(self, line: str) -> Exchange:
        """Find the exchange of a request line."""
        return next(exchange for exchange in self.exchanges if exchange.line == line)


class Cloud:
    """The running service and its clients.

    :param url: where it is served.
    :param recorder: what passes.
    :param environment: of the commands.
    :param openstack_options: how ``openstack`` is told of the service.
    :param cinder_options: how ``cinder`` is.
    :param sdk: how openstacksdk is.
    """

    def __init__(
        self,
        url: str,
        recorder: Recorder,
        environment: Mapping[str, str],
        openstack_options: list[str],
        cinder_options: list[str],
        sdk: dict[str, Any],
    ) -> None:
        self.url = url
        self.recorder = recorder
        self._environment = environment
        self._openstack, self._cinder, self._sdk = openstack_options, cinder_options, sdk

    def openstack(self, *words: str, version: str = '') -> Session:
        """Run ``openstack``; commands that print values are to print JSON."""
        _forget_clients()
        options = ['--os-volume-api-version', version] if version else []
        return self._run(lambda: openstack_shell.main([*self._openstack, *options, *words]))

    def cinder(self, *words: str, version: str = '3.71') -> Session:
        """Run ``cinder``."""
        return self._run(
            lambda: cinder_shell.OpenStackCinderShell().main(
                [*self._cinder, '--os-volume-api-version', version, *words]
            )
        )

    def connect(self) -> Any:
        """Make a connection of openstacksdk."""
        with self._at_home():
            return openstack.connect(load_yaml_config=False, load_envvars=False, **self._sdk)

    def show(self, name: str) -> Any:
        """Show a volume, with names and values as ``openstack`` prints them."""
        return self.openstack('volume', 'show', name, '-f', 'json').json

    def wait(self, name: str, status: str) -> None:
        """Wait until a volume has a status."""
        wait_until(lambda: self.show(name)['status'] == status, 20, lambda: f'{status}: {self.show(name)}')

    @contextlib.contextmanager
    def failing(self, reason: str) -> Iterator[None]:
        """Let attaches fail on the compute host."""
        self.recorder.host.failure = reason
        try:
            yield
        finally:
            self.recorder.host.failure = None

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Let the compute host take its time."""
        self.recorder.host.may_go_on.clear()
        try:
            yield
        finally:
            self.recorder.host.may_go_on.set()

    def make_command(self) -> plugin.Openstack:
        """Make the command ``openstack`` as it runs in a process of its own."""
        return plugin.Openstack(self._openstack, self._environment)

    def wait_for_server(self, name: str, server: str) -> None:
        """Wait until a server has a volume."""

        def has() -> bool:
            return server in [row['server_id'] for row in self.show(name)['attachments']]

        wait_until(has, 20, lambda: f'an attachment of {server}: {self.show(name)}')

    @contextlib.contextmanager
    def _at_home(self) -> Iterator[None]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith('OS_')}
        with mock.patch.dict(os.environ, {**kept, **self._environment}, clear=True):
            yield

    def _run(self, main: Callable[[], int | None]) -> Session:
        self.recorder.exchanges.clear()
        out, err, root = io.StringIO(), io.StringIO(), logging.getLogger()
        handlers, level = list(root.handlers), root.level
        try:
            with self._at_home(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = main()
        finally:
            root.handlers[:] = handlers
            root.setLevel(level)
        assert not code, (code, err.getvalue(), [exchange.line for exchange in self.recorder.exchanges])
        return Session(
            out.getvalue(), [exchange for exchange in self.recorder.exchanges if exchange.path not in _DISCOVERY]
        )


def _forget_clients() -> None:
    """Forget the clients that the last command left in the class: a process runs one command elsewhere."""
    for kind in clientmanager.ClientManager.__mro__:
        for value in vars(kind).values():
            if isinstance(value, ClientCache):
                value._handle = None


class _Quiet(wsgiref.simple_server.WSGIRequestHandler):
    def log_message(self, *_args: Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def _serve(application: WsgiApp, port: int) -> Iterator[None]:
    server = wsgiref.simple_server.make_server('127.0.0.1', port, application, handler_class=_Quiet)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def _run(
    folder: pathlib.Path,
    port: int,
    project: str,
    make_strategy: Callable[[embedded.Deployment], auth.Middleware | None],
    settings: deploy.ApiSettings | None = None,
    others: Mapping[str, Backend] | None = None,
) -> Iterator[Recorder]:
    target = KeepingTarget()
    with embedded.deploy(folder, target, others=others) as parts, compute_host.run(parts) as host:
        host.engine.register_servers(
            {ident: {**known, 'project_id': project} for ident, known in compute_host.SERVERS.items()}
        )
        recorder = Recorder(
            deploy.make_application(parts.engine, settings or deploy.ApiSettings(), authenticate=make_strategy(parts)),
            host,
            target,
        )
        beat = Periodic('beat', 10, (host.beat,))
        with _serve(recorder, port):
            beat.start()
            try:
                yield recorder
            finally:
                beat.stop()


@contextlib.contextmanager
def run_without_keystone(
    folder: pathlib.Path, most: int = 1000, others: Mapping[str, Backend] | None = None
) -> Iterator[Cloud]:
    """With ``noauth``, as an admin of the default project.

    :param folder: for everything.
    :param most: rows of a page.
    :param others: backends besides the one of files.
    """
    port, project = pick_port(), compute_host.PROJECT
    base = f'http://127.0.0.1:{port}'
    environment = {'HOME': str(folder), 'OS_COMPUTE_ENDPOINT_OVERRIDE': f'{base}/compute/v2.1'}
    settings = deploy.ApiSettings(max_limit=most)
    with _run(folder, port, project, lambda _parts: None, settings, others) as recorder:
        yield Cloud(
            base,
            recorder,
            environment,
            ['--os-auth-type', 'none', '--os-endpoint', f'{base}/v3'],
            ['--os-auth-type', 'noauth', '--os-endpoint', f'{base}/v3', '--os-project-id', project],
            {'auth_type': 'none', 'endpoint': f'{base}/v3', 'block_storage_endpoint_override': f'{base}/v3'},
        )


@contextlib.contextmanager
def run_with_keystone(folder: pathlib.Path, most: int = 1000) -> Iterator[Cloud]:
    """With Keystone, as an admin of a project; both endpoints are in the catalogue.

    ``public_endpoint`` is set, as the installation guide has it.

    :param folder: for everything.
    :param most: rows of a page.
    """
    port = pick_port()
    base = f'http://127.0.0.1:{port}'
    with Keystone(folder / 'keystone') as keystone:
        keystone.register_volume(f'{base}/v3/%(project_id)s')
        keystone.register_compute(f'{base}/compute/v2.1')
        text = folder / 'authtoken.conf'
        text.touch(0o600)
        text.write_text(keystone.render_authtoken())

        def make_strategy(parts: embedded.Deployment) -> auth.Middleware:
            conf = cfg.ConfigOpts()
            conf([], project='multiattach', default_config_files=[str(text)], default_config_dirs=[])
            return api_keystone.make_strategy(conf, parts.engine.policy)

        known = keystone.list_credentials('admin')
        known.pop('auth_type')
        project = keystone.accounts['admin'].project_id
        options = [word for key, value in known.items() for word in (f'--os-{key.replace("_", "-")}', value)]
        settings = deploy.ApiSettings(public_endpoint=base, max_limit=most)
        with _run(folder, port, project, make_strategy, settings) as recorder:
            yield Cloud(base, recorder, {'HOME': str(folder)}, options, options, {'auth': known})
