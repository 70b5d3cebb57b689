# SPDX-License-Identifier: Apache-2.0
"""The parts of a host agent, made from its configuration."""

import pathlib

import oslo_messaging as messaging
from oslo_config import cfg
from tooz import coordination

from multiattach.cmd import parts, places
from multiattach.coordination import Crew
from multiattach.db.database import Database
from multiattach.db.transitions import Actor
from multiattach.drivers.connectors.base import HostConnector
from multiattach.drivers.connectors.brick import BrickConnector
from multiattach.drivers.connectors.qemu import QemuConnector
from multiattach.drivers.hypervisors.libvirt.hypervisor import LibvirtHypervisor
from multiattach.host.agent import HostAgent
from multiattach.host.service import HostService
from multiattach.rpc.clients import VolumeWorkers
from multiattach.steps.host_attachments import HostAttachments
from multiattach.steps.leases import AGENT_STEPS, StepLeases
from multiattach.steps.orders import Orders
from multiattach.steps.reconciliation import Reconciliation


def _make_connector(conf: cfg.ConfigOpts) -> HostConnector:
    group = conf.host_agent
    if group.connector == 'qemu':
        places.check_iqn_prefix('Option initiator_prefix in [host_agent]', group.initiator_prefix)
        return QemuConnector(conf.host, group.my_ip, initiator_prefix=group.initiator_prefix)
    lock_path = pathlib.Path(conf.state_path, 'os-brick')
    lock_path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return BrickConnector(conf.host, group.my_ip, lock_path=str(lock_path), step_timeout=group.connect_timeout)


def make_host_agent(
    conf: cfg.ConfigOpts, db: Database, rpc: messaging.Transport, coordinator: coordination.CoordinationDriver
) -> HostService:
    """Make the agent of this host.

    :returns: the agent's service, not started.
    """
    group = conf.host_agent
    timeout = conf.rpc_response_timeout
    orders = Orders(db, VolumeWorkers(rpc, timeout, conf.rpc_monitor_timeout), timeout)
    side = HostAttachments(db, orders, conf.host)
    crew = Crew(coordinator, 'host')
    leases = StepLeases(db, parts.make_lease_rules(conf), 'host', crew.me, crew.is_gone, AGENT_STEPS, is_alone=True)
    agent = HostAgent(
        side,
        LibvirtHypervisor(group.libvirt_uri, detach_timeout=group.detach_timeout, timeout=group.libvirt_timeout),
        _make_connector(conf),
        conf.host,
        leases,
        project_id=group.project_id,
        reconciling=(Reconciliation(db, Actor(f'host:{conf.host}')), parts.make_rules(conf), conf.reconcile.interval),
    )
    return HostService(
        db, rpc, conf.host, conf.storage_availability_zone, agent, side, crew, leases, conf.report_interval
    )
