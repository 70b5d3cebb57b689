# SPDX-License-Identifier: Apache-2.0
"""What a page of a long list costs: ``python -m tests.benchmarks.lists --volumes 10000 100000``.

A private MariaDB and PostgreSQL get the rows of the test of plans, as many as asked for, with 1,000 attachments of one
volume. Of each list of that test a page of 100 is read several times; shown are milliseconds of the fastest read, with
all of the database and the service's rows in it.
"""

import argparse
import contextlib
import dataclasses
import functools
import pathlib
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

from multiattach.db import attachments, database, migration, volumes
from multiattach.engine import queries
from tests.functional.database import test_plans as plans
from tests.testbed.postgresql import PostgreSQL
from tests.testbed.servers import MariaDB

_READS = 7


def _list_calls(number: int) -> Iterator[tuple[str, Callable[[Any], Any]]]:
    middle = plans._MIDDLE

    def choose(listed: plans.List) -> plans.List:
        return dataclasses.replace(listed, marker=number // 2 + 2) if listed.marker == middle else listed

    for name, listed in plans.VOLUMES.items():
        mine = [plans.V.project_id == plans.MINE] if listed.mine else []
        conditions = [*queries.volume_conditions(plans.ADMIN, listed.filters, 60), *mine]
        page = choose(listed).page(1)
        yield f'volumes, {name}', functools.partial(_read_volumes, conditions, page)
    for name, listed in plans.ATTACHMENTS.items():
        found = queries.attachment_conditions(plans.ADMIN, listed.filters, 60)
        page = choose(listed).page(-1)
        yield f'attachments, {name}', functools.partial(_read_attachments, found, page)


def _read_volumes(conditions: Any, page: Any, session: Any) -> None:
    volumes.list_page(session, conditions, page)


def _read_attachments(conditions: Any, page: Any, session: Any) -> None:
    attachments.list_page(session, conditions, page, detail=True)


def _measure(db: database.Database, call: Callable[[Any], Any]) -> float:
    best = float('inf')
    for _ in range(_READS):
        with db.reader() as session:
            began = time.perf_counter()
            call(session)
            best = min(best, time.perf_counter() - began)
    return best * 1000


def main() -> int:
    """Measure each size on each database.

    :returns: exit code.
    """
    parser = argparse.ArgumentParser(prog='python -m tests.benchmarks.lists', description=__doc__)
    parser.add_argument('--volumes', type=int, nargs='+', default=[10_000], metavar='N', help='sizes (default: 10000)')
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever is cut short takes the servers along
    found: dict[str, list[float]] = {}
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix='ma-lists-')))
        folder.chmod(0o755)  # PostgreSQL runs as a user of its own
        served = [stack.enter_context(kind(folder / kind.__name__)) for kind in (MariaDB, PostgreSQL)]
        for number in options.volumes:
            plans.NUMBER = number
            for server in served:
                db = database.Database(server.create_database(f'v{number}'))
                stack.callback(db.close)
                migration.sync(db)
                plans.fill(db)
                for name, call in _list_calls(number):
                    found.setdefault(name, []).append(_measure(db, call))
    titles = [f'{kind} {number:,}' for number in options.volumes for kind in ('MariaDB', 'PostgreSQL')]
    print(f'{"":<42}' + ''.join(f'{title:>20}' for title in titles))
    for name, some in found.items():
        print(f'{name:<42}' + ''.join(f'{one:>20.1f}' for one in some))
    return 0


if __name__ == '__main__':
    sys.exit(main())
