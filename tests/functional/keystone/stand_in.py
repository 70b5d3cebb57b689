# SPDX-License-Identifier: Apache-2.0
"""Nova's one call that the guard makes, with whatever answer a test wants."""

import dataclasses
import http.server
import json
import threading
from typing import Any, Self

BASE = '/v2.1'


@dataclasses.dataclass
class Asked:
    """A request that came."""

    path: str
    headers: dict[str, str]


class StandInNova(http.server.ThreadingHTTPServer):
    """Answers every GET as it was told and remembers what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(('127.0.0.1', 0), _Handler)
        self.url = f'http://127.0.0.1:{self.server_port}{BASE}'
        self.asked: list[Asked] = []
        self.status = 404
        self.body: Any = None
        self._thread = threading.Thread(target=self.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    def answer(self, status: int, body: Any = None) -> None:
        """Answer like this from now on, and forget what was asked."""
        self.status, self.body = status, body
        self.asked.clear()

    def use(self, attachment_id: str | None) -> None:
        """Answer as Nova does where a server uses a volume by an attachment; None for "it does not"."""
        if attachment_id is None:
            self.answer(404, {'itemNotFound': {'code': 404, 'message': 'not there'}})
        else:
            self.answer(200, {'volumeAttachment': {'attachment_id': attachment_id}})


class _Handler(http.server.BaseHTTPRequestHandler):
    server: StandInNova

    def do_GET(self) -> None:
        self.server.asked.append(Asked(self.path, dict(self.headers)))
        text = self.server.body if isinstance(self.server.body, str) else json.dumps(self.server.body)
        self.send_response(self.server.status)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""
