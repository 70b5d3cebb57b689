# SPDX-License-Identifier: Apache-2.0
"""A region: the parts of a benchmark with rows of many hosts, Redis, and processes full of host agents."""

import contextlib
import json
import os
import pathlib
import random
import select
import subprocess
import sys
import uuid
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from multiattach.db import models
from multiattach.drivers.targets.base import account_name
from multiattach.drivers.targets.null import NullTarget
from tests.benchmarks.parts import Parts
from tests.benchmarks.service import PROJECT
from tests.deployments.programs import make_environment
from tests.testbed import processes
from tests.testbed.coordination import Redis
from tests.testbed.servers import MariaDB

BACKEND = 'bench@file'
OF_DEAD = 500  # attachments of the host that dies
_PER_HOST, _VOLUMES_PER_HOST = 50, 20
_AGENTS_PER_PROCESS = 250
_CHUNK = 2000
# The package of the programs selects green threads before others are imported.
_AGENTS = 'import multiattach.cmd; from tests.benchmarks import region_agents; region_agents.main()'


def name_host(number: int) -> str:
    """Name a host by its number."""
    return f'host-{number:04}'


class Region(Parts):
    """Parts with hosts.

    :param hosts: how many; the first one has :data:`OF_DEAD` attachments, each of the others 50.
    """

    _patience = 900.0

    def __init__(self, folder: pathlib.Path, hosts: int) -> None:
        super().__init__(folder, 'null')
        self.hosts = [name_host(number) for number in range(hosts)]
        self.volumes = [str(uuid.uuid4()) for _ in range(max(hosts * _VOLUMES_PER_HOST, OF_DEAD))]
        self.agents: list[AgentProcess] = []

    def _make_database(self) -> MariaDB:
        more = {'max-connections': 8 * len(self.hosts) + 500, 'innodb-buffer-pool-size': '512M'}
        return MariaDB(self.folder / 'mariadb', more=more)

    def _more_options(self) -> str:
        self._redis = self._stack.enter_context(Redis(self.folder / 'redis'))
        return f'[coordination]\nbackend_url = {self._redis.url}?timeout=30\n[host_agent]\nproject_id = {PROJECT}\n'

    def _prepare(self) -> None:
        with self.engine.begin() as connection:
            for model, rows in self._make_rows():
                for start in range(0, len(rows), _CHUNK):
                    connection.execute(sa.insert(model), rows[start : start + _CHUNK])
        with self.engine.begin() as connection:
            connection.execute(sa.text('ANALYZE TABLE volumes, attachments, servers'))

    def _make_rows(self) -> Iterable[tuple[Any, list[dict[str, Any]]]]:
        now, kind, chance = models.now(), str(uuid.uuid4()), random.Random(1)
        yield models.VolumeType, [{'id': kind, 'name': 'shared', 'live_name': 'shared', 'is_public': True}]
        yield models.ExtraSpec, [{'volume_type_id': kind, 'key': 'multiattach', 'value': '<is> True'}]
        servers: list[dict[str, Any]] = []
        held: list[dict[str, Any]] = []
        for number, host in enumerate(self.hosts):
            for _ in range(_PER_HOST if number else OF_DEAD):
                server = str(uuid.uuid4())
                servers.append(_make_server(server, host) | {'created_at': now})
                held.append(_make_attachment(chance.choice(self.volumes), server, host) | _stamp(now))
        used = {row['volume_id'] for row in held}
        yield models.Volume, [_make_volume(ident, kind, ident in used) | _stamp(now) for ident in self.volumes]
        yield models.Server, servers
        yield models.Attachment, held

    def start_agents(self) -> None:
        """Start the agents of all hosts."""
        for start in range(0, len(self.hosts), _AGENTS_PER_PROCESS):
            some = self.hosts[start : start + _AGENTS_PER_PROCESS]
            one = AgentProcess(self.conf, self.folder / f'agents-{start}.log', some)
            self._stack.callback(one.end)
            self.agents.append(one)
        for one in self.agents:
            one.await_answer(300)
        self.order('start')

    def order(self, what: str, timeout: float = 900, **arguments: Any) -> float:
        """Have all processes of agents do something side by side; those of named hosts only what is theirs.

        :returns: seconds until the last one had done it.
        """
        for one in self.agents:
            one.give(what, arguments)
        return max(one.await_answer(timeout) for one in self.agents)

    @property
    def parts(self) -> dict[str, list[int]]:
        """Processes by part."""
        return {
            'API': [self._daemons['api'].pid],
            'worker': [self._daemons['worker'].pid],
            'database': [one.pid for one in self._servers[0].daemons],
            'broker': [one.pid for one in self._servers[1].daemons],
            'Redis': [one.pid for one in self._redis.daemons],
            'agents': [one.pid for one in self.agents],
        }

    @property
    def broker_port(self) -> int:
        """Where the broker listens."""
        return self._servers[1].port

    def restart_broker(self) -> None:
        """Kill the broker and start it again."""
        self._servers[1].halt(patience=0)
        self._servers[1].start()


class AgentProcess:
    """A process of :mod:`tests.benchmarks.region_agents`.

    :param hosts: names of its hosts.
    """

    def __init__(self, conf: pathlib.Path, log: pathlib.Path, hosts: list[str]) -> None:
        self._hosts = frozenset(hosts)
        self._log = log
        argv = [sys.executable, '-c', _AGENTS, json.dumps(hosts), '--config-file', str(conf)]
        with log.open('ab') as out:
            self._child = subprocess.Popen(
                [*argv, '--log-file', str(log)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=out,
                env=make_environment(MULTIATTACH_CONCURRENCY='eventlet'),
                start_new_session=True,
            )
        self._rest = b''

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    def give(self, what: str, arguments: dict[str, Any]) -> None:
        """Give an order."""
        mine = dict(arguments)
        if 'only' in mine:
            mine['only'] = [name for name in mine['only'] if name in self._hosts]
        if 'servers' in mine:
            mine['servers'] = {name: some for name, some in mine['servers'].items() if name in self._hosts}
        assert self._child.stdin is not None
        self._child.stdin.write(json.dumps({'do': what, **mine}).encode() + b'\n')
        self._child.stdin.flush()

    def await_answer(self, timeout: float) -> float:
        """Wait until an order is carried out.

        :returns: seconds that it took.
        """
        assert self._child.stdout is not None
        while b'\n' not in self._rest:
            ready, _, _ = select.select([self._child.stdout], [], [], timeout)
            some = os.read(self._child.stdout.fileno(), 1 << 16) if ready else b''
            if not some:
                raise SystemExit(f'agents do not answer: {processes.tail(self._log)}')
            self._rest += some
        line, _, self._rest = self._rest.partition(b'\n')
        answer = json.loads(line)
        if 'error' in answer:
            raise SystemExit(f'agents: {answer["error"]}; {self._log}')
        return float(answer.get('seconds', 0))

    def end(self) -> None:
        """End it."""
        with contextlib.suppress(OSError):
            os.killpg(self._child.pid, 9)
        self._child.wait(30)


def _stamp(moment: Any) -> dict[str, Any]:
    return {'created_at': moment}


def _make_server(ident: str, host: str) -> dict[str, Any]:
    """A row as the agent's heartbeat writes it."""
    facts = {'name': f'server-{ident[0]}', 'power_state': 'running', 'devices': ['vda']}
    return {'id': ident, 'project_id': PROJECT, 'host': host, **facts}


def _make_volume(ident: str, kind: str, is_used: bool) -> dict[str, Any]:
    return {
        'id': ident,
        'project_id': PROJECT,
        'user_id': 'admin',
        'display_name': f'v-{ident[:8]}',
        'size': 1,
        'volume_type_id': kind,
        'multiattach': True,
        'bootable': False,
        'host': BACKEND,
        'availability_zone': 'nova',
        'status': 'in-use' if is_used else 'available',
        'status_at': models.now(),
    }


def _make_attachment(volume_id: str, server_id: str, host: str) -> dict[str, Any]:
    """A row as it is after an attach by a host agent."""
    initiator = f'iqn.1994-05.com.redhat:{host}'
    connector = {'host': host, 'ip': '127.0.0.1', 'initiator': initiator}
    info = {
        'driver_volume_type': 'iscsi',
        'volume_id': volume_id,
        'target_discovered': False,
        **NullTarget().locate(volume_id).tell(),
        'auth_method': 'CHAP',
        'auth_username': account_name(volume_id, initiator),
        'auth_password': uuid.uuid4().hex[:16],
        'access_mode': 'rw',
    }
    now = models.now()
    return {
        'id': str(uuid.uuid4()),
        'volume_id': volume_id,
        'instance_uuid': server_id,
        'state': 'attached',
        'state_at': now,
        'attach_mode': 'rw',
        'attached_host': host,
        'agent_host': host,
        'initiator': initiator,
        'mountpoint': '/dev/vdb',
        'connector': connector,
        'connection_info': info,
        'attached_at': now,
        'seen_size': 1,
        'delete_on_termination': False,
        'timeline': '',
    }
