# SPDX-License-Identifier: Apache-2.0
"""Where histories happen: a deployment with all its accounts open to the one who looks."""

import abc
import contextlib
import dataclasses
import http.client
import itertools
import json
import pathlib
import random
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from multiattach.drivers.targets.tgt.parse import Listing, ShownTarget, parse_accounts, parse_connections
from tests.functional.disturbances.clock import HOUR, WallClock
from tests.functional.disturbances.disk import SmallDisk
from tests.histories.generator import HEADERS, PROJECT
from tests.histories.model import Type
from tests.histories.proofs import Cheat, HalfOpen, Trial
from tests.histories.restored import RestoredDatabase
from tests.histories.vanished import Host
from tests.testbed.errors import TestbedError
from tests.testbed.polling import look_until, wait_until

PREFIX = 'iqn.2010-10.org.openstack:volume-'
TYPES: dict[str, Type] = {'plain': Type(False), 'shared': Type(True), 'shared2': Type(True), 'capped': Type(True, 2)}
Fault = Callable[[random.Random], None]
Rows = Mapping[str, Sequence[Mapping[str, Any]]]


@dataclasses.dataclass(frozen=True)
class Ground:
    """What the target daemon has.

    :param targets: targets by volume.
    :param accounts: names of all accounts.
    :param sessions: names under which somebody is logged in, by volume; each session counts.
    """

    targets: Mapping[str, ShownTarget]
    accounts: Collection[str]
    sessions: Mapping[str, Sequence[str]]


class Field(abc.ABC):
    """A deployment.

    :param ports: where its APIs listen.
    :param folder: for all that is written.
    :param volumes: folder of the volumes' files.
    :param target_files: folder of the files from which a target daemon would restore its targets.
    """

    project = PROJECT
    #: whether a volume and its attachments are read at one moment
    snapshot: bool

    def __init__(
        self, ports: Sequence[int], folder: pathlib.Path, volumes: pathlib.Path, target_files: pathlib.Path
    ) -> None:
        self.ports = ports
        self.folder = folder
        self.volumes = volumes
        self.target_files = target_files
        self.faults: dict[str, Fault] = {}
        #: faults that are judged by themselves
        self.trials: dict[str, Callable[[random.Random], Trial]] = {
            'cheat': lambda chance: Cheat(self, chance),
            'half-open': lambda chance: HalfOpen(self, chance),
            'old-database': lambda chance: RestoredDatabase(self, chance),
        }
        self.clock: WallClock | None = None
        self.disk: SmallDisk | None = None
        self.host: Host | None = None
        self._has_stepped = False
        self._engine: sa.Engine | None = None

    @property
    @abc.abstractmethod
    def url(self) -> str:
        """URL of the database."""

    @abc.abstractmethod
    def administer(self, *words: str) -> str:
        """Run tgtadm on its target daemon."""

    @abc.abstractmethod
    def report(self) -> str:
        """Return the ends of its logs."""

    @abc.abstractmethod
    def is_whole(self) -> bool:
        """Tell whether all parts run."""

    def prepare(self, names: Collection[str]) -> None:
        """Get ready for faults that a deployment must be made for; before it runs.

        :param names: of the faults.
        """
        if 'clock' in names:
            self.clock = WallClock(self.folder / 'clock')
        if 'full-disk' in names:
            self.disk = SmallDisk(self.folder / 'disk', [self.volumes, self.target_files])

    def put_right(self) -> None:
        """End what lasts for longer than its fault: a wrong clock, and who counts as dead because of it."""
        if self.clock is None or not self._has_stepped:
            return
        self.clock.step(0)
        self._has_stepped = False
        # One of them may have been killed, too.
        wait_until(self._are_services_up, 90, 'all services up after a step of the clock', 0.1)

    def _are_services_up(self) -> bool:
        code, reply = self.ask('GET', '/v3/os-services')
        return code == 200 and all(one['state'] == 'up' for one in reply['services'])

    def step_clock(self, chance: random.Random) -> None:
        """Have the wall clock of some programs be wrong, and right again; or not before the history's end."""
        assert self.clock is not None, 'prepare() was not told of "clock"'
        self._has_stepped = True
        self.clock.step(chance.choice((-HOUR, HOUR)))
        if chance.random() < 0.6:
            time.sleep(chance.uniform(0.05, 0.8))
            self.clock.step(0)

    def fill_disk(self, chance: random.Random) -> None:
        """Have no room for volumes and for what is written down of targets."""
        assert self.disk is not None, 'prepare() was not told of "full-disk"'
        with self.disk.full():
            time.sleep(chance.uniform(0.05, 1.5))

    def query(self, sql: str, **values: Any) -> list[tuple[Any, ...]]:
        """Ask the database itself; a tuple as a value is expanded."""
        statement = sa.text(sql).bindparams(
            *(sa.bindparam(name, expanding=True) for name, value in values.items() if isinstance(value, tuple))
        )
        if self._engine is None:
            self._engine = sa.create_engine(self.url, pool_pre_ping=True, hide_parameters=True)
        for attempt in range(40):
            try:
                with self._engine.connect() as connection:
                    return [tuple(row) for row in connection.execute(statement, values)]
            except sa.exc.DBAPIError:
                if attempt == 39:
                    raise
                time.sleep(0.5)
        raise AssertionError

    def execute(self, sql: str, **values: Any) -> None:
        """Change a row behind the service's back."""
        assert self.query('SELECT 1') == [(1,)]
        assert self._engine is not None
        with self._engine.begin() as connection:
            connection.execute(sa.text(sql), values)

    def swap_rows(self, rows: Rows | None = None) -> Rows:
        """Read all rows, and put others in their place, at one moment and behind the service's back.

        :param rows: an older copy of all of them; None to read only.
        :returns: what was there.
        """
        assert self.query('SELECT 1') == [(1,)]
        assert self._engine is not None
        names = [name for name in sa.inspect(self._engine).get_table_names() if name != 'alembic_version']
        for attempt in range(40):
            try:
                with self._engine.begin() as connection:
                    return _swap(connection, names, rows)
            except sa.exc.DBAPIError:  # the service was in the way
                if attempt == 39:
                    raise
                time.sleep(0.25)
        raise AssertionError

    def restart_workers(self) -> bool:
        """Kill the programs that work at targets, and have them started again; targets live on.

        :returns: whether there are such programs.
        """
        return False

    def look(self) -> Ground:
        """Read the target daemon; one that is just coming up is waited for."""
        for attempt in range(60):
            try:
                listing = Listing(self.administer('--op', 'show', '--mode', 'target'))
                accounts = parse_accounts(self.administer('--op', 'show', '--mode', 'account'))
                targets = {one.iqn.removeprefix(PREFIX): one for one in listing}
                return Ground(
                    targets,
                    list(accounts),
                    {
                        ident: [
                            nexus.initiator
                            for nexus in parse_connections(
                                self.administer('--op', 'show', '--mode', 'conn', '--tid', str(one.tid))
                            )
                        ]
                        for ident, one in targets.items()
                    },
                )
            except (TestbedError, LookupError):
                if attempt == 59:
                    raise
                time.sleep(0.25)
        raise AssertionError

    def ask(self, method: str, path: str, body: Any = None, seconds: float = 60, version: str = '') -> tuple[int, Any]:
        """Make a request to any API that answers; again if the answer was lost or unknown."""
        headers = HEADERS | ({'OpenStack-API-Version': version} if version else {})
        ports = itertools.cycle(self.ports)

        def once() -> tuple[int, Any]:
            connection = http.client.HTTPConnection('127.0.0.1', next(ports), timeout=40)
            try:
                with contextlib.closing(connection):
                    connection.request(method, path, None if body is None else json.dumps(body), headers)
                    reply = connection.getresponse()
                    text = reply.read()
            except (OSError, http.client.HTTPException) as exc:
                return 0, exc
            return reply.status, json.loads(text) if text else None

        status, answer = look_until(once, lambda found: found[0] not in (0, 503, 504), seconds, 0.1)
        if isinstance(answer, Exception):
            raise answer
        return status, answer

    def make_types(self) -> None:
        """Make the volume types."""
        for name, kind in TYPES.items():
            specs = {'multiattach': '<is> True'} if kind.multiattach else {}
            if kind.cap is not None:
                specs['multiattach:max_attachments'] = str(kind.cap)
            code, reply = self.ask('POST', '/v3/types', {'volume_type': {'name': name, 'extra_specs': specs}})
            assert code in (200, 409), reply

    def make_volumes(self, names: Sequence[str]) -> list[str]:
        """Make a volume of each type that is named, and wait for them."""
        idents = []
        for name in names:
            code, reply = self.ask('POST', '/v3/volumes', {'volume': {'size': 1, 'volume_type': name}})
            assert code == 202, reply
            idents.append(str(reply['volume']['id']))
        for ident in idents:
            assert look_until(lambda ident=ident: self.show(ident), lambda s: s != 'creating', 60, 0.02) == 'available'
        return idents

    def show(self, volume: str) -> str | None:
        """Return a volume's status, None if there is no such volume."""
        code, reply = self.ask('GET', f'/v3/volumes/{volume}')
        return None if code == 404 else str(reply['volume']['status'])

    def close(self) -> None:
        """Let go of the database."""
        if self._engine is not None:
            self._engine.dispose()


def _swap(connection: sa.Connection, names: Sequence[str], rows: Rows | None) -> Rows:
    if connection.dialect.name == 'sqlite':
        connection.exec_driver_sql('BEGIN IMMEDIATE')
        lock = ''
    else:
        connection.exec_driver_sql('SET FOREIGN_KEY_CHECKS = 0')
        lock = ' FOR UPDATE'  # nobody writes between what is read and what is put there
    quote = connection.dialect.identifier_preparer.quote_identifier
    # As the database has them, without types that would make something else of them.
    found = {
        name: [dict(row) for row in connection.exec_driver_sql(f'SELECT * FROM {quote(name)}{lock}').mappings()]
        for name in names
    }
    for name in names if rows is not None else ():
        connection.exec_driver_sql(f'DELETE FROM {quote(name)}')
    for name, those in (rows or {}).items():
        if those:
            columns = ', '.join(map(quote, those[0]))
            values = ', '.join(f':{column}' for column in those[0])
            connection.execute(sa.text(f'INSERT INTO {quote(name)} ({columns}) VALUES ({values})'), list(those))
    if connection.dialect.name != 'sqlite':
        connection.exec_driver_sql('SET FOREIGN_KEY_CHECKS = 1')
    return found


class Keeper:
    """Starts what has died again, as an init system does.

    :param programs: each with ``poll()``, not None if it has ended, and ``restart()``.
    """

    def __init__(self, programs: Sequence[Any]) -> None:
        self._programs = programs
        self._end = threading.Event()
        self.deaths = 0
        self.complaints: list[str] = []
        self._busy = {id(program): threading.Lock() for program in programs}
        self._threads = [threading.Thread(target=self._keep, args=(program,), daemon=True) for program in programs]

    def _keep(self, program: Any) -> None:
        while not self._end.wait(0.05):
            if program.poll() is None:
                continue
            with self._busy[id(program)]:
                self.deaths += 1
                try:
                    program.restart()
                except AssertionError as exc:  # died again while it started, or does not start
                    self.complaints.append(f'{exc}'[-2000:])

    def is_whole(self) -> bool:
        """Tell whether everything runs and is ready."""
        for program in self._programs:
            lock = self._busy[id(program)]
            if program.poll() is not None or not lock.acquire(blocking=False):
                return False
            lock.release()
        return True

    @contextlib.contextmanager
    def run(self) -> Iterator['Keeper']:
        """Keep programs alive."""
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            self._end.set()
            for thread in self._threads:
                thread.join(100)
