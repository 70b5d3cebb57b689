# SPDX-License-Identifier: Apache-2.0
"""A private Redis and a private etcd, for the coordination of workers and agents (tooz)."""

import socket

from tests.testbed.servers import Server, pick_port


class Redis(Server):
    """A key-value server that asks for a password; what it holds is in memory only."""

    title = 'Redis'
    standard_port = 6379

    @property
    def url(self) -> str:
        """The backend URL for tooz, with the password in it."""
        return f'redis://:{self.password}@{self.address}:{self.port}'

    def _launch(self) -> None:
        # The password goes by file: arguments are readable by everybody.
        configuration = self.folder / 'redis.conf'
        configuration.touch(0o600)
        configuration.write_text(
            f'bind {self.address}\n'
            f'port {self.port}\n'
            f'requirepass {self.password}\n'
            f'dir {self.folder}\n'
            'daemonize no\n'
            'save ""\n'
            'appendonly no\n'
            'loglevel notice\n'
        )
        self._spawn(['redis-server', str(configuration)])

    def _greet(self, connection: socket.socket) -> bool:
        # Another server that took the port would not know the password.
        connection.sendall(f'AUTH {self.password}\r\nPING\r\n'.encode())
        answer = b''
        while answer.count(b'\r\n') < 2 and (chunk := connection.recv(1024)):
            answer += chunk
        return answer == b'+OK\r\n+PONG\r\n'


class Etcd(Server):
    """A cluster of one member, spoken to over HTTP (the gRPC gateway, ``/v3``)."""

    title = 'etcd'
    standard_port = 2379

    @property
    def url(self) -> str:
        """The backend URL for tooz."""
        return f'etcd3+http://{self.address}:{self.port}?api_version=v3'

    def _launch(self) -> None:
        clients = f'http://{self.address}:{self.port}'
        peers = f'http://{self.address}:{self._pick_peer_port()}'
        options = {
            'name': 'testbed',
            'data-dir': self.folder / 'data',
            'listen-client-urls': clients,
            'advertise-client-urls': clients,
            'listen-peer-urls': peers,
            'initial-advertise-peer-urls': peers,
            'initial-cluster': f'testbed={peers}',
        }
        # etcd reads ETCD_… variables too, and refuses one that is given both ways.
        env = {'PATH': '/usr/sbin:/usr/bin:/sbin:/bin', 'HOME': str(self.folder)}
        self._spawn(['etcd', *(f'--{name}={value}' for name, value in options.items())], env)

    def _pick_peer_port(self) -> int:
        return self.standard_port + 1 if self._network else pick_port()

    def _greet(self, connection: socket.socket) -> bool:
        connection.sendall(f'GET /health HTTP/1.0\r\nHost: {self.address}\r\n\r\n'.encode())
        answer = b''
        while chunk := connection.recv(1024):
            answer += chunk
        return b'"health":"true"' in answer
