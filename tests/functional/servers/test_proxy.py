# SPDX-License-Identifier: Apache-2.0
"""nginx with the sample file in front of the API."""

import http.client
import json
import pathlib
import ssl
import subprocess
import uuid
from collections.abc import Iterator

import pytest

from tests.deployments.noauth import HEADERS
from tests.deployments.programs import TOP
from tests.deployments.web_servers import Backend, Server
from tests.testbed import processes
from tests.testbed.polling import wait_until
from tests.testbed.servers import pick_port

PUBLIC = 'https://volume.example.org'


class Proxy:
    """nginx with TLS.

    :param folder: for its files.
    :param upstream: port of the API.
    """

    def __init__(self, folder: pathlib.Path, upstream: int) -> None:
        self.folder = folder
        self.port = pick_port()
        text = (TOP / 'etc/nginx/multiattach.conf').read_text()
        for old, new in (
            ('127.0.0.1:8776', f'127.0.0.1:{upstream}'),
            ('listen 443 ssl', f'listen 127.0.0.1:{self.port} ssl'),
            ('/etc/multiattach/tls/', f'{folder}/'),
        ):
            assert old in text
            text = text.replace(old, new)
        (folder / 'site.conf').write_text(text)
        paths = ''.join(
            f'{kind}_temp_path {folder}/{kind};\n' for kind in ('client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi')
        )
        (folder / 'nginx.conf').write_text(
            f'daemon off;\nuser root;\npid {folder}/pid;\nerror_log {folder}/error.log;\n'
            'worker_processes 1;\nevents {}\n'
            f'http {{\naccess_log off;\n{paths}include {folder}/site.conf;\n}}\n'
        )
        subprocess.run(
            [
                'openssl',
                'req',
                '-x509',
                '-newkey',
                'rsa:2048',
                '-nodes',
                '-days',
                '2',
                '-subj',
                '/CN=volume.example.org',
                '-keyout',
                folder / 'key.pem',
                '-out',
                folder / 'certificate.pem',
            ],
            check=True,
            capture_output=True,
        )
        self._process = processes.spawn(
            ['nginx', '-p', folder, '-c', folder / 'nginx.conf', '-e', folder / 'error.log'], folder / 'log'
        )
        self._context = ssl.create_default_context(cafile=str(folder / 'certificate.pem'))
        self._context.check_hostname = False
        wait_until(self._is_up, 30, f'nginx: {processes.tail(folder / "log")}')

    def _is_up(self) -> bool:
        assert self._process.poll() is None, processes.tail(self.folder / 'error.log')
        try:
            return self.ask('GET', '/healthcheck')[0] == 200
        except OSError:
            return False

    def ask(self, method: str, path: str, body: bytes | None = None, *, chunked: bool = False) -> tuple[int, bytes]:
        connection = http.client.HTTPSConnection('127.0.0.1', self.port, timeout=60, context=self._context)
        try:
            connection.request(
                method,
                path,
                iter([body]) if chunked and body else body,
                HEADERS | {'Host': 'volume.example.org'},
                encode_chunked=chunked,
            )
            reply = connection.getresponse()
            return reply.status, reply.read()
        finally:
            connection.close()

    def stop(self) -> None:
        processes.stop_group(self._process)


@pytest.fixture(scope='module')
def proxy(backend: Backend, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    folder = tmp_path_factory.mktemp('proxy')
    behind = Server(backend, 'uwsgi', folder, f'[api]\npublic_endpoint = {PUBLIC}\n')
    try:
        behind.start()
        running = Proxy(folder, behind.port)
        try:
            yield running
        finally:
            running.stop()
    finally:
        behind.stop()


def test_links_are_the_public_ones(proxy: Proxy) -> None:
    code, text = proxy.ask('GET', '/')
    assert code == 300
    links = json.loads(text)['versions'][0]['links']
    assert links[1]['href'] == f'{PUBLIC}/v3/'


def test_a_chunked_body_gets_its_length_on_the_way(proxy: Proxy) -> None:
    name = str(uuid.uuid4())
    code, text = proxy.ask('POST', '/v3/types', json.dumps({'volume_type': {'name': name}}).encode(), chunked=True)
    assert (code, json.loads(text)['volume_type']['name']) == (200, name)


def test_a_body_too_large_stays_outside(proxy: Proxy) -> None:
    code, text = proxy.ask('POST', '/v3/volumes', b'x' * 2_000_000)
    assert code == 413
    assert b'nginx' in text
    code, _ = proxy.ask('POST', '/v3/volumes', b'x' * 200_000)
    assert code == 413


def test_many_requests_share_the_connections_behind(proxy: Proxy) -> None:
    assert {proxy.ask('GET', '/v3/volumes')[0] for _ in range(100)} == {200}
