# SPDX-License-Identifier: Apache-2.0
"""All use cases, put together once per process."""

import dataclasses
from collections.abc import Mapping

from multiattach.db.database import Database
from multiattach.domain.findings import DriftRules
from multiattach.engine.actions import VolumeActions
from multiattach.engine.attachments import Attachments
from multiattach.engine.default_types import DefaultTypes
from multiattach.engine.doctor import Doctor
from multiattach.engine.encryptions import Encryptions
from multiattach.engine.explanations import Explanations
from multiattach.engine.fences import Fences
from multiattach.engine.guard import ComputeGuard, Guard
from multiattach.engine.hosts import ComputeHosts
from multiattach.engine.image_actions import ImageActions
from multiattach.engine.images import Images, ImageService
from multiattach.engine.legacy import LegacyActions
from multiattach.engine.manageable import ManageableVolumes
from multiattach.engine.manageable_snapshots import ManageableSnapshots
from multiattach.engine.messages import Messages
from multiattach.engine.migrations import VolumeMigrations
from multiattach.engine.policy import Policy
from multiattach.engine.qos_specs import QosSpecs
from multiattach.engine.quotas import Quotas
from multiattach.engine.reservations import Reservations
from multiattach.engine.servers import Servers
from multiattach.engine.services import Services
from multiattach.engine.settings import VolumeSettings
from multiattach.engine.snapshots import Snapshots
from multiattach.engine.targets import Targets
from multiattach.engine.transfers import Transfers
from multiattach.engine.truth import Witnesses
from multiattach.engine.type_access import TypeAccess
from multiattach.engine.types import Types
from multiattach.engine.volume_hosts import VolumeHosts
from multiattach.engine.volumes import Volumes
from multiattach.rpc.clients import HostAgents, VolumeWorkers
from multiattach.steps.orders import Orders


@dataclasses.dataclass(frozen=True)
class EngineSettings:
    """What an operator may change about the use cases; the programs fill it from their configuration.

    :param order_time: seconds that an order to a volume worker may take.
    :param down_time: seconds without a heartbeat after which a service counts as down.
    :param default_zone: availability zone of volumes for which none is asked, None for any.
    :param default_quotas: limits of projects by resource; -1 for unlimited.
    :param snapshot_gigabytes: the size of snapshots counts against the quota ``gigabytes``.
    :param max_attachments: servers that may have one multiattach volume, 0 for any number.
    :param force_upload: whether images may be made of volumes that are in use.
    """

    order_time: float
    down_time: float
    default_type: str
    default_zone: str | None
    default_quotas: Mapping[str, int]
    max_attachments: int
    snapshot_gigabytes: bool
    drift: DriftRules
    force_upload: bool = False


class Engine:
    """The use cases by noun, as the API calls them.

    :param compute: the compute service to ask, if there is one.
    :param image_service: where callers' images are, if there is one.
    """

    def __init__(
        self,
        db: Database,
        policy: Policy,
        workers: VolumeWorkers,
        agents: HostAgents,
        settings: EngineSettings,
        compute: ComputeGuard | None,
        image_service: ImageService | None = None,
    ) -> None:
        self.images = images = Images(image_service)
        guard = Guard(compute)
        self.db = db
        self.policy = policy
        self.default_types = DefaultTypes(db, policy)
        self.encryptions = Encryptions(db, policy)
        self.messages = Messages(db, policy)
        self.qos_specs = QosSpecs(db, policy)
        self.type_access = TypeAccess(db, policy)
        self.types = Types(db, policy, settings.default_type)
        self.quotas = Quotas(db, policy, settings.default_quotas, snapshot_gigabytes=settings.snapshot_gigabytes)
        self.transfers = Transfers(db, policy, self.quotas)
        self.volume_hosts = VolumeHosts(db, policy)
        self.services = services = Services(db, policy, settings.down_time)
        self.hosts = ComputeHosts(db, policy, services)
        self.targets = Targets(db, policy, services, workers)
        self.reservations = Reservations(db, policy, services, workers)
        self.doctor = Doctor(db, policy, services, workers, agents)
        self.fences = Fences(db, policy, services, workers, agents, settings.order_time)
        witnesses = Witnesses(db, workers, agents, settings.drift)
        self.explanations = Explanations(db, policy, services, self.hosts, witnesses)
        self.actions = VolumeActions(db, policy, services, self.quotas, workers)
        self.snapshots = Snapshots(db, policy, services, self.quotas, workers)
        self.image_actions = ImageActions(db, policy, workers, images, force_enabled=settings.force_upload)
        self.volumes = Volumes(db, policy, self.types, services, self.quotas, workers, images, settings.default_zone)
        self.manageable = ManageableVolumes(db, policy, self.types, services, self.quotas, workers)
        self.manageable_snapshots = ManageableSnapshots(db, policy, services, self.quotas, workers)
        self.migrations = VolumeMigrations(db, policy, services, workers)
        self.orders = orders = Orders(db, workers, settings.order_time)
        self.settings = VolumeSettings(db, policy, orders)
        self.attachments = Attachments(db, policy, orders, guard, self.quotas, settings.max_attachments)
        self.legacy = LegacyActions(db, policy, self.attachments, guard, orders)
        self.servers = Servers(db, policy, self.attachments, services, agents, orders)
