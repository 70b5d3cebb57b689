# SPDX-License-Identifier: Apache-2.0
"""The gateway of a worker in a cluster whose members export the same images."""

import dataclasses
from typing import Any

import oslo_messaging as messaging
from oslo_config import cfg

from multiattach.db.database import Database
from multiattach.domain import errors
from multiattach.drivers.backends.base import Backend
from multiattach.drivers.ceph.exclusion import Exclusion
from multiattach.drivers.targets.base import Target
from multiattach.rpc.clients import GatewayPeers
from multiattach.steps.gateways import GatewayRows
from multiattach.volume.gateway_losses import GatewayLosses
from multiattach.volume.gateways import GatewayTarget
from multiattach.volume.own_gateway import GatewayEndpoint, OwnGateway
from multiattach.volume.worker import Membership

_TIMEOUT = 4.0  # s; a fence is to have its proof soon, and whoever gives no answer is shut out
_WAY = 1.0  # s that an order and its answer may be on their way


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a worker stands.

    :param serves: name of the backend, ``cluster@backend``.
    :param host: of the worker, ``host@backend``.
    """

    serves: str
    host: str


def make_gateway(
    conf: cfg.ConfigOpts, db: Database, rpc: messaging.Transport, place: Place, backend: Backend, target: Any
) -> tuple[Target, Membership | None]:
    """Make the target of all gateways, if the backend's members are gateways.

    :param target: a :class:`Target`; one whose class has ``IS_GATEWAY`` is a :class:`GatewayDaemon`.
    :returns: the target for a worker's steps, and its part in the cluster; None if it exports alone.
    :raises ConfigurationError: tgtd would restore targets by itself.
    """
    pool = getattr(backend, 'pool', None)
    if not conf.volume.cluster or pool is None or not getattr(target, 'IS_GATEWAY', False):
        return target, None
    if not getattr(target, 'is_private', False) and target.list_files() is not None:
        raise errors.ConfigurationError(
            'Option volumes_dir in [tgt] must be empty for a gateway whose tgtd is not private: a tgtd that restores '
            'targets by itself would serve hosts that were cut off meanwhile.'
        )
    rows = GatewayRows(db, place.serves, place.host)
    peers = GatewayPeers(rpc, _TIMEOUT + _WAY)
    losses = GatewayLosses(rows, Exclusion(pool), target, peers, conf.volume.gateway_timeout)
    own = OwnGateway(target, backend, rows, _TIMEOUT)
    made = GatewayTarget(own, rows, peers, losses, conf.service_down_time)
    return made, Membership(rows, losses, GatewayEndpoint(own))
