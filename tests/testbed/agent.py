# SPDX-License-Identifier: Apache-2.0
"""Runs inside a compute host: executes commands and relays Unix sockets (the client is vm.py).

Run as a file, without the package: standard library only. A request is one line of JSON, and
input after it:

    {"command": "…", "input": 3, "timeout": 60}   frames: "o" output, "r" exit code, "t" timeout
    {"relay": "/run/libvirt/libvirt-sock"}        "r" and 0, then the socket's own bytes

A frame is one letter, eight digits (length or code), and for "o" the bytes.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from typing import IO, Any


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def relay(client: socket.socket, path: str) -> None:
    """Join a client to a Unix socket until either side closes.

    :param client: the client's connection
    :param path: the socket to join it to
    """
    with socket.socket(socket.AF_UNIX) as server:
        try:
            server.connect(path)
        except OSError as error:
            client.sendall(b'r%08d' % (error.errno or 1))
            return
        client.sendall(b'r%08d' % 0)
        there = threading.Thread(target=_pump, args=(client, server), daemon=True)
        there.start()
        _pump(server, client)
        there.join()


def _feed(sink: IO[bytes], stream: IO[bytes], size: int) -> None:
    with contextlib.suppress(OSError), sink:
        sink.write(stream.read(size))


def execute(client: socket.socket, stream: IO[bytes], request: dict[str, Any]) -> None:
    """Run a command in a session of its own, and send what it prints as it comes.

    :param client: the client's connection
    :param stream: the same, for reading
    :param request: the command, the length of its input and its time limit
    """
    process = subprocess.Popen(
        ['/bin/bash', '-c', request['command']],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    late = threading.Event()

    def expire() -> None:
        late.set()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    timer = threading.Timer(request['timeout'], expire)
    timer.start()
    # Apart: a command may print before it has read all its input.
    feeder = threading.Thread(target=_feed, args=(process.stdin, stream, request['input']))
    feeder.start()
    try:
        output = process.stdout.fileno()
        while chunk := os.read(output, 65536):
            client.sendall(b'o%08d' % len(chunk) + chunk)
        code = process.wait()
    finally:
        timer.cancel()
        feeder.join()
    client.sendall(b't%08d' % 0 if late.is_set() else b'r%08d' % (code & 255))


def serve(client: socket.socket) -> None:
    """Answer one request.

    :param client: the client's connection
    """
    with client, client.makefile('rb', buffering=0) as stream:
        try:
            # Unbuffered: what follows the line belongs to the command or the relay.
            request = json.loads(stream.readline())
            if 'relay' in request:
                relay(client, request['relay'])
            else:
                with client.makefile('rb') as rest:
                    execute(client, rest, request)
        except (OSError, ValueError) as error:
            print('agent:', error, file=sys.stderr, flush=True)


def main() -> None:
    """Listen at the address and port of the command line, for ever."""
    with socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=64) as server:
        print('agent: listening', flush=True)
        while True:
            client, _ = server.accept()
            threading.Thread(target=serve, args=(client,), daemon=True).start()


if __name__ == '__main__':
    main()
