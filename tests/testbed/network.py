# SPDX-License-Identifier: Apache-2.0
"""A network namespace with a bridge: servers and compute hosts meet there, and nobody else."""

import contextlib
import ctypes
import itertools
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from tests.testbed import processes
from tests.testbed.errors import TestbedError
from tests.testbed.lifetime import Lifetime

_CLONE_NEWNET = 0x40000000
_NUMBERS = itertools.count(1)
_LIBC = ctypes.CDLL(None, use_errno=True)


class Network(Lifetime):
    """10.99.0.0/24 in a namespace of its own: several test beds run side by side."""

    prefix = 24

    def __init__(self, name: str | None = None, address: str = '10.99.0.1') -> None:
        """Choose name and address.

        :param name: of the namespace; one of its own when None
        :param address: of the bridge, in a /24
        """
        self.name = name or f'testbed-{os.getpid()}-{next(_NUMBERS)}'
        self.address = address

    def start(self) -> None:
        """Make the namespace and its bridge."""
        processes.run(['ip', 'netns', 'add', self.name])
        try:
            self._ip('link', 'set', 'lo', 'up')
            self._ip('link', 'add', 'br0', 'type', 'bridge')
            self._ip('addr', 'add', f'{self.address}/{self.prefix}', 'dev', 'br0')
            self._ip('link', 'set', 'br0', 'up')
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End whatever still runs in the namespace, and remove it; repeatable."""
        if not self.path.exists():
            return
        for pid in processes.run(['ip', 'netns', 'pids', self.name]).split():
            if int(pid) != os.getpid():
                processes.stop_pid(int(pid), patience=2)
        processes.run(['ip', 'netns', 'del', self.name])

    @property
    def path(self) -> Path:
        """The namespace's handle."""
        return Path('/run/netns') / self.name

    def _ip(self, *words: str) -> None:
        processes.run(['ip', '-n', self.name, *words])

    def wrap(self, argv: list[str]) -> list[str]:
        """Make a command run inside.

        :param argv: program and arguments
        :returns: the same, run in the namespace
        """
        return ['ip', 'netns', 'exec', self.name, *argv]

    def pick_address(self, index: int) -> str:
        """Name the address of a compute host.

        :param index: its number, from 1
        :returns: an IPv4 address
        """
        return f'{self.address.rpartition(".")[0]}.{10 + index}'

    def add_tap(self, name: str) -> None:
        """Make a tap device on the bridge; one that exists is fine.

        :param name: of the device
        """
        if not self._has_device(name):
            self._ip('tuntap', 'add', name, 'mode', 'tap')
        self._ip('link', 'set', name, 'master', 'br0', 'up')

    def _has_device(self, name: str) -> bool:
        shown = processes.run(['ip', '-n', self.name, '-br', 'link'])
        return any(line.split()[0] == name for line in shown.splitlines())

    def set_link(self, name: str, *, up: bool) -> None:
        """Pull or plug the cable of a compute host.

        :param name: of its tap device
        :param up: True to plug
        """
        self._ip('link', 'set', name, 'up' if up else 'down')

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Put the calling thread, and threads that it starts meanwhile, into the namespace."""
        with enter(self.path):
            yield

    def connect(self, address: str, port: int, timeout: float) -> socket.socket:
        """Connect to a server inside; outside, the address would lead to somebody else.

        :param address: IPv4 address
        :param port: TCP port
        :param timeout: seconds
        :returns: a connected socket; it stays inside, whichever thread uses it
        :raises OSError: when nobody answers
        """
        with self.inside():
            return socket.create_connection((address, port), timeout)


def sweep_networks() -> list[str]:
    """Remove the networks of test beds that were killed, with all that runs in them.

    :returns: the names of the namespaces removed
    """
    swept = []
    for path in Path('/run/netns').glob('testbed-*-*'):
        owner = path.name.split('-')[1]
        if owner.isdigit() and not processes.is_alive(int(owner)):
            Network(path.name).stop()
            swept.append(path.name)
    return swept


@contextlib.contextmanager
def enter(path: Path) -> Iterator[None]:
    """Put the calling thread, and threads that it starts meanwhile, into a network namespace.

    :param path: its handle
    """
    before = os.open(f'/proc/self/task/{threading.get_native_id()}/ns/net', os.O_RDONLY)
    try:
        _set_namespace(path)
        try:
            yield
        finally:
            _set_namespace(before)
    finally:
        os.close(before)


def _set_namespace(target: Path | int) -> None:
    handle = os.open(target, os.O_RDONLY) if isinstance(target, Path) else target
    try:
        if _LIBC.setns(handle, _CLONE_NEWNET):
            raise TestbedError(f'setns: {os.strerror(ctypes.get_errno())}')
    finally:
        if isinstance(target, Path):
            os.close(handle)
