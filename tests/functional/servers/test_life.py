# SPDX-License-Identifier: Apache-2.0
"""How the API starts and ends under a WSGI server."""

import concurrent.futures
import contextlib
import pathlib
import socket
import struct
import subprocess
import time
import uuid

import pytest

from tests.deployments.noauth import make_connector
from tests.deployments.web_servers import Backend, Client, Server
from tests.functional.servers.conftest import SERVERS, make_shared
from tests.testbed.polling import wait_until


def test_a_request_in_work_ends_before_the_server_does(backend: Backend, own_server: Server) -> None:
    with contextlib.closing(Client(own_server.port)) as client:
        volume = make_shared(client)

    def attach() -> tuple[int, object]:
        with contextlib.closing(Client(own_server.port)) as client:
            return client.ask(
                'POST',
                '/v3/attachments',
                {
                    'attachment': {
                        'volume_uuid': volume,
                        'instance_uuid': str(uuid.uuid4()),
                        'connector': make_connector('host'),
                    }
                },
            )

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        with backend.frozen():
            waiting = pool.submit(attach)
            with pytest.raises(TimeoutError):
                waiting.result(1.5)
            own_server.terminate()
            time.sleep(1)
            assert not waiting.done()
        code, reply = waiting.result(60)
    assert code == 200, reply
    assert own_server.process is not None
    own_server.process.wait(60)
    wait_until(lambda: own_server.count_processes() == 0, 10, 'the end of all processes')


@pytest.mark.parametrize('kind', SERVERS)
def test_a_wrong_option_ends_it_and_is_named(backend: Backend, kind: str, tmp_path: pathlib.Path) -> None:
    server = Server(backend, kind, tmp_path)
    server.config.write_text(server.config.read_text().replace('connection = mysql', 'connection = nonsense'))
    server.spawn()
    try:
        assert server.process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.process.wait(60)
        assert server.process.returncode not in (None, 0)
        assert 'Option connection in [database]' in server.log.read_text()
    finally:
        server.stop()


@pytest.mark.parametrize('kind', SERVERS)
def test_systemd_is_told_when_it_is_ready(backend: Backend, kind: str, tmp_path: pathlib.Path) -> None:
    # The unit is of Type=notify with NotifyAccess=main.
    server = Server(backend, kind, tmp_path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / 'notify'))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        listener.settimeout(60)
        server.env['NOTIFY_SOCKET'] = str(tmp_path / 'notify')
        try:
            server.spawn()
            text = b''
            while b'READY=1' not in text:
                text, credentials, *_ = listener.recvmsg(4096, socket.CMSG_SPACE(12))
            assert server.process is not None
            assert struct.unpack('3i', credentials[0][2])[0] == server.process.pid
        finally:
            server.stop()
