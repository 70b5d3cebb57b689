# SPDX-License-Identifier: Apache-2.0
"""multiattach-standalone as a process, asked over HTTP."""

import json
import pathlib
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

from tests.deployments.programs import BIN, make_environment
from tests.testbed.polling import wait_until
from tests.testbed.servers import pick_port


class Standalone:
    """One state folder, started as often as a test likes."""

    def __init__(self, state: pathlib.Path) -> None:
        self.state = state
        self.port, self.portal = pick_port(), pick_port()
        self.base = f'http://127.0.0.1:{self.port}'
        self.headers: dict[str, str] = {}
        self.environment: dict[str, str] = {}  # besides this process's
        self.child: subprocess.Popen[str] | None = None
        self.said = ''  # until it was ready
        state.mkdir(parents=True, exist_ok=True)
        state.chmod(0o700)  # it may be there, with a small disk mounted in it
        (state / 'multiattach.conf').write_text(
            f'[DEFAULT]\nreport_interval = 0.5\n[tgt]\nportal = 127.0.0.1:{self.portal}\n[host_agent]\nenabled = no\n'
        )

    def start(self) -> None:
        self.spawn()
        self.await_ready()

    def spawn(self) -> None:
        self.child = subprocess.Popen(
            [
                str(BIN / 'multiattach-standalone'),
                '--state-dir',
                str(self.state),
                '--listen',
                f'127.0.0.1:{self.port}',
                '--config-file',
                str(self.state / 'multiattach.conf'),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=make_environment(**self.environment),
        )

    def await_ready(self) -> None:
        assert self.child is not None
        assert self.child.stdout is not None
        self.said = ''
        for line in self.child.stdout:
            self.said += line
            if line.startswith('Try:'):
                return
        raise AssertionError(f'it ended with {self.child.wait()}: {self.said}')

    def stop(self) -> int:
        assert self.child is not None
        self.child.send_signal(signal.SIGTERM)
        return self.child.wait(30)

    def kill(self) -> None:
        assert self.child is not None
        self.child.kill()
        self.child.wait(30)

    def tgtd_pids(self) -> list[int]:
        """Processes of the private tgtd, found by its portal."""
        found = []
        for entry in pathlib.Path('/proc').glob('[0-9]*/cmdline'):
            try:
                words = entry.read_bytes().split(b'\0')
            except OSError:
                continue
            if f'portal=127.0.0.1:{self.portal}'.encode() in words:
                found.append(int(entry.parent.name))
        return found

    def ask(
        self, method: str, path: str, body: Any = None, version: str = '3.71', timeout: float = 60
    ) -> tuple[int, Any]:
        request = urllib.request.Request(
            f'{self.base}{path}',
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={'Content-Type': 'application/json', 'OpenStack-API-Version': f'volume {version}', **self.headers},
        )
        try:
            with urllib.request.urlopen(request, timeout=timeout) as reply:
                text = reply.read()
                return reply.status, json.loads(text) if text else None
        except urllib.error.HTTPError as exc:
            text = exc.read()
            return exc.code, json.loads(text) if text else None

    def wait(self, condition: Callable[[], Any], seconds: float = 30) -> Any:
        return wait_until(condition, seconds, 'what the test waits for', 0.02)

    def make_volume(self, multiattach: bool = True) -> str:
        name = f'type-{pick_port()}-{time.monotonic_ns()}'
        specs = {'multiattach': '<is> True'} if multiattach else {}
        code, _ = self.ask('POST', '/v3/types', {'volume_type': {'name': name, 'extra_specs': specs}})
        assert code == 200
        code, reply = self.ask('POST', '/v3/volumes', {'volume': {'size': 1, 'volume_type': name}})
        assert code == 202
        ident = str(reply['volume']['id'])
        self.wait(lambda: self.status(ident) == 'available')
        return ident

    def status(self, volume_id: str) -> str:
        code, reply = self.ask('GET', f'/v3/volumes/{volume_id}')
        assert code == 200
        return str(reply['volume']['status'])
