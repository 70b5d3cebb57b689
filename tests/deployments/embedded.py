# SPDX-License-Identifier: Apache-2.0
"""A whole control plane in this process: real database, RPC, worker and locks.

The target does nothing unless a test brings its own, or runs in a storage machine (see tests/e2e/test_lio.py).
"""

import contextlib
import functools
import pathlib
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from oslo_config import cfg

from multiattach import conf as configuration
from multiattach.cmd import images, parts
from multiattach.coordination import Crew, disconnect
from multiattach.db import migration
from multiattach.db.database import Database
from multiattach.db.transitions import Actor
from multiattach.domain import errors
from multiattach.domain.findings import DriftRules
from multiattach.domain.leases import LeaseRules
from multiattach.drivers.backends.base import Backend
from multiattach.drivers.backends.file import FileBackend
from multiattach.drivers.targets.base import Target
from multiattach.drivers.targets.null import NullTarget
from multiattach.engine.assembly import Engine
from multiattach.engine.context import RequestContext
from multiattach.engine.volumes import VolumeWish
from multiattach.rpc import transport
from multiattach.rpc.clients import HostAgents, VolumeWorkers
from multiattach.steps.epochs import Epochs
from multiattach.steps.exports import Exports
from multiattach.steps.fences import FencePlans
from multiattach.steps.images import ImageCopies
from multiattach.steps.leases import WORKER_STEPS, StepLeases
from multiattach.steps.migrations import MigrationRows
from multiattach.steps.reconciliation import Reconciliation
from multiattach.steps.snapshots import SnapshotRows
from multiattach.steps.storage import Storage, list_renamed
from multiattach.turns import Turns
from multiattach.volume.epoch import Epoch
from multiattach.volume.exporter import Exporter
from multiattach.volume.fencing import Fencer
from multiattach.volume.images import ImageSteps
from multiattach.volume.inspection import Inspection
from multiattach.volume.locks import VolumeLocks
from multiattach.volume.migrations import Migrations
from multiattach.volume.names import StorageNames
from multiattach.volume.nova_check import NovaCheck
from multiattach.volume.reconciler import VolumeReconciler
from multiattach.volume.reservations import ReservationSteps
from multiattach.volume.snapshots import SnapshotSteps
from multiattach.volume.storage import SlowWork, StorageSteps
from multiattach.volume.worker import Duties, Offer, VolumeWorker
from multiattach.worker import Presence
from tests.contexts import make_context
from tests.deployments import surroundings
from tests.deployments.targets import AnyTarget
from tests.testbed.polling import wait_until

BACKEND = 'testhost@file'
# What is in nobody's hand is taken up at once.
AT_ONCE = LeaseRules(duration=0.0, pause=0.0)
Settings = Mapping[tuple[str, str], Any]


class Deployment:
    """The parts, and short cuts for tests."""

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        db: Database,
        engine: Engine,
        target: Target,
        exporter: Exporter,
        fencer: Fencer,
        worker: VolumeWorker,
        directory: pathlib.Path,
        rpc: Any,
        reconciler: VolumeReconciler,
        leases: StepLeases,
    ) -> None:
        self.conf = conf
        self.db = db
        self.engine = engine
        self.target = target
        self.exporter = exporter
        self.fencer = fencer
        self.worker = worker
        self.directory = directory
        self.rpc = rpc
        self.reconciler = reconciler
        self.leases = leases
        self.ctx = make_context()
        self.others: dict[str, VolumeWorker] = {}

    def make_type(self, name: str = 'multi', multiattach: bool = True) -> str:
        specs: dict[str, str | None] = {'multiattach': '<is> True'} if multiattach else {}
        return self.engine.types.create(self.ctx, name, None, True, specs).id

    def make_volume(self, type_name: str | None = None, size: int = 1, ctx: RequestContext | None = None) -> str:
        volume = self.engine.volumes.create(ctx or self.ctx, VolumeWish(size, type_name))
        self.wait(lambda: self.status(volume.id) != 'creating')
        assert self.status(volume.id) == 'available'
        return volume.id

    def status(self, volume_id: str) -> str | None:
        try:
            return self.engine.volumes.show(self.ctx, volume_id).status
        except errors.VolumeNotFound:
            return None

    def wait(self, condition: Callable[[], Any], seconds: float = 20) -> Any:
        return wait_until(condition, seconds, 'what the test waits for', 0.01)


def start(worker: VolumeWorker) -> None:
    """Start a worker, and wait until it has looked once for what was left: on a busy machine its thread comes late.

    With leases that end at once it would take up what a test has just begun.
    """
    looked, tend = threading.Event(), worker.tend

    @functools.wraps(tend)
    def look() -> None:
        try:
            tend()
        finally:
            looked.set()

    worker.tend = look  # type: ignore[method-assign]
    worker.start()
    looked.wait(10)  # it may be made to hang


@contextlib.contextmanager
def deploy(
    directory: pathlib.Path,
    target: Target | None = None,
    *,
    url: str | None = None,
    start_worker: bool = True,
    report_interval: float = 0.5,
    reconcile_interval: float = 0.0,
    rules: DriftRules | None = None,
    nova: NovaCheck | None = None,
    lease_rules: LeaseRules = AT_ONCE,
    volume_locks: int = 1024,
    backend: Backend | None = None,
    settings: Settings | None = None,
    others: Mapping[str, Backend] | None = None,
) -> Iterator[Deployment]:
    """Bring a deployment up in a directory, and down again; it looks for drift only if it is told to.

    :param url: its database; by default the directory's own, on the server that ``--database`` chose.
    :param volume_locks: how many locks the volumes share.
    :param backend: where volumes are, by default files.
    :param settings: further options, by group and name.
    :param others: further backends by name, each with a worker of its own and a target that does nothing.
    """
    around = surroundings.current
    messages = around.make_message_space(directory)
    around.enter(directory)
    try:
        with _deploy(
            directory,
            target,
            url or around.find_database(directory),
            messages,
            start_worker,
            report_interval,
            ((rules or DriftRules(), reconcile_interval), nova),
            lease_rules,
            volume_locks,
            settings or {},
            backend,
            others or {},
        ) as deployed:
            yield deployed
    finally:
        around.leave(directory)
        around.drop_message_space(messages)


@contextlib.contextmanager
def _deploy(
    directory: pathlib.Path,
    target: Target | None,
    url: str,
    messages: str,
    start_worker: bool,
    report_interval: float,
    reconciling: tuple[tuple[DriftRules, float], NovaCheck | None],
    lease_rules: LeaseRules,
    volume_locks: int,
    settings: Settings,
    backend: Backend | None,
    others: Mapping[str, Backend],
) -> Iterator[Deployment]:
    conf = configuration.load(
        [],
        program='test',
        description='test',
        defaults={
            ('DEFAULT', 'state_path'): str(directory),
            ('DEFAULT', 'host'): 'testhost',
            ('DEFAULT', 'transport_url'): messages,
            ('api', 'auth_strategy'): 'noauth',
            ('database', 'connection'): url,
            ('DEFAULT', 'rpc_response_timeout'): 20,
            ('quota', 'volumes'): -1,
            ('quota', 'gigabytes'): -1,
            **settings,
        },
    )
    with contextlib.ExitStack() as stack:
        db = parts.open_database(conf, check=False)
        stack.callback(db.close)
        if migration.current(db) != migration.head():
            migration.sync(db)
        rpc = transport.make_transport(conf)
        stack.callback(rpc.cleanup)
        coordinator = parts.start_coordinator(conf, 'volume')
        stack.callback(disconnect, coordinator)
        engine = parts.build_engine(conf, db, rpc)
        engine.types.ensure_default()
        renamed = StorageNames(list_renamed(db))
        backend = renamed.wrap_backend(backend or FileBackend(directory / 'volumes'))
        backend.check()
        if target is None:
            target = AnyTarget()
            stack.callback(target.clear)
        target = renamed.wrap_target(target)
        locks = VolumeLocks(coordinator, names=volume_locks)
        backends = {BACKEND: backend, **{f'testhost@{name}': renamed.wrap_backend(one) for name, one in others.items()}}
        crew = Crew(coordinator, f'volume.{BACKEND}')
        leases = StepLeases(db, lease_rules, 'volume', crew.me, crew.is_gone, WORKER_STEPS, is_alone=True)
        epoch = Epoch(Epochs(db), BACKEND, directory / 'epochs' / 'file.json')
        actor = Actor(f'volume:{BACKEND}')
        fencer = Fencer(FencePlans(db, actor), target, locks, leases)
        exporter = Exporter(Exports(db, actor), backend, target, locks, BACKEND, leases, fencer, Turns(4))
        reconciler = VolumeReconciler(Reconciliation(db, actor), exporter, target, locks, BACKEND, *reconciling, epoch)
        keeper = parts.keep_entries(db, BACKEND, (backend, target), reconciler, renamed)
        snapshots = SnapshotSteps(SnapshotRows(db, BACKEND), backend, target, locks, leases)
        copies = ImageSteps(ImageCopies(db, BACKEND), backend, locks, leases, images.make_workshop(conf))
        slow = SlowWork(snapshots, copies)
        storage = StorageSteps(Storage(db, BACKEND), backend, target, locks, HostAgents(rpc, 20), leases, slow)
        reconciler.storage = parts.keep_storage(db, BACKEND, backend, storage, renamed.find)
        worker = VolumeWorker(
            Presence(db, BACKEND, 'nova', report_interval),
            rpc,
            crew,
            leases,
            Offer(backend, {'volume_backend_name': 'file'}, 20.0),
            Duties(
                BACKEND,
                exporter,
                fencer,
                Inspection(target),
                ReservationSteps(target, locks),
                storage,
                snapshots,
                reconciler,
                epoch,
                Migrations(MigrationRows(db, BACKEND), BACKEND, backends, locks, leases, VolumeWorkers(rpc, 20)),
                keeper,
            ),
        )
        if start_worker:
            stack.callback(worker.stop)
            start(worker)
        made = Deployment(conf, db, engine, target, exporter, fencer, worker, directory, rpc, reconciler, leases)
        for name in others:
            other = _make_other(made, coordinator, f'testhost@{name}', backends, lease_rules, report_interval, locks)
            made.others[name] = other
            if start_worker:
                stack.callback(other.stop)
                start(other)
        yield made


def _make_other(
    deployed: Deployment,
    coordinator: Any,
    host: str,
    backends: Mapping[str, Backend],
    lease_rules: LeaseRules,
    report_interval: float,
    locks: VolumeLocks,
) -> VolumeWorker:
    db, rpc, backend, target, actor = deployed.db, deployed.rpc, backends[host], NullTarget(), Actor(f'volume:{host}')
    backend.check()
    crew = Crew(coordinator, f'volume.{host}')
    leases = StepLeases(db, lease_rules, 'volume', crew.me, crew.is_gone, WORKER_STEPS, is_alone=True)
    fencer = Fencer(FencePlans(db, actor), target, locks, leases)
    exporter = Exporter(Exports(db, actor), backend, target, locks, host, leases, fencer, Turns(4))
    snapshots = SnapshotSteps(SnapshotRows(db, host), backend, target, locks, leases)
    copies = ImageSteps(ImageCopies(db, host), backend, locks, leases, images.make_workshop(deployed.conf))
    slow = SlowWork(snapshots, copies)
    epoch = Epoch(Epochs(db), host, deployed.directory / 'epochs' / f'{host}.json')
    storage = StorageSteps(Storage(db, host), backend, target, locks, HostAgents(rpc, 20), leases, slow)
    reconciler = VolumeReconciler(
        Reconciliation(db, actor), exporter, target, locks, host, (DriftRules(), 0.0), None, epoch
    )
    reconciler.storage = parts.keep_storage(db, host, backend, storage)
    return VolumeWorker(
        Presence(db, host, 'nova', report_interval),
        rpc,
        crew,
        leases,
        Offer(backend, {'volume_backend_name': host.partition('@')[2]}, 10.0),  # volumes are made on the first one
        Duties(
            host,
            exporter,
            fencer,
            Inspection(target),
            ReservationSteps(target, locks),
            storage,
            snapshots,
            reconciler,
            epoch,
            Migrations(MigrationRows(db, host), host, backends, locks, leases, VolumeWorkers(rpc, 20)),
        ),
    )
