# SPDX-License-Identifier: Apache-2.0
"""The HTTP server of multiattach-api and multiattach-standalone: waitress, real threads."""

import threading
from typing import Any

import waitress.server
from oslo_log import log

from multiattach.domain import errors

LOG = log.getLogger(__name__)


class HttpServer:
    """Serves a WSGI application in threads.

    :param application: the application.
    :param host: address to listen on.
    :param port: port to listen on; 0 for any free one.
    :param threads: threads that answer requests.
    :param proxied: hand on what a proxy in front says of the client; never without one.
    :raises ConfigurationError: the address cannot be listened on.
    """

    def __init__(self, application: Any, host: str, port: int, threads: int, *,
                 proxied: bool = False) -> None:
        try:
            self._server = waitress.server.create_server(
                application, host=host, port=port, threads=threads, ident='multiattach',
                # Idle connections count, and beyond the limit nobody is let in: a dashboard keeps hundreds.
                # Below 1024, the usual limit of open files; poll, because select ends there, too.
                connection_limit=800, channel_timeout=60, asyncore_use_poll=True,
                max_request_body_size=1 << 20, clear_untrusted_proxy_headers=not proxied)
        except OSError as exc:
            raise errors.ConfigurationError(
                f'{host}:{port} cannot be listened on ({exc.strerror or exc}): set another address '
                '(multiattach-standalone --listen; listen_host and listen_port in [api]).') from exc
        self.port = int(self._server.effective_port)
        self._thread = threading.Thread(target=self._serve, name='http', daemon=True)

    def start(self) -> None:
        """Serve in a thread of its own."""
        self._thread.start()

    def _serve(self) -> None:
        try:
            self._server.run()
        except OSError:
            LOG.debug('The HTTP server was closed')

    def stop(self) -> None:
        """Finish the requests in work, then close."""
        self._server.task_dispatcher.shutdown(cancel_pending=True, timeout=10)
        self._server.close()
