# SPDX-License-Identifier: Apache-2.0
"""Every link of every reply leads somewhere, however the API is mounted."""

import dataclasses
import json
import pathlib
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import webob
from oslo_config import cfg

from multiattach.api import deploy
from multiattach.api.block import app as block
from multiattach.api.compute import app as compute_app
from multiattach.api.faults import WsgiApp
from multiattach.db import messages
from tests import contexts
from tests.deployments import embedded
from tests.functional.compute import compute_host

PROJECT = compute_host.PROJECT
_PARSED = 'enable_proxy_headers_parsing'


@dataclasses.dataclass(frozen=True)
class Way:
    """A way to mount the API.

    :param base: what clients see of it.
    :param endpoint: option ``public_endpoint``.
    :param script: ``SCRIPT_NAME`` that the server in front sets.
    :param headers: what a proxy says of the client; it is believed if there is any.
    """

    base: str
    endpoint: str = ''
    script: str = ''
    headers: tuple[tuple[str, str], ...] = ()


WAYS = {
    'at the root': Way('http://localhost'),
    'public_endpoint': Way('https://cloud.example', 'https://cloud.example'),
    'public_endpoint with a path': Way('https://cloud.example/volume', 'https://cloud.example/volume/'),
    'public_endpoint with a version': Way('https://cloud.example/volume', 'https://cloud.example/volume/v3'),
    'SCRIPT_NAME': Way('http://localhost/volume', script='/volume'),
    'SCRIPT_NAME like a version': Way('http://localhost/block/v3', script='/block/v3'),
    'public_endpoint and SCRIPT_NAME': Way('https://cloud.example/a', 'https://cloud.example/a', '/b'),
    'X-Forwarded': Way(
        'https://cloud.example/volume',
        headers=(
            ('X-Forwarded-Proto', 'https'),
            ('X-Forwarded-Host', 'cloud.example'),
            ('X-Forwarded-Prefix', '/volume'),
        ),
    ),
    'Forwarded': Way(
        'https://cloud.example', headers=(('Forwarded', 'for=192.0.2.1;proto=https;host=cloud.example, for=192.0.2.2'),)
    ),
}


class Client:
    """Asks as a client beyond the mount does, and follows links.

    :param application: the API.
    :param way: how it is mounted.
    """

    def __init__(self, application: WsgiApp, way: Way) -> None:
        self._application = application
        self._way = way

    def ask(self, url: str) -> webob.Response:
        """Ask for a URL that must lead to the service."""
        base = self._way.base
        assert url == base or url.startswith(f'{base}/'), url
        request = webob.Request.blank(
            url.removeprefix(base),
            environ={'SCRIPT_NAME': self._way.script},
            headers={
                **dict(self._way.headers),
                'Accept': 'application/json',
                'X-OpenStack-Nova-API-Version': '2.1',
                'OpenStack-API-Version': 'volume 3.71',
            },
        )
        return request.get_response(self._application)

    def crawl(self, *paths: str) -> dict[str, Any]:
        """Follow every link from some paths on; return what was found by URL."""
        found: dict[str, Any] = {}
        waiting = [f'{self._way.base}{path}' for path in paths]
        while waiting:
            url = waiting.pop()
            if url in found:
                continue
            reply = self.ask(url)
            assert reply.status_int in (200, 300, 302), (url, reply.status, reply.text)
            found[url] = json.loads(reply.body) if reply.status_int != 302 else None
            waiting += [reply.location] if reply.status_int == 302 else list(_links(found[url]))
        return found


def _links(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for inner in value:
            yield from _links(inner)
    elif isinstance(value, dict):
        if 'href' in value and value.get('rel') != 'describedby':
            yield value['href']
        yield from _links(list(value.values()))


def _collections(controllers: Any, prefix: str, project: str) -> list[str]:
    """Every path without wildcard that can be read, a page of one thing each."""
    paths = {
        member.route.path
        for controller in controllers
        for member in vars(controller).values()
        if hasattr(member, 'route') and member.route.method == 'GET' and '{' not in member.route.path
    }
    return [f'{prefix}{project if path.strip("/") else ""}{path}{_query(path)}' for path in sorted(paths)]


def _query(path: str) -> str:
    if not path.strip('/'):
        return ''
    # What a backend's storage has is asked of one backend.
    return '?limit=1&host=testhost@file' if 'manage' in path else '?limit=1'


@pytest.fixture
def make_client(tmp_path: pathlib.Path) -> Iterator[Callable[[Way], Client]]:
    """The service with two of everything that has links."""
    with embedded.deploy(tmp_path) as parts, compute_host.run(parts) as host:
        host.register()
        ctx = contexts.make_context(PROJECT)
        parts.make_type()
        volumes = [parts.make_volume('multi', ctx=ctx) for _ in range(3)]
        for server in (compute_host.WEB, compute_host.DB):
            parts.engine.attachments.create(ctx, volumes[0], server, None, None)
        for name in ('one', 'two'):
            parts.engine.qos_specs.create(ctx, name, 'back-end', {})
            with parts.db.writer() as session:
                messages.add(session, PROJECT, volumes[0], 'VOLUME_VOLUME_001_001', name, request_id=None)

        def make(way: Way) -> Client:
            conf = cfg.ConfigOpts()
            lines = f'[oslo_middleware]\n{_PARSED} = {bool(way.headers)}\n'
            (tmp_path / 'proxy.conf').write_text(lines)
            conf([], project='multiattach', default_config_files=[str(tmp_path / 'proxy.conf')], default_config_dirs=[])
            settings = deploy.ApiSettings(public_endpoint=way.endpoint, noauth_hosts=('cloud.example',))
            return Client(deploy.make_application(parts.engine, settings, conf), way)

        yield make


@pytest.mark.parametrize('project', ['', f'/{PROJECT}'], ids=['short', 'with project id'])
@pytest.mark.parametrize('way', WAYS.values(), ids=WAYS)
def test_every_link_leads_somewhere(make_client: Callable[[Way], Client], way: Way, project: str) -> None:
    found = make_client(way).crawl(
        '',
        '/',
        '/v3',
        '/v3/',
        '/compute',
        '/compute/',
        '/compute/v2.1',
        '/compute/v2.1/',
        *_collections(block.CONTROLLERS, '/v3', project),
        *_collections(compute_app.CONTROLLERS, '/compute/v2.1', project),
    )
    seen: dict[str, set[str]] = {}
    for url in found:
        _, _, path, query, _ = urllib.parse.urlsplit(url.removeprefix(way.base))
        if 'marker=' in query:
            seen.setdefault(path.removeprefix('/v3').removeprefix('/compute/v2.1').removeprefix(project), set()).add(
                query
            )
    pages = {path: len(queries) for path, queries in seen.items()}
    assert (
        pages.items()
        >= {'/volumes': 3, '/volumes/detail': 3, '/messages': 2, '/servers': 3, '/servers/detail': 3}.items()
    ), pages
    assert f'{way.base}/compute/v2.1{project}/servers/{compute_host.WEB}' in found
    if project:  # the longer way around
        assert f'{way.base}/compute{project}/flavors/libvirt' in found


def test_a_client_that_says_it_came_by_a_proxy_is_not_believed(make_client: Callable[[Way], Client]) -> None:
    client = make_client(WAYS['at the root'])
    client._way = dataclasses.replace(client._way, headers=WAYS['X-Forwarded'].headers)
    [version] = client.ask('http://localhost/').json['versions']
    assert version['links'][1]['href'].startswith('http://localhost')
