# SPDX-License-Identifier: Apache-2.0
"""Runs in a network namespace of its own: two portals, a client, and the rules between them."""

import contextlib
import socket
import subprocess
import threading

from multiattach.drivers.connectors.redirects import Redirects

FIRST, SECOND, THIRD = '127.0.0.2:3260', '127.0.0.3:3260', '[::1]:3260'


def serve(portal: str) -> None:
    """Tell every client which portal it has reached, and again whatever it says."""
    host, _, port = portal.rpartition(':')
    family = socket.AF_INET6 if '[' in host else socket.AF_INET
    server = socket.create_server((host.strip('[]'), int(port)), family=family)

    def answer(client: socket.socket) -> None:
        with contextlib.suppress(ConnectionError):
            while client.recv(1):
                client.sendall(portal.encode())

    def accept() -> None:
        while True:
            threading.Thread(target=answer, args=(server.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


def connect(portal: str) -> socket.socket:
    host, _, port = portal.rpartition(':')
    return socket.create_connection((host.strip('[]'), int(port)), 5)


def ask(client: socket.socket) -> str:
    client.settimeout(5)
    client.sendall(b'?')
    return client.recv(100).decode()


def list_rules(program: str = 'iptables') -> str:
    return subprocess.run([program, '-t', 'nat', '-S'], check=True, capture_output=True, text=True).stdout


def main() -> None:
    subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True)
    for portal in (FIRST, SECOND):
        serve(portal)
    redirects = Redirects()
    redirects.apply({}, ())
    assert 'MULTIATTACH' not in list_rules()  # nothing is touched without a reason
    client = connect(FIRST)
    assert ask(client) == FIRST

    redirects.apply({FIRST: SECOND}, {FIRST})
    with contextlib.suppress(ConnectionError):  # it was ended
        assert ask(client) == ''
    client = connect(FIRST)
    assert ask(client) == SECOND
    rules = list_rules()
    # Another process, as after a restart of the agent, finds what is there.
    Redirects().apply({FIRST: SECOND}, {FIRST})
    assert list_rules() == rules

    # It serves again: who is elsewhere stays there, who comes anew is led nowhere.
    Redirects().apply({}, ())
    assert ask(client) == SECOND
    assert ask(connect(FIRST)) == FIRST
    assert 'DNAT' not in list_rules()

    redirects.apply({THIRD: '[::2]:3260'}, {THIRD})
    assert '--to-destination [::2]:3260' in list_rules('ip6tables')
    Redirects().apply({}, ())
    assert 'DNAT' not in list_rules('ip6tables')


if __name__ == '__main__':
    main()
