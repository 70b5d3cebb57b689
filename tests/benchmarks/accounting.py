# SPDX-License-Identifier: Apache-2.0
"""What processes cost, from /proc, and what a database was asked, from its counters."""

import contextlib
import dataclasses
import pathlib
import time
from collections.abc import Iterable

import sqlalchemy as sa

_KINDS = ('select', 'insert', 'update', 'delete', 'commit', 'rollback', 'begin')
# MariaDB counts statements on two tables, and those that insert what they read, apart.
_VARIANTS = ('', '_multi', '_select')
_SCHEDULER = 2  # CPUCLOCK_SCHED: a process's clock is named by its complement (clock_getcpuclockid(3))


def list_family(pids: Iterable[int]) -> list[int]:
    """List processes and all that came of them.

    :param pids: process ids.
    :returns: those and their children, theirs too.
    """
    children: dict[int, list[int]] = {}
    for entry in pathlib.Path('/proc').iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / 'stat').read_text()
            except OSError:
                continue
            children.setdefault(int(stat.rpartition(')')[2].split()[1]), []).append(int(entry.name))
    found = dict.fromkeys(pids)
    todo = list(found)
    while todo:
        begotten = children.get(todo.pop(), [])
        found |= dict.fromkeys(begotten)
        todo += begotten
    return list(found)


def cpu_seconds(pids: Iterable[int]) -> float:
    """Add up user and system time of processes and of all that came of them.

    :param pids: process ids.
    :returns: seconds, as exact as the scheduler's nanoseconds; /proc tells hundredths.
    """
    return read_clocks(list_family(pids))


def read_clocks(pids: Iterable[int]) -> float:
    """Add up user and system time of processes, in seconds; of those that have ended, none."""
    total = 0.0
    for pid in pids:
        with contextlib.suppress(OSError):
            total += time.clock_gettime(~pid << 3 | _SCHEDULER)
    return total


def memory_mib(pids: Iterable[int]) -> float:
    """Add up the proportional set size of processes and of all that came of them.

    :param pids: process ids.
    :returns: MiB.
    """
    total = 0
    for pid in list_family(pids):
        try:
            lines = pathlib.Path(f'/proc/{pid}/smaps_rollup').read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith('Pss:'))
    return total / 1024


def count_statements(engine: sa.Engine) -> dict[str, int]:
    """Read how many statements a MariaDB has run.

    :param engine: of any database on it.
    :returns: numbers by kind.
    """
    with engine.connect() as connection:
        rows = connection.execute(sa.text("SHOW GLOBAL STATUS LIKE 'Com\\_%'"))
        counters = {str(name).removeprefix('Com_'): int(value) for name, value in rows}
    return {kind: sum(counters.get(kind + variant, 0) for variant in _VARIANTS) for kind in _KINDS}


@dataclasses.dataclass(frozen=True)
class Account:
    """Processes to charge: those of a service, and those of its database and broker."""

    own: list[int]
    servers: list[int] = dataclasses.field(default_factory=list)
    engine: sa.Engine | None = None

    def read(self) -> dict[str, float]:
        """Read CPU seconds so far and, where the database is known, numbers of statements."""
        spent = {'own': cpu_seconds(self.own), 'all': cpu_seconds(self.own + self.servers)}
        return spent if self.engine is None else spent | count_statements(self.engine)
