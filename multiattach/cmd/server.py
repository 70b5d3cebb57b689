# SPDX-License-Identifier: Apache-2.0
"""The HTTP server of programs: waitress, real threads, and a bound on everything."""

import resource
import socket
import threading
import time
from typing import Any

import waitress.server
from oslo_log import log
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.task import ThreadedTaskDispatcher, WSGITask

from multiattach import listening, turns
from multiattach.domain import errors

LOG = log.getLogger(__name__)

# A dashboard keeps hundreds of idle connections.
MOST_CONNECTIONS = 800
# Listeners and triggers of waitress, and connections that all have a request in work.
_BEYOND = 32
_TRIES = 20


class _Task(WSGITask):
    """Tells the application since when the request has waited for a thread."""

    def get_environment(self) -> dict[str, Any]:
        """Return the environment of a request."""
        environ: dict[str, Any] = super().get_environment()
        environ[turns.ARRIVED] = self.channel.queued_at
        return environ


class _Channel(HTTPChannel):
    task_class = _Task
    queued_at = 0.0


class _Dispatcher(ThreadedTaskDispatcher):
    def add_task(self, task: _Channel) -> None:
        """Have the next request of a connection answered."""
        task.queued_at = time.monotonic()
        super().add_task(task)


class _Listener(waitress.server.TcpWSGIServer):
    """Makes room for who comes: the connection that was idle for longest goes.

    waitress itself lets nobody in while too many are open, and closes none for a minute or more.
    """

    channel_class = _Channel
    most = MOST_CONNECTIONS

    def handle_accept(self) -> None:
        channels = [one for one in self._map.values() if isinstance(one, HTTPChannel)]
        if len(channels) >= self.most:
            idle = [one for one in channels if not one.requests]
            if idle:
                min(idle, key=lambda one: float(one.last_activity)).handle_close()
        super().handle_accept()


class HttpServer:
    """Serves a WSGI application in threads.

    :param host: name or address to listen on; of a name all addresses.
    :param option: what to set to another address, for the message.
    :param most: connections at once; beyond, those that are idle for longest are closed.
    :param proxied: hand on what a proxy in front says of the client; never without one.
    :raises ConfigurationError: the address cannot be listened on.
    """

    def __init__(
        self,
        application: Any,
        host: str,
        port: int,
        threads: int,
        *,
        option: str = 'listen_host and listen_port in [api]',
        most: int = MOST_CONNECTIONS,
        proxied: bool = False,
    ) -> None:
        try:
            sockets = _bind(host, port)
        except OSError as exc:
            raise errors.ConfigurationError(
                f'{listening.Address(host, port)} cannot be listened on ({listening.explain(exc, port)}): '
                f'set another address ({option}).'
            ) from exc
        self.port = int(sockets[0].getsockname()[1])
        # Half of the descriptors are for what the program is there for.
        most = min(most, max(resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2 - _BEYOND, 8))
        settings = Adjustments(
            sockets=sockets,
            threads=threads,
            ident='multiattach',
            connection_limit=most + _BEYOND,
            # poll, because select ends at descriptor 1024.
            channel_timeout=60,
            asyncore_use_poll=True,
            max_request_body_size=1 << 20,
            clear_untrusted_proxy_headers=not proxied,
        )
        self._map: dict[int, Any] = {}
        self._dispatcher = _Dispatcher()
        self._dispatcher.set_thread_count(threads)
        self._listeners = []
        for made in sockets:
            info = (made.family, made.type, made.proto, made.getsockname())
            listener = _Listener(
                application,
                self._map,
                True,
                made,
                dispatcher=self._dispatcher,
                adj=settings,
                bind_socket=False,
                sockinfo=info,
            )
            listener.most = most
            self._listeners.append(listener)
        self._thread = threading.Thread(target=self._serve, name='http', daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _serve(self) -> None:
        try:
            self._listeners[0].run()  # the map is that of all of them
        except OSError:
            LOG.debug('The HTTP server was closed')

    def stop(self) -> None:
        self._dispatcher.shutdown(cancel_pending=True, timeout=10)
        for listener in self._listeners:
            listener.close()


def _bind(host: str, port: int) -> list[socket.socket]:
    """Bind all addresses of a name to one port."""
    addresses = listening.resolve(host)
    for left in reversed(range(_TRIES if port == 0 else 1)):
        bound: list[socket.socket] = []
        try:
            for family, address in addresses:
                made = socket.socket(family, socket.SOCK_STREAM)
                bound.append(made)
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(len(addresses) > 1))
                made.bind((address, bound[0].getsockname()[1] if len(bound) > 1 else port))
                made.listen(1)  # two may bind with SO_REUSEADDR, one may listen
            return bound
        except OSError:
            for made in bound:
                made.close()
            if not left:  # with any port: the next one may be free at all addresses
                raise
    raise AssertionError
