# SPDX-License-Identifier: Apache-2.0
"""Counters and histograms for Prometheus; labels are names from the code and of hosts, never ids.

Import it late: prometheus_client looks at ``PROMETHEUS_MULTIPROC_DIR`` when it is imported.
"""

from typing import Any

import prometheus_client as client
import sqlalchemy as sa

from multiattach import signals
from multiattach.db import changes
from multiattach.domain import release, snapshots, states

_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_SLOW = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
_METHODS = frozenset({'GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS'})
# How long a volume is attached is its users' matter; how long it is on its way is ours.
_IN_FLIGHT = {
    changes.ATTACHMENT: states.IN_FLIGHT,
    changes.VOLUME: states.WORKER_STATUSES,
    changes.SNAPSHOT: snapshots.WORKER_SNAPSHOTS,
}


class Prometheus(signals.Sink):
    """A sink whose registry Prometheus may read."""

    def __init__(self, program: str) -> None:
        self.registry = client.CollectorRegistry()
        registry: Any = {'registry': self.registry}
        client.Gauge(
            'multiattach_build_info',
            'Which program and release this is.',
            ['program', 'version'],
            multiprocess_mode='max',
            **registry,
        ).labels(program, release.version()).set(1)
        self._requests = client.Counter(
            'multiattach_http_requests',
            'Requests by route, method and status.',
            ['route', 'method', 'status'],
            **registry,
        )
        self._request_seconds = client.Histogram(
            'multiattach_http_request_seconds',
            'Seconds until a reply, by route and method.',
            ['route', 'method'],
            buckets=_FAST,
            **registry,
        )
        self._refused = client.Counter(
            'multiattach_http_requests_refused',
            'Requests that were refused because they had waited too long.',
            **registry,
        )
        self._rpc_seconds = client.Histogram(
            'multiattach_rpc_seconds',
            'Seconds until an RPC was answered, or the broker had a cast; outcome is ok, refused, unknown '
            '(no answer in time) or failed.',
            ['topic', 'method', 'outcome'],
            buckets=_FAST,
            **registry,
        )
        self._transitions = client.Counter(
            'multiattach_transitions', 'Changes of state that were committed, by event.', ['noun', 'event'], **registry
        )
        self._state_seconds = client.Histogram(
            'multiattach_state_seconds',
            'Seconds that attachments and volumes stayed in a state on their way, when they left it.',
            ['noun', 'state'],
            buckets=_SLOW,
            **registry,
        )
        self._step_seconds = client.Histogram(
            'multiattach_step_seconds',
            'Seconds of work on targets and hosts, by the event that ends it.',
            ['event'],
            buckets=_FAST,
            **registry,
        )
        self._transactions = client.Counter(
            'multiattach_database_transactions', 'Transactions by their end.', ['outcome'], **registry
        )
        self._retries = client.Counter(
            'multiattach_database_retries', 'Transactions that had to be run again.', **registry
        )
        self._drift = client.Counter(
            'multiattach_drift',
            'Drift by kind and by what became of it; each counts once per outcome.',
            ['kind', 'outcome'],
            **registry,
        )
        self._held = client.Gauge(
            'multiattach_repairs_held',
            'Repairs that take something away and wait for a person, by backend or compute host.',
            ['host'],
            multiprocess_mode='livesum',
            **registry,
        )
        self._backend_up = client.Gauge(
            'multiattach_backend_up',
            'Whether the storage of a backend answered at the last heartbeat.',
            ['backend'],
            multiprocess_mode='livemin',
            **registry,
        )
        self._ceph_seconds = client.Histogram(
            'multiattach_ceph_seconds',
            'Seconds until Ceph had done a call; outcome is ok, refused, unknown (no answer in time), stopped '
            '(not wanted any more) or failed.',
            ['call', 'outcome'],
            buckets=_SLOW,
            **registry,
        )
        self._taken_over = client.Counter(
            'multiattach_steps_taken_over',
            'Steps that were taken over from whoever had them in hand.',
            ['noun'],
            **registry,
        )
        self._failed_attempts = client.Counter(
            'multiattach_step_attempts_failed', 'Attempts at steps that ended without a result.', ['noun'], **registry
        )
        self._connections = client.Gauge(
            'multiattach_database_connections_in_use',
            'Connections that are taken from the pool.',
            multiprocess_mode='livesum',
            **registry,
        )
        self._opened = client.Counter(
            'multiattach_database_connections_opened', 'Connections that were opened.', **registry
        )

    def http(self, route: str, method: str, status: int, seconds: float) -> None:
        method = method if method in _METHODS else 'other'
        self._requests.labels(route, method, status).inc()
        self._request_seconds.labels(route, method).observe(seconds)

    def refused(self) -> None:
        """Count a request that was refused."""
        self._refused.inc()

    def rpc(self, topic: str, method: str, outcome: str, seconds: float) -> None:
        self._rpc_seconds.labels(topic, method, outcome).observe(seconds)

    def retried(self) -> None:
        self._retries.inc()

    def taken_over(self, noun: str) -> None:
        self._taken_over.labels(noun).inc()

    def attempt_failed(self, noun: str) -> None:
        self._failed_attempts.labels(noun).inc()

    def drift(self, kind: str, outcome: str) -> None:
        self._drift.labels(kind, outcome).inc()

    def held(self, host: str, number: int) -> None:
        self._held.labels(host).set(number)

    def backend(self, host: str, is_up: bool) -> None:
        self._backend_up.labels(host).set(is_up)

    def ceph(self, call: str, outcome: str, seconds: float) -> None:
        self._ceph_seconds.labels(call, outcome).observe(seconds)

    def changed(self, change: changes.Change) -> None:
        """Count a change; an observer of the database."""
        self._transitions.labels(change.noun, change.event).inc()
        if change.stayed is not None and change.left in _IN_FLIGHT[change.noun]:
            self._state_seconds.labels(change.noun, change.left).observe(change.stayed)
        if change.seconds is not None:
            self._step_seconds.labels(change.event).observe(change.seconds)

    def watch_engine(self, engine: sa.Engine) -> None:
        def listen(target: Any, name: str, call: Any) -> None:
            sa.event.listen(target, name, lambda *_args: call())

        listen(engine, 'commit', self._transactions.labels('commit').inc)
        listen(engine, 'rollback', self._transactions.labels('rollback').inc)
        listen(engine, 'connect', self._opened.inc)
        listen(engine, 'checkout', self._connections.inc)
        listen(engine, 'checkin', self._connections.dec)
