# SPDX-License-Identifier: Apache-2.0
"""``application``: the metrics of all processes that serve :mod:`multiattach.wsgi.api` on this host.

Serve it at an address of its own, beside the API, with one process.
"""

import pathlib
from collections.abc import Iterable
from typing import Any

from multiattach.cmd import operations, parts
from multiattach.domain import errors
from multiattach.wsgi import files


class _Processes:
    """Sums up what the processes count; of those that are gone, not what they hold."""

    def __init__(self, folder: pathlib.Path) -> None:
        from prometheus_client import multiprocess

        self._folder = folder
        self._library = multiprocess
        self._collector = multiprocess.MultiProcessCollector(None)  # type: ignore[no-untyped-call]

    def describe(self) -> Iterable[Any]:
        return ()

    def collect(self) -> Iterable[Any]:
        for path in self._folder.glob('gauge_live*_*.db'):
            pid = path.stem.rpartition('_')[2]
            if not pathlib.Path('/proc', pid).exists():
                self._library.mark_process_dead(int(pid))  # type: ignore[no-untyped-call]
        found: Iterable[Any] = self._collector.collect()  # type: ignore[no-untyped-call]
        return found


def make() -> Any:
    """Make the application from the configuration files."""
    conf = files.load('Serves the metrics of the API.')
    if not conf.metrics.multiprocess_dir:
        raise errors.ConfigurationError('Option multiprocess_dir in [metrics] is not set.')
    operations.share_metrics(conf)
    # Late: it looks at the environment when it is imported.
    import prometheus_client

    from multiattach.metrics import collectors

    registry = prometheus_client.CollectorRegistry()
    registry.register(_Processes(pathlib.Path(conf.metrics.multiprocess_dir)))
    registry.register(collectors.Collector({'database': operations.make_row_reader(conf, parts.open_database(conf))}))
    return prometheus_client.make_wsgi_app(registry)


application = make()
