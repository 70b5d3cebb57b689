# SPDX-License-Identifier: Apache-2.0
import pathlib
import signal
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest

from tests.deployments import embedded, surroundings

_servers = pytest.StashKey[surroundings.Servers]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup('multiattach')
    group.addoption(
        '--database',
        choices=surroundings.DATABASES,
        default='sqlite',
        help='where deployments keep their rows; a private server is started (default: sqlite)',
    )
    group.addoption(
        '--broker',
        choices=surroundings.BROKERS,
        default='inproc',
        help='what carries their messages; a private broker is started (default: inproc)',
    )


def _leave(number: int, _frame: FrameType | None) -> None:
    pytest.exit(f'signal {number}', 128 + number)


def pytest_configure(config: pytest.Config) -> None:
    """Start the servers in the first process of the run; those of pytest-xdist are told of them."""
    signal.signal(signal.SIGTERM, _leave)  # a run cut short takes its servers and machines along
    told = getattr(config, 'workerinput', None)
    if told is not None:
        surroundings.current = surroundings.Surroundings(told['surroundings'], told['workerid'])
        return
    database, broker = config.getoption('--database'), config.getoption('--broker')
    if (database, broker) != ('sqlite', 'inproc') and not config.option.collectonly:
        config.stash[_servers] = surroundings.Servers(database, broker)
        surroundings.current = surroundings.Surroundings(config.stash[_servers].facts)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    servers = node.config.stash.get(_servers, None)
    node.workerinput['surroundings'] = servers.facts if servers is not None else {}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    if config.getvalue('dist') != 'loadfile':
        return None
    from tests import together  # not where there is no pytest-xdist

    return together.Scheduling(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, 'workerinput'):  # a process of pytest-xdist
        from tests import together

        together.begin_with_longest(items)


def pytest_unconfigure(config: pytest.Config) -> None:
    if (servers := config.stash.get(_servers, None)) is not None:
        servers.stop()


def pytest_runtest_logfinish() -> None:
    """Have the databases of finished tests used again."""
    surroundings.current.recycle()


@pytest.fixture
def deployed(tmp_path: pathlib.Path) -> Iterator[embedded.Deployment]:
    """A control plane with a null target."""
    with embedded.deploy(tmp_path) as parts:
        yield parts
