# SPDX-License-Identifier: Apache-2.0
"""A whole small cloud's machines: a network, a database, a broker and compute hosts; perhaps a Redis."""

import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path

from tests.testbed.coordination import Redis
from tests.testbed.errors import TestbedError
from tests.testbed.kernel import find_cache
from tests.testbed.lifetime import Lifetime
from tests.testbed.network import Network
from tests.testbed.progress import report
from tests.testbed.servers import MariaDB, RabbitMQ, Server
from tests.testbed.vm import ComputeHost


class Cluster(Lifetime):
    """All started in parallel, all gone at the end, whatever happens."""

    def __init__(
        self,
        workdir: Path,
        cache: Path | None = None,
        hosts: int = 2,
        *,
        memory: int = 1536,
        disks: Sequence[int] = (),
        redis: bool = False,
    ) -> None:
        """Describe it; nothing is started.

        :param workdir: folder for all that is written, with a short path; made
        :param cache: cache folder of kernels and images; not below /run, /dev or /proc
        :param hosts: how many compute hosts
        :param memory: MiB per host
        :param disks: sizes in MiB of each host's extra disks
        :param redis: start a Redis, too
        """
        self.workdir = workdir.resolve()
        self.cache = find_cache(cache)
        self.network = Network()
        self.mariadb = MariaDB(self.workdir / 'mariadb', network=self.network)
        self.rabbitmq = RabbitMQ(self.workdir / 'rabbitmq', network=self.network)
        self.redis = Redis(self.workdir / 'redis', network=self.network)
        self._servers: list[Server] = [self.mariadb, self.rabbitmq]
        if redis:
            self._servers.append(self.redis)
        self.hosts = [
            ComputeHost(
                self.network, self.workdir / f'compute{index}', index, cache=self.cache, memory=memory, disks=disks
            )
            for index in range(1, hosts + 1)
        ]

    def start(self) -> None:
        """Start everything and wait until all of it serves.

        :raises TestbedError: when a part fails; the others are stopped before
        """
        self.workdir.mkdir(parents=True, exist_ok=True)
        servers = self._servers
        try:
            self.network.start()
            report(f'network namespace {self.network.name} is up')
            with ThreadPoolExecutor(len(servers) + len(self.hosts)) as pool:
                jobs: list[Future[None]] = [pool.submit(self._start_host, h) for h in self.hosts]
                jobs += [pool.submit(self._start_server, server) for server in servers]
                try:
                    done, _ = wait(jobs, return_when=FIRST_EXCEPTION)
                    for job in done:
                        job.result()
                except BaseException:
                    # Cut off what the others wait for, so that they end soon.
                    self.stop()
                    raise
        except BaseException:
            self.stop()  # again: a thread may have started something meanwhile
            raise

    def _start_host(self, host: ComputeHost) -> None:
        host.start()
        host.wait_ready()
        report(f'{host.name} is ready')
        host.start_libvirtd()
        report(f'{host.name} runs libvirtd')

    def _start_server(self, server: Server) -> None:
        server.start()
        report(f'{server.title} serves at {server.address}:{server.port}')

    def stop(self) -> None:
        """Stop everything; a failure keeps no other part from being stopped. Repeatable.

        :raises TestbedError: when a part could not be stopped
        """
        if self.hosts and self.hosts[0].is_on():
            with contextlib.suppress(TestbedError, OSError):
                self.hosts[0].save_capabilities()
        parts: list[tuple[str, Callable[[], None]]] = [
            *((host.name, host.stop) for host in self.hosts),
            *((server.title, server.stop) for server in reversed(self._servers)),
            (self.network.name, self.network.stop),
        ]
        failures = []
        for name, stop in parts:
            try:
                stop()
            except Exception as error:
                failures.append(f'{name}: {error}')
        if failures:
            raise TestbedError(f'not stopped: {"; ".join(failures)}')

        report('the cluster is gone')
