# SPDX-License-Identifier: Apache-2.0
"""Nova's servers, as an admin sees them; a real Nova is asked by tests/nova_api."""

import http.server
import json
import threading
import urllib.parse
import uuid
from typing import Any, Self

BASE = '/v2.1'


class StandInServers(http.server.ThreadingHTTPServer):
    """Answers the two calls that tell whether a server is there."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(('127.0.0.1', 0), _Handler)
        self.url = f'http://127.0.0.1:{self.server_port}{BASE}'
        self.servers: set[str] = set()
        self.deleted: set[str] = set()
        self.shown: dict[str, dict[str, Any]] = {}
        self.trouble: tuple[int, Any] | None = None
        self.asked: list[str] = []
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    def make(self, *, deleted: bool = False) -> str:
        """Make a server, or one that is deleted."""
        ident = str(uuid.uuid4())
        (self.deleted if deleted else self.servers).add(ident)
        return ident

    def answer(self, path: str, query: dict[str, list[str]]) -> tuple[int, Any]:
        """As Nova does."""
        if self.trouble is not None:
            return self.trouble
        if path == f'{BASE}/servers':
            found = self.deleted if 'deleted' in query else self.servers
            return 200, {'servers': [{'id': one} for one in query['uuid'] if one in found]}
        ident = path.removeprefix(f'{BASE}/servers/')
        if ident in self.servers:
            return 200, {'server': {'id': ident, **self.shown.get(ident, {})}}
        return 404, {'itemNotFound': {'code': 404, 'message': f'Instance {ident} could not be found.'}}


class _Handler(http.server.BaseHTTPRequestHandler):
    server: StandInServers

    def do_GET(self) -> None:
        path, _, query = self.path.partition('?')
        self.server.asked.append(self.path)
        status, body = self.server.answer(path, urllib.parse.parse_qs(query))
        text = body if isinstance(body, str) else json.dumps(body)
        self.send_response(status)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""
