# SPDX-License-Identifier: Apache-2.0
"""All use cases, put together once per process."""

import dataclasses
from collections.abc import Mapping

from multiattach.db.database import Database
from multiattach.engine.actions import VolumeActions
from multiattach.engine.attachments import Attachments
from multiattach.engine.default_types import DefaultTypes
from multiattach.engine.encryptions import Encryptions
from multiattach.engine.guard import Compute, Guard
from multiattach.engine.legacy import LegacyActions
from multiattach.engine.messages import Messages
from multiattach.engine.policy import Policy
from multiattach.engine.quotas import Quotas
from multiattach.engine.servers import Servers
from multiattach.engine.services import Services
from multiattach.engine.settings import VolumeSettings
from multiattach.engine.type_access import TypeAccess
from multiattach.engine.types import Types
from multiattach.engine.volumes import Volumes
from multiattach.rpc.clients import HostAgents, VolumeWorkers


@dataclasses.dataclass(frozen=True)
class Engine:
    """The use cases by noun, as the API calls them."""

    db: Database
    policy: Policy
    attachments: Attachments
    actions: VolumeActions
    messages: Messages
    default_types: DefaultTypes
    encryptions: Encryptions
    legacy: LegacyActions
    quotas: Quotas
    servers: Servers
    services: Services
    settings: VolumeSettings
    type_access: TypeAccess
    types: Types
    volumes: Volumes


def make_engine(db: Database, policy: Policy, workers: VolumeWorkers, agents: HostAgents, *,
                down_time: float, default_type: str, default_quotas: Mapping[str, int],
                compute: Compute | None = None) -> Engine:
    """Put the use cases together.

    :param db: the database.
    :param policy: the rules.
    :param workers: RPC client of the volume workers.
    :param agents: RPC client of the host agents.
    :param down_time: seconds without a heartbeat after which a service counts as down.
    :param default_type: name of the default volume type.
    :param default_quotas: limits of projects by resource; -1 for unlimited.
    :param compute: the compute service to ask, if there is one.
    :returns: the use cases.
    """
    services = Services(db, policy, down_time)
    types = Types(db, policy, default_type)
    guard = Guard(compute)
    quotas = Quotas(db, policy, default_quotas)
    attachments = Attachments(db, policy, workers, guard)
    return Engine(
        db=db, policy=policy, attachments=attachments,
        actions=VolumeActions(db, policy, services, quotas, workers),
        default_types=DefaultTypes(db, policy), encryptions=Encryptions(db, policy),
        legacy=LegacyActions(db, policy, attachments, guard, workers),
        messages=Messages(db, policy), quotas=quotas,
        settings=VolumeSettings(db, policy, workers), type_access=TypeAccess(db, policy),
        servers=Servers(db, policy, attachments, services, agents, workers),
        services=services, types=types,
        volumes=Volumes(db, policy, types, services, quotas, workers))
