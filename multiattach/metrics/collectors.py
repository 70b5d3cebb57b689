# SPDX-License-Identifier: Apache-2.0
"""Numbers that are read when Prometheus asks, in bounded time, and not before."""

import dataclasses
import datetime
from collections.abc import Callable, Iterable, Mapping

from oslo_log import log
from prometheus_client import core

from multiattach.db import counts, models
from multiattach.db.database import Database
from multiattach.domain.services import is_up
from multiattach.drivers.targets.base import Target
from multiattach.probe import Probe

LOG = log.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Gauge:
    name: str
    help: str
    labels: tuple[str, ...]
    values: Mapping[tuple[str, ...], float]


class Collector:
    """Reads gauges; what does not answer in time is left out, and said to be so.

    One for all that a program reads: a family may be declared once only.

    :param timeout: seconds that a source has to answer.
    :param keep: seconds for which an answer is not asked for again.
    """

    def __init__(
        self, sources: Mapping[str, Callable[[], list[Gauge]]], *, timeout: float = 3.0, keep: float = 5.0
    ) -> None:
        self._probes = {source: Probe(read, timeout, keep) for source, read in sources.items()}

    def describe(self) -> Iterable[core.Metric]:
        """Return nothing: nobody is asked before Prometheus does."""
        return ()

    def collect(self) -> Iterable[core.Metric]:
        answered = core.GaugeMetricFamily(
            'multiattach_source_up', 'Whether what is read at each scrape answered.', labels=['source']
        )
        gauges: list[Gauge] = []
        for source, probe in self._probes.items():
            try:
                gauges += probe.ask()
            except Exception as exc:
                LOG.warning('Metrics of the %s cannot be read: %s', source, type(exc).__name__)
                answered.add_metric([source], 0)
            else:
                answered.add_metric([source], 1)
        yield answered
        for gauge in gauges:
            family = core.GaugeMetricFamily(f'multiattach_{gauge.name}', gauge.help, labels=gauge.labels)
            for labels, value in gauge.values.items():
                family.add_metric(labels, value)
            yield family


def read_rows(db: Database, stuck_after: float, down_time: float) -> list[Gauge]:
    """Count what is in flight for too long, services, backends in doubt and gateways, in five statements.

    :param stuck_after: seconds in a state after which a row counts as stuck.
    :param down_time: seconds without a heartbeat after which a service counts as down.
    """
    now = models.now()
    late = now - datetime.timedelta(seconds=stuck_after)
    with db.reader() as session:
        stuck: dict[tuple[str, ...], float] = dict(counts.count_stuck(session, late).items())
        services: dict[tuple[str, ...], float] = {}
        for binary, heartbeat in counts.list_heartbeats(session):
            key = (binary, 'up' if is_up(heartbeat, now, down_time) else 'down')
            services[key] = services.get(key, 0) + 1
        doubted: dict[tuple[str, ...], float] = {
            (backend,): float(doubted) for backend, doubted in counts.list_doubts(session).items()
        }
        gateways: dict[tuple[str, ...], float] = dict(counts.count_gateways(session).items())
    return [
        Gauge('stuck', f'Rows that are in flight for more than {stuck_after:g} s, by state.', ('noun', 'state'), stuck),
        Gauge('services', 'Workers and agents by program.', ('binary', 'state'), services),
        Gauge(
            'database_doubted',
            'Whether the database is an older copy, or another one than that of the '
            'targets of a backend: nothing is repaired until a person accepts it.',
            ('backend',),
            doubted,
        ),
        Gauge('gateways', 'Gateways by backend and state: serving, losing or lost.', ('backend', 'state'), gateways),
    ]


def read_targets(targets: Iterable[Target]) -> list[Gauge]:
    exports: dict[tuple[str, ...], float] = {}
    sessions: dict[tuple[str, ...], float] = {}
    for target in targets:
        key = (target.protocol,)
        found = target.list_exports()
        exports[key] = exports.get(key, 0) + len(found)
        sessions[key] = sessions.get(key, 0) + sum(len(state.sessions) for state in found.values())
    return [
        Gauge('targets', 'Volumes that are exported now.', ('protocol',), exports),
        Gauge('target_sessions', 'Live logins at targets.', ('protocol',), sessions),
    ]
