# SPDX-License-Identifier: Apache-2.0
"""The parts of a program, made from its configuration."""

import functools
import pathlib
from collections.abc import Callable, Collection
from typing import Any
from urllib.parse import quote

import oslo_messaging as messaging
from oslo_config import cfg
from oslo_log import log
from tooz import ToozError, coordination

from multiattach import policies
from multiattach.cmd import gateways, images, kernels
from multiattach.conf import nova, plugins, quota, volume as volume_conf
from multiattach.coordination import Crew, connect
from multiattach.db import migration
from multiattach.db.database import Database
from multiattach.db.transitions import Actor
from multiattach.domain import errors
from multiattach.domain.findings import DriftRules
from multiattach.domain.leases import LeaseRules
from multiattach.drivers.backends.base import Backend
from multiattach.drivers.errors import DriverError
from multiattach.drivers.nova.client import NovaServers
from multiattach.drivers.nova.events import NovaEvents
from multiattach.drivers.nova.guard import NovaCompute
from multiattach.drivers.targets.base import Target
from multiattach.engine.assembly import Engine, EngineSettings
from multiattach.engine.policy import Policy
from multiattach.probe import Probe
from multiattach.rpc import broker, transport
from multiattach.rpc.clients import HostAgents, VolumeWorkers
from multiattach.steps.blocklist import BlocklistRows
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
from multiattach.volume.blocklist import BlocklistKeeper
from multiattach.volume.ceph_accounts import CephAccounts
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
from multiattach.volume.snapshot_accounts import SnapshotAccounts
from multiattach.volume.snapshots import SnapshotSteps
from multiattach.volume.storage import SlowWork, StorageSteps
from multiattach.volume.storage_accounts import StorageAccounts, VolumeAccounts
from multiattach.volume.worker import Duties, Offer, VolumeWorker
from multiattach.worker import Presence

LOG = log.getLogger(__name__)
_COMMAND_TIMEOUT = 9.0


def open_transport(conf: cfg.ConfigOpts, *, check: bool = True) -> messaging.Transport:
    """Open the RPC transport of a program that is one of several.

    :param check: refuse a broker that takes no connection now.
    :raises ConfigurationError: none is set, one that reaches no other process, or one that is down.
    """
    url = conf.transport_url or ''
    if url.startswith('inproc:'):
        raise errors.ConfigurationError(
            'Option transport_url in [DEFAULT]: inproc:// reaches no other process. Use a broker '
            'such as rabbit://USER:PASSWORD@HOST:5672/, or run multiattach-standalone.'
        )
    made = transport.make_transport(conf)
    if check:
        broker.check_in_time(made)
    return made


def open_database(conf: cfg.ConfigOpts, *, check: bool = True, patient: bool = True) -> Database:
    """Open the database of ``[database] connection``.

    :param patient: wait for one that is not there yet, as ``max_retries`` says.
    :raises ConfigurationError: no URL, one that cannot be used, or no migration.
    """
    url = conf.database.connection
    if not url:
        raise errors.ConfigurationError(
            'Option connection in [database] is not set: give an SQLAlchemy URL such as '
            'sqlite:////var/lib/multiattach/multiattach.sqlite or mysql://…'
        )
    try:
        db = Database(
            url,
            conf.database.max_pool_size or 10,
            conf.database.max_overflow or 50,
            connection_recycle_time=conf.database.connection_recycle_time,
            max_retries=conf.database.max_retries if patient else 1,
            retry_interval=conf.database.retry_interval if patient else 0,
            mysql_sql_mode=conf.database.mysql_sql_mode,
        )
        if check:
            migration.check(db)
    except errors.ConfigurationError:
        raise
    except Exception as exc:
        raise errors.ConfigurationError(
            'Option connection in [database]: the database cannot be opened '
            f'({type(exc).__name__}). Check the URL and that the server runs.'
        ) from exc
    return db


def ask_database(conf: cfg.ConfigOpts, *, check: bool = True) -> Database:
    """Open the database for a command: whoever typed it is told at once that it is not there.

    :raises ConfigurationError: as for :func:`open_database`, or it does not answer in time.
    """
    try:
        return Probe(lambda: open_database(conf, check=check, patient=False), _COMMAND_TIMEOUT, 0.0).ask()
    except TimeoutError:
        raise errors.ConfigurationError(
            f'Option connection in [database]: the database does not answer within {_COMMAND_TIMEOUT:g} s: '
            'check the address, and that the server runs.'
        ) from None


def make_policy(conf: cfg.ConfigOpts) -> Policy:
    """Load the rules and the operator's policy file.

    :raises ConfigurationError: the file cannot be used.
    """
    try:
        return Policy(policies.make_enforcer(conf))
    except Exception as exc:
        raise errors.ConfigurationError(explain_policy(conf, exc)) from exc


def explain_policy(conf: cfg.ConfigOpts, exc: Exception) -> str:
    """Say in one line what is wrong with the operator's policy file, and the remedy."""
    return (
        f'Option policy_file in [oslo_policy]: {conf.oslo_policy.policy_file} cannot be used: '
        f'{" ".join(str(exc).split())} Try "multiattach-manage policy check".'
    )


def build_engine(conf: cfg.ConfigOpts, db: Database, rpc: messaging.Transport) -> Engine:
    timeout = conf.rpc_response_timeout
    compute = None
    if conf.nova.endpoint or conf.api.auth_strategy == 'keystone':
        compute = NovaCompute(
            conf.nova.endpoint,
            interface=conf.nova.interface,
            region=conf.nova.region_name,
            cafile=conf.nova.cafile or '',
            insecure=conf.nova.insecure,
        )
    return Engine(
        db,
        make_policy(conf),
        VolumeWorkers(rpc, timeout, conf.rpc_monitor_timeout),
        HostAgents(rpc, timeout),
        EngineSettings(
            order_time=timeout,
            down_time=conf.service_down_time,
            default_type=conf.default_volume_type,
            default_zone=conf.default_availability_zone or None,
            default_quotas={opt.dest: conf.quota[opt.dest] for opt in quota.LIMITS},
            snapshot_gigabytes=not conf.quota.no_snapshot_gb_quota,
            max_attachments=conf.max_attachments_per_volume,
            drift=make_rules(conf),
            force_upload=conf.enable_force_upload,
        ),
        compute,
        images.make_glance(conf),
    )


def make_lease_rules(conf: cfg.ConfigOpts) -> LeaseRules:
    """Read how long leases last and how often steps are tried."""
    return LeaseRules(
        conf.leases.duration, conf.leases.max_attempts, conf.leases.retry_pause, conf.leases.longest_pause
    )


def start_coordinator(conf: cfg.ConfigOpts, program: str) -> coordination.CoordinationDriver:
    """Connect to the coordination backend; *program* is for the name of this process.

    :raises ConfigurationError: the backend cannot be reached.
    """
    url = conf.coordination.backend_url
    try:
        if url.startswith('file://'):
            pathlib.Path(url.removeprefix('file://')).mkdir(parents=True, exist_ok=True)
        return connect(url, f'{program}.{conf.host}')
    except (ToozError, OSError) as exc:
        raise errors.ConfigurationError(f'Option backend_url in [coordination] cannot be used: {exc}') from exc


class TargetDrivers:
    """The target drivers of a program; backends that name a driver with options of its own share it."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._conf = conf
        self._shared: dict[str, Target] = {}
        self._made: list[Target] = []

    def make(self, name: str) -> Target:
        """Make and check the target driver of the backend whose group has this name."""
        driver = self._conf[name].target_driver
        plugin = plugins.load(plugins.TARGETS, driver, f'Option target_driver in [{name}]')
        kernel_exports = getattr(plugin, 'IS_KERNEL', False) and self._conf[name].driver == 'rbd'
        if kernel_exports and self._conf.volume.cluster:
            raise errors.ConfigurationError(
                f'Option target_driver in [{name}]: of images of Ceph one worker alone can export with {driver}, and '
                'option cluster in [volume] is set. Set target_driver to tgt for several gateways, or to rbd for hosts '
                'that open images themselves; or leave cluster empty.'
            )
        target = self._shared.get(driver) or self._make(driver, plugin, name)
        if kernel_exports:
            kernel: Any = target
            try:
                kernel.check_images()
            except DriverError as exc:
                raise errors.ConfigurationError(
                    f'Option target_driver in [{name}] is {driver}, which cannot export images of Ceph: {exc}'
                ) from exc
        return target

    def _make(self, driver: str, plugin: Any, name: str) -> Target:
        target: Target = make_driver(self._conf, plugin, name)
        self._made.append(target)
        _check(target, plugins.get_group(plugin, name))
        if plugins.get_group(plugin, name) != name:
            self._shared[driver] = target
        return target

    def drivers(self) -> list[Target]:
        return list(self._made)

    def keep_alive(self) -> None:
        """See to what the targets need; call it from the main thread."""
        for target in self._made:
            target.keep_alive()

    def stop(self) -> None:
        while self._made:
            self._made.pop().close()


def make_driver(conf: cfg.ConfigOpts, plugin: Any, group: str) -> Any:
    """Make a driver of its options.

    :param plugin: what its entry point names.
    :param group: group of the option that names it.
    :raises ConfigurationError: the message names the group, and the option where that is known.
    """
    options = plugins.read_options(conf, plugin, group)
    section = plugins.get_group(plugin, group)
    try:
        return plugin.from_options(options, plugins.Surroundings(section, conf.host, pathlib.Path(conf.state_path)))
    except (DriverError, OSError) as exc:
        raise errors.ConfigurationError(f'[{section}] {exc}') from exc


def _check(driver: Backend | Target, section: str) -> None:
    try:
        driver.check()
    except DriverError as exc:
        raise errors.ConfigurationError(f'[{section}] {exc}') from exc


def make_backend(conf: cfg.ConfigOpts, name: str) -> Backend:
    """Make and check the storage backend whose group has this name.

    :raises ConfigurationError: the message names the group and the option.
    """
    plugin = _load_backend(conf, name)
    backend: Backend = make_driver(conf, plugin, name)
    _check(backend, plugins.get_group(plugin, name))
    return backend


def _load_backend(conf: cfg.ConfigOpts, name: str) -> Any:
    group = volume_conf.register_backend(conf, name)
    for opt in volume_conf.BACKEND_OPTS:
        try:
            group[opt.dest]
        except ValueError as exc:
            raise errors.ConfigurationError(f'Option {opt.name} in [{name}]: {exc}') from exc
    return plugins.load(plugins.BACKENDS, group.driver, f'Option driver in [{name}]')


def ask_storage(conf: cfg.ConfigOpts, name: str) -> bool:
    """Check a backend whose storage, or target, is elsewhere, or in the kernel; of others the worker alone can tell.

    :returns: whether it was asked.
    :raises ConfigurationError: it cannot be used.
    """
    is_remote = bool(getattr(_load_backend(conf, name), 'IS_REMOTE', False))
    if is_remote:
        make_backend(conf, name)
    option = f'Option target_driver in [{name}]'
    plugin = plugins.load(plugins.TARGETS, conf[name].target_driver, option)
    if not any(getattr(plugin, kind, False) for kind in ('IS_REMOTE', 'IS_KERNEL')):
        return is_remote
    TargetDrivers(conf).make(name)
    return True


def make_volume_workers(
    conf: cfg.ConfigOpts,
    db: Database,
    rpc: messaging.Transport,
    targets: TargetDrivers,
    coordinator: coordination.CoordinationDriver,
) -> list[VolumeWorker]:
    """Make the worker of each enabled backend."""
    names = conf.volume.enabled_backends
    if not names or len(set(names)) != len(names):
        raise errors.ConfigurationError('Option enabled_backends in [volume] must name backends, each once.')
    try:
        client = nova.load_client(conf)
    except Exception as exc:
        raise errors.ConfigurationError(f'Option auth_type and those that go with it in [nova]: {exc}') from exc
    events = NovaEvents(client) if client is not None else None
    locks, turns = VolumeLocks(coordinator), Turns(conf.volume.max_active_steps)
    made = {f'{conf.volume.cluster or conf.host}@{name}': make_backend(conf, name) for name in names}
    renamed = StorageNames(list_renamed(db))
    backends = {serves: renamed.wrap_backend(backend) for serves, backend in made.items()}
    workshop = images.make_workshop(conf)
    workers = []
    for name in names:
        group = conf[name]
        host, serves = f'{conf.host}@{name}', f'{conf.volume.cluster or conf.host}@{name}'
        backend = backends[serves]
        driver = targets.make(name)
        if (learn := getattr(driver, 'learn_devices', None)) is not None and not getattr(backend, 'IS_REMOTE', False):
            learn(made[serves].path)  # drivers understand each other
        target, membership = gateways.make_gateway(
            conf, db, rpc, gateways.Place(serves, host), backend, renamed.wrap_target(driver)
        )
        crew = Crew(coordinator, f'volume.{serves}')
        leases = StepLeases(
            db, make_lease_rules(conf), 'volume', crew.me, crew.is_gone, WORKER_STEPS, is_alone=not conf.volume.cluster
        )
        epoch = Epoch(Epochs(db), serves, pathlib.Path(conf.state_path, 'epochs', f'{quote(serves, safe="@")}.json'))
        actor = Actor(f'volume:{host}')
        fencer = Fencer(FencePlans(db, actor), target, locks, leases)
        exporter = Exporter(Exports(db, actor), backend, target, locks, serves, leases, fencer, turns)
        agents = HostAgents(rpc, conf.rpc_response_timeout)
        snapshots = SnapshotSteps(SnapshotRows(db, serves), backend, target, locks, leases)
        copies = ImageSteps(ImageCopies(db, serves), backend, locks, leases, workshop, events)
        storage = StorageSteps(
            Storage(db, serves), backend, target, locks, agents, leases, SlowWork(snapshots, copies), events
        )
        check = None
        if client is not None and conf.reconcile.nova_servers:
            check = NovaCheck(NovaServers(client), conf.reconcile.nova_servers)
        reconciler = VolumeReconciler(
            Reconciliation(db, actor),
            exporter,
            target,
            locks,
            serves,
            (make_rules(conf), conf.reconcile.interval),
            check,
            epoch,
        )
        reconciler.storage = keep_storage(db, serves, backend, storage, renamed.find)
        keeper = keep_entries(db, serves, (backend, target), reconciler, renamed)
        if membership is not None and reconciler.ceph is not None:
            reconciler.ceph.list_servants = membership.rows.list_users
        capabilities = {'volume_backend_name': name, **group.capabilities, 'multiattach': group.multiattach}
        workers.append(
            VolumeWorker(
                Presence(db, host, conf.storage_availability_zone, conf.report_interval),
                rpc,
                crew,
                leases,
                Offer(backend, capabilities, group.max_over_subscription_ratio),
                Duties(
                    serves,
                    exporter,
                    fencer,
                    Inspection(target),
                    ReservationSteps(target, locks),
                    storage,
                    snapshots,
                    reconciler,
                    epoch,
                    Migrations(
                        MigrationRows(db, serves),
                        serves,
                        backends,
                        locks,
                        leases,
                        VolumeWorkers(rpc, conf.rpc_response_timeout),
                    ),
                    keeper,
                    membership,
                ),
            )
        )
        if serves != host and getattr(driver, 'IS_KERNEL', False):
            workers[-1].check_kernel = functools.partial(
                kernels.check, conf, db, serves, host, driver, workers[-1].beat
            )
    return workers


def keep_storage(
    db: Database, serves: str, backend: Backend, steps: StorageSteps, find_name: Callable[[str], str] = str
) -> StorageAccounts | None:
    """Make what compares a backend's storage with the rows; None for a driver that cannot tell what it has."""
    parts: list[SnapshotAccounts | VolumeAccounts] = []
    if hasattr(backend, 'list_snapshots'):
        parts.append(SnapshotAccounts(SnapshotRows(db, serves), backend, serves))
    if hasattr(backend, 'list_storage'):
        parts.append(VolumeAccounts(Storage(db, serves), backend, serves, steps.remnants.is_at, find_name))
    return StorageAccounts(parts, steps.remnants) if parts else None


def keep_entries(
    db: Database, serves: str, drivers: Collection[Backend | Target], reconciler: VolumeReconciler, names: StorageNames
) -> BlocklistKeeper | None:
    """Have the drivers' entries in Ceph's blocklist written down, and looked after; None if there is no Ceph."""
    pools = [pool for pool in (getattr(driver, 'pool', None) for driver in drivers) if pool is not None]
    if not pools:
        return None
    rows = BlocklistRows(db, serves)
    for pool in pools:
        pool.book = names.wrap_book(rows)
    keeper = BlocklistKeeper(rows, pools[0])
    reconciler.ceph = CephAccounts(Reconciliation(db, Actor(f'volume:{serves}')), rows, keeper, pools[0], serves)
    reconciler.ceph.find_name = names.find
    return keeper


def make_rules(conf: cfg.ConfigOpts) -> DriftRules:
    """Read what is to be done about drift."""
    group = conf.reconcile
    return DriftRules(
        group.actions,
        group.graces,
        group.reservation_age,
        group.stuck_after,
        group.most_at_once,
        group.most_percent,
        group.window,
    )
