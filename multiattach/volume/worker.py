# SPDX-License-Identifier: Apache-2.0
"""The worker of one backend: RPC endpoints, heartbeat, and taking up what was left."""

import dataclasses
import datetime
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import oslo_messaging as messaging
from oslo_log import log

from multiattach import signals
from multiattach.coordination import Crew
from multiattach.db import models
from multiattach.domain import connection, errors
from multiattach.domain.services import VOLUME_BINARY
from multiattach.drivers.backends.base import Backend
from multiattach.drivers.errors import DriverError
from multiattach.rpc import clients, transport
from multiattach.steps.gateways import GatewayRows
from multiattach.steps.leases import StepLeases
from multiattach.trouble import Trouble
from multiattach.volume.blocklist import BlocklistKeeper
from multiattach.volume.epoch import Epoch
from multiattach.volume.exporter import Exporter
from multiattach.volume.fencing import Fencer
from multiattach.volume.gateway_losses import GatewayLosses
from multiattach.volume.inspection import Inspection
from multiattach.volume.migrations import Migrations
from multiattach.volume.own_gateway import GatewayEndpoint
from multiattach.volume.reconciler import VolumeReconciler
from multiattach.volume.reservations import ReservationSteps
from multiattach.volume.snapshots import SnapshotSteps
from multiattach.volume.storage import StorageSteps
from multiattach.worker import Presence, Round, Worker

LOG = log.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Membership:
    """The part of a worker in a cluster whose members are gateways."""

    rows: GatewayRows
    losses: GatewayLosses
    endpoint: GatewayEndpoint


@dataclasses.dataclass(frozen=True)
class Duties:
    """What the worker of a backend does.

    :param serves: name of the backend, which its volumes carry: the worker's own, or ``cluster@backend``.
    :param blocklist: of the Ceph that the volumes are in, None for others.
    """

    serves: str
    exporter: Exporter
    fencer: Fencer
    inspection: Inspection
    reservations: ReservationSteps
    storage: StorageSteps
    snapshots: SnapshotSteps
    reconciler: VolumeReconciler
    epoch: Epoch
    migrations: Migrations
    blocklist: BlocklistKeeper | None = None
    membership: Membership | None = None


class FenceEndpoint:
    """What volume workers answer to in threads that do nothing else; every method carries ids only."""

    target = messaging.Target(version=clients.VERSION)

    def __init__(self, fencer: Fencer) -> None:
        self._fencer = fencer

    @messaging.expose
    @messaging.expected_exceptions(errors.MultiattachError)
    def fence(self, context: Any, volume_id: str, attachment_id: str) -> dict[str, Any]:
        """Cut an attachment's initiator off (since 1.2)."""
        return self._fencer.fence(volume_id, attachment_id)

    @messaging.expose
    @messaging.expected_exceptions(errors.MultiattachError)
    def fence_many(self, context: Any, orders: list[list[str]]) -> dict[str, dict[str, Any]]:
        """Cut the initiators of many attachments off (since 1.2).

        :param orders: pairs of the volume's and the attachment's UUID.
        """
        return self._fencer.fence_many(orders)


class VolumeEndpoint(FenceEndpoint):
    """What volume workers answer to over RPC; every method carries ids only."""

    def __init__(self, duties: Duties) -> None:
        super().__init__(duties.fencer)  # for APIs of the release before, which ask here
        self._exporter = duties.exporter
        self._inspection = duties.inspection
        self._reservations = duties.reservations
        self._storage = duties.storage
        self._snapshots = duties.snapshots
        self._migrations = duties.migrations
        self._reconciler = duties.reconciler

    @messaging.expose
    def create_volume(self, context: Any, volume_id: str) -> None:
        self._storage.create(volume_id)

    @messaging.expose
    def delete_volume(self, context: Any, volume_id: str) -> None:
        self._storage.delete(volume_id)

    @messaging.expose
    def extend_volume(self, context: Any, volume_id: str) -> None:
        self._storage.extend(volume_id)

    @messaging.expose
    def create_snapshot(self, context: Any, snapshot_id: str) -> None:
        """Take a snapshot (since 1.6)."""
        self._snapshots.create(snapshot_id)

    @messaging.expose
    def delete_snapshot(self, context: Any, snapshot_id: str) -> None:
        """Delete a snapshot (since 1.6)."""
        self._snapshots.delete(snapshot_id)

    @messaging.expose
    def revert_volume(self, context: Any, volume_id: str) -> None:
        """Revert a volume to its snapshot in ``restoring`` (since 1.6)."""
        self._snapshots.revert(volume_id)

    @messaging.expose
    def copy_image(self, context: Any, volume_id: str) -> None:
        """Copy what the row of a volume in ``downloading`` or ``uploading`` says (since 1.6)."""
        self._storage.copy_image(volume_id)

    @messaging.expose
    def migrate_volume(self, context: Any, migration_id: str) -> None:
        self._migrations.begin(migration_id)

    @messaging.expose
    def manage_volume(self, context: Any, volume_id: str) -> None:
        self._storage.manage(volume_id)

    @messaging.expose
    def unmanage_volume(self, context: Any, volume_id: str) -> None:
        self._storage.unmanage(volume_id)

    @messaging.expose
    @messaging.expected_exceptions(errors.MultiattachError)
    def list_manageable(self, context: Any) -> list[dict[str, Any]]:
        """Tell what the storage has (since 1.6)."""
        return self._storage.managed.list()

    @messaging.expose
    @messaging.expected_exceptions(errors.MultiattachError)
    def find_manageable(self, context: Any, name: str) -> dict[str, Any]:
        """Look at something that the storage has (since 1.6)."""
        return self._storage.managed.find(name)

    @messaging.expose
    @messaging.expected_exceptions(errors.MultiattachError)
    def list_manageable_snapshots(self, context: Any) -> list[dict[str, Any]]:
        """Tell what snapshots the storage has (since 1.6)."""
        return self._snapshots.managed.list()

    @messaging.expose
    @messaging.expected_exceptions(errors.MultiattachError)
    def find_manageable_snapshot(self, context: Any, volume_id: str, name: str) -> dict[str, Any]:
        """Look at something that may become a snapshot of a volume (since 1.6)."""
        return self._snapshots.managed.find(volume_id, name)

    @messaging.expose
    @messaging.expected_exceptions(errors.MultiattachError)
    def export(self, context: Any, volume_id: str, attachment_id: str) -> None:
        self._exporter.export(volume_id, attachment_id)

    @messaging.expose
    @messaging.expected_exceptions(errors.MultiattachError)
    def unexport(self, context: Any, volume_id: str, attachment_id: str) -> bool:
        """Turn an attachment's initiator away.

        :returns: whether the volume is known to have no other attachment; workers of the release before do not say.
        """
        return self._exporter.unexport(volume_id, attachment_id)

    @messaging.expose
    @messaging.expected_exceptions(errors.MultiattachError)
    def show_target(self, context: Any, volume_id: str) -> dict[str, Any] | None:
        """Tell what a volume's target really has (since 1.1)."""
        return self._inspection.show(volume_id)

    @messaging.expose
    @messaging.expected_exceptions(errors.MultiattachError)
    def list_targets(self, context: Any, marker: str | None, limit: int) -> list[dict[str, Any]]:
        """Tell what targets there really are (since 1.1)."""
        return self._inspection.list_page(marker, limit)

    @messaging.expose
    @messaging.expected_exceptions(errors.MultiattachError)
    def show_reservations(self, context: Any, volume_id: str) -> dict[str, Any]:
        """Tell who is registered at a volume (since 1.7)."""
        return self._reservations.show(volume_id)

    @messaging.expose
    @messaging.expected_exceptions(errors.MultiattachError)
    def clear_reservations(self, context: Any, volume_id: str, initiators: list[str] | None) -> dict[str, Any]:
        """End the registrations of initiators, all for None (since 1.7)."""
        return self._reservations.clear(volume_id, initiators)

    @messaging.expose
    @messaging.expected_exceptions(errors.MultiattachError)
    def reconcile(self, context: Any, fix: bool) -> dict[str, Any]:
        """Tell where database, targets and Nova differ, and put it right if asked to (since 1.3)."""
        return self._reconciler.reconcile(fix)

    @messaging.expose
    @messaging.expected_exceptions(errors.MultiattachError)
    def release(self, context: Any, seals: Sequence[str]) -> dict[str, Any]:
        """Put it right, and let through the breaker what a person names (since 1.4).

        :param seals: names of all that waits for a person; those of others are left alone.
        """
        return self._reconciler.reconcile(True, seals)

    @messaging.expose
    @messaging.expected_exceptions(errors.MultiattachError)
    def list_findings(self, context: Any, volume_id: str) -> list[dict[str, Any]]:
        """Tell what the last look found of a volume, and of the backend as a whole (since 1.4)."""
        return self._reconciler.list_findings(volume_id)


_GATEWAY_PAUSE = 1.0  # s between two looks at the other gateways of the cluster
_WATCH_PAUSE = 0.5  # s between two looks whether the target daemon is still the same
# What extra specs of existing volume types ask for most often; vendor and protocol as LVM with tgt has them.
_CAPABILITIES = {'multiattach': True, 'vendor_name': 'Open Source', 'driver_version': '1.0'}


# As Cinder's drivers call them.
_STORAGE_PROTOCOLS = {connection.ISCSI: 'iSCSI', connection.RBD: 'ceph'}


@dataclasses.dataclass(frozen=True)
class Offer:
    """What is told of a backend, for the choice of one.

    :param capabilities: what extra specs are matched with, besides ``multiattach``.
    :param over_subscription: how many times the capacity may be promised.
    """

    backend: Backend
    capabilities: Mapping[str, Any]
    over_subscription: float

    def describe_snapshots(self) -> dict[str, Any] | None:
        """Tell of what volumes snapshots can be taken; None for a driver that takes none.

        :returns: ``in_use``: of those, too; ``grows_in_use``: such volumes can then be extended in use.
        """
        if not hasattr(self.backend, 'create_snapshot'):
            return None
        grows = getattr(self.backend, 'GROWS_IN_USE_WITH_SNAPSHOTS', True)
        return {'in_use': self.backend.can_snapshot_in_use(), 'grows_in_use': grows}


class VolumeWorker(Worker):
    binary = VOLUME_BINARY

    def __init__(
        self, presence: Presence, rpc: messaging.Transport, crew: Crew, leases: StepLeases, offer: Offer, duties: Duties
    ) -> None:
        super().__init__(presence, leases)
        self._rpc = rpc
        self._crew = crew
        self._offer = offer
        self._serves = duties.serves
        self._endpoint = VolumeEndpoint(duties)
        self._exporter = duties.exporter
        self._fencer = duties.fencer
        self._storage = duties.storage
        self._migrations = duties.migrations
        self._reconciler = duties.reconciler
        self._epoch = duties.epoch
        self._blocklist = duties.blocklist
        self._membership = duties.membership
        self._began = models.now()
        self._trouble = Trouble(LOG, f'The storage of {self._host}:')
        self._fenced_after: datetime.datetime | None = None  # None: whenever it was
        #: raises if another machine has the targets; reports this worker meanwhile
        self.check_kernel: Callable[[], None] | None = None
        self._is_starting = True

    def start(self) -> None:
        """Export again what is to be exported, then take calls, then take up what was left."""
        if self.check_kernel is not None:
            self.check_kernel()
            self._is_starting = False
            self.beat()  # before the targets are made, which may take long
        self._is_starting = False
        self._storage.start()
        self._migrations.start()
        self._crew.join()
        if self._membership is not None:
            self._membership.losses.on_return = self._exporter.forget
            self._membership.losses.register()
        self.watch()
        self.beat()
        pause, reconciler = self._presence.interval, self._reconciler
        endpoints = {clients.FENCE_TOPIC: FenceEndpoint(self._fencer), clients.VOLUME_TOPIC: self._endpoint}
        servers = [transport.make_server(self._rpc, topic, self._serves, one) for topic, one in endpoints.items()]
        if self._membership is not None:
            servers.append(
                transport.make_server(self._rpc, clients.GATEWAY_TOPIC, self._host, self._membership.endpoint)
            )
        self.serve(
            servers,
            (
                Round('tend', pause, (self.tend,)),
                # Apart, too: servers whose target daemon died wait for nothing else.
                Round('watch', min(pause, _WATCH_PAUSE), (self.watch,)),
                # Apart: until one that hangs is shut out, what it holds may land after what another path wrote.
                *(
                    [
                        Round('gateways', min(pause, _GATEWAY_PAUSE), (self.look_at_gateways,)),
                        Round('supply', min(pause, _GATEWAY_PAUSE), (self.supply_gateway,)),
                    ]
                    if self._membership
                    else ()
                ),
                *([Round('reconcile', reconciler.pause, (self.reconcile,))] if reconciler.pause else ()),
            ),
        )
        LOG.info('Volume worker %s is ready', self._host)

    def stop(self) -> None:
        self.end()
        self._migrations.stop()
        self._storage.stop()
        self._crew.leave()
        self._epoch.close()

    def report(self) -> dict[str, Any]:
        try:
            room = self._offer.backend.capacity()
        except DriverError as exc:
            self._trouble.note(str(exc))
            room = None
        else:
            self._trouble.end()
        signals.sink.backend(self._host, room is not None)
        thick = getattr(self._offer.backend, 'IS_THICK', False)
        return {
            'capabilities': {
                **_CAPABILITIES,
                'storage_protocol': _STORAGE_PROTOCOLS.get(self._exporter.protocol, self._exporter.protocol),
                'thin_provisioning_support': not thick,
                'thick_provisioning_support': thick,
                **self._offer.capabilities,
                **self._exporter.capabilities,  # nobody can say of a target what it cannot do
            },
            'max_over_subscription_ratio': self._offer.over_subscription,
            # Of gateways each has its own, and the rows say which of them a volume has.
            'portal': self._exporter.portal if self._membership is None and not self._is_starting else None,
            'gateway': self._membership is not None,
            'protocol': self._exporter.protocol,
            'cluster': self._serves if self._serves != self._host else None,
            'fences_apart': True,
            'kernel': self._exporter.kernel,
            'starting': self._is_starting,
            'snapshots': self._offer.describe_snapshots(),
            'reads': self._migrations.readable,
            'names': True,  # of storage that is named after another id than its volume
            'images': self._storage.takes_images,
            'thick': thick,
            'backend_state': 'down' if room is None else 'up',
            'total_capacity_gb': 0 if room is None else round(room.total_gb, 2),
            'free_capacity_gb': 0 if room is None else round(room.free_gb, 2),
        }

    def watch(self) -> None:
        """Export again at once when the target daemon was restarted."""
        self._exporter.watch(lambda: self._may_serve and self._epoch.check() is None)

    @property
    def _may_serve(self) -> bool:
        return self._membership is None or self._membership.rows.is_serving

    def look_at_gateways(self) -> None:
        """See who is lost."""
        assert self._membership is not None
        self._membership.losses.look()

    def supply_gateway(self) -> None:
        """Give this worker's own gateway what it lacks, which may have to wait for others' steps."""
        assert self._membership is not None
        self._membership.losses.note()
        if not self._may_serve or self._epoch.check() is not None:
            return
        for volume_id in self._membership.rows.list_unsettled():
            try:
                self._exporter.supply(volume_id)
            except errors.MultiattachError as exc:
                LOG.warning('Volume %s is not exported at this gateway: %s', volume_id, exc)

    def tend(self) -> None:
        """Notice a restarted target and carry on with what a crash or a lost message left.

        By an older copy of the database nobody is admitted again, who may have been fenced since; and no step
        is carried on with but those that were asked for since.
        """
        doubt = self._epoch.check()
        self._exporter.watch(lambda: doubt is None and self._may_serve)
        if self._crew.refresh():
            self._leases.orphan()
        self._storage.fail_unplaced()
        after = None if doubt is None else doubt.since
        self._storage.resume(self._crew.owns, after)
        self._exporter.resume(self._crew.owns, after)
        self._migrations.resume(self._crew.owns, after)
        # Whom a copy names as cut off may have been admitted since, also if the copy was accepted. Without
        # the file beside the targets nobody can tell: then only what this process has seen counts.
        if after is not None:
            self._fenced_after = after
        elif self._fenced_after is None and not self._epoch.is_sure:
            self._fenced_after = self._began
        self._fencer.watch(self._serves, self._fenced_after)
        if self._blocklist is not None and doubt is None:
            self._blocklist.tend(self._crew.owns)

    def reconcile(self) -> None:
        self._reconciler.tick(self._crew.owns)
