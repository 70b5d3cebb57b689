# SPDX-License-Identifier: Apache-2.0
"""All use cases, put together once per process."""

import dataclasses

from multiattach.db.database import Database
from multiattach.engine.actions import VolumeActions
from multiattach.engine.attachments import Attachments
from multiattach.engine.guard import Compute, Guard
from multiattach.engine.messages import Messages
from multiattach.engine.policy import Policy
from multiattach.engine.servers import Servers
from multiattach.engine.services import Services
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
    servers: Servers
    services: Services
    types: Types
    volumes: Volumes


def make_engine(db: Database, policy: Policy, workers: VolumeWorkers, agents: HostAgents, *,
                down_time: float, default_type: str, compute: Compute | None = None) -> Engine:
    """Put the use cases together.

    :param db: the database.
    :param policy: the rules.
    :param workers: RPC client of the volume workers.
    :param agents: RPC client of the host agents.
    :param down_time: seconds without a heartbeat after which a service counts as down.
    :param default_type: name of the default volume type.
    :param compute: the compute service to ask, if there is one.
    :returns: the use cases.
    """
    services = Services(db, policy, down_time)
    types = Types(db, policy, default_type)
    attachments = Attachments(db, policy, workers, Guard(compute))
    return Engine(
        db=db, policy=policy, attachments=attachments,
        actions=VolumeActions(db, policy, services, workers),
        messages=Messages(db, policy),
        servers=Servers(db, policy, attachments, services, agents, workers),
        services=services, types=types,
        volumes=Volumes(db, policy, types, services, workers))
