# SPDX-License-Identifier: Apache-2.0
"""Bodies without a length under uWSGI, which gives them to an application by a function of its own only."""

import importlib
import io
from collections.abc import Callable, Iterable
from typing import Any

from multiattach.api.faults import WsgiApp


class ChunkedInput:
    """Middleware that reads a chunked body of at most *limit* bytes and gives it a length.

    :param read: returns the next chunk, nothing at the end (``uwsgi.chunked_read``).
    """

    def __init__(self, application: WsgiApp, limit: int, read: Callable[[], bytes]) -> None:
        self._application = application
        self._limit = limit
        self._read = read

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ.get('HTTP_TRANSFER_ENCODING', '').lower() == 'chunked':
            body = self._read_body()
            environ['wsgi.input'] = io.BytesIO(body)
            environ['CONTENT_LENGTH'] = str(len(body))
            del environ['HTTP_TRANSFER_ENCODING']
            start_response = self._close_after(start_response)
        return self._application(environ, start_response)

    @staticmethod
    def _close_after(start_response: Callable[..., Any]) -> Callable[..., Any]:
        # uWSGI's router serves nothing more on such a connection, and tells nobody.
        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            return start_response(status, [*headers, ('Connection', 'close')], *more)

        return start

    def _read_body(self) -> bytes:
        body = b''
        try:
            while len(body) <= self._limit and (chunk := self._read()):
                body += chunk
        except OSError:  # a client that stopped, or a chunk too large for uWSGI
            return b''
        return body


def accept_chunks(application: WsgiApp, limit: int) -> WsgiApp:
    """Wrap an application if it runs under uWSGI."""
    try:
        uwsgi = importlib.import_module('uwsgi')  # uWSGI itself puts it there
    except ImportError:
        return application
    return ChunkedInput(application, limit, uwsgi.chunked_read)
