# SPDX-License-Identifier: Apache-2.0
"""A way to a portal from another address of this machine, as another host would come."""

import contextlib
import socket
import threading
from collections.abc import Iterator


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for one in (source, sink):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def relay(portal: str, address: str) -> Iterator[str]:
    """Pass connections on to a portal, from an address.

    :param portal: ``address:port``.
    :param address: whence the target sees them come.
    :returns: the portal to connect to.
    """
    host, _, port = portal.rpartition(':')
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(('127.0.0.1', 0)))

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    server = socket.create_connection((host, int(port)), source_address=(address, 0))
                    for one in (client, server):
                        stack.callback(one.close)
                    for pair in ((client, server), (server, client)):
                        threading.Thread(target=_copy, args=pair, daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        stack.callback(listener.shutdown, socket.SHUT_RDWR)
        yield f'127.0.0.1:{listener.getsockname()[1]}'
