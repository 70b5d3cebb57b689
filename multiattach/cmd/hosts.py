# SPDX-License-Identifier: Apache-2.0
"""The parts of a host agent, made from its configuration."""

from typing import Any

import oslo_messaging as messaging
from oslo_config import cfg

from multiattach.cmd import parts
from multiattach.conf import plugins
from multiattach.db.database import Database
from multiattach.db.transitions import Actor
from multiattach.drivers.connectors.base import HostConnector
from multiattach.drivers.connectors.rbd import ConnectorChoice, RbdConnector
from multiattach.drivers.connectors.redirects import Redirects
from multiattach.drivers.hypervisors.base import Hypervisor
from multiattach.host.agent import HostAgent
from multiattach.host.detours import Detours
from multiattach.host.service import HostService
from multiattach.rpc.clients import VolumeWorkers
from multiattach.steps.host_attachments import HostAttachments
from multiattach.steps.host_gateways import HostGateways
from multiattach.steps.leases import AGENT_STEPS, StepLeases
from multiattach.steps.orders import Orders
from multiattach.steps.reconciliation import Reconciliation
from multiattach.worker import Presence


def make_host_agent(conf: cfg.ConfigOpts, db: Database, rpc: messaging.Transport) -> HostService:
    """Make the agent of this host."""
    hypervisor, connector = _make(conf, 'hypervisor', plugins.HYPERVISORS), _make(conf, 'connector', plugins.CONNECTORS)
    if not isinstance(connector, RbdConnector):
        connector = ConnectorChoice(connector, parts.make_driver(conf, RbdConnector, 'host_agent'))
    return assemble(conf, db, rpc, hypervisor, connector)


def assemble(
    conf: cfg.ConfigOpts, db: Database, rpc: messaging.Transport, hypervisor: Hypervisor, connector: HostConnector
) -> HostService:
    """Make the agent of this host with drivers that are there."""
    group = conf.host_agent
    timeout = conf.rpc_response_timeout
    orders = Orders(db, VolumeWorkers(rpc, timeout, conf.rpc_monitor_timeout), timeout)
    steps = HostAttachments(db, orders, conf.host)
    # A host has one agent: it needs to know of no other, and a thousand that watch each other cost a million looks.
    rules, name = parts.make_lease_rules(conf), f'host.{conf.host}'
    leases = StepLeases(db, rules, 'host', name, lambda _member: False, AGENT_STEPS, is_alone=True)
    agent = HostAgent(
        steps,
        hypervisor,
        connector,
        conf.host,
        leases,
        project_id=group.project_id,
        reconciling=(Reconciliation(db, Actor(f'host:{conf.host}')), parts.make_rules(conf), conf.reconcile.interval),
    )
    presence = Presence(db, conf.host, conf.storage_availability_zone, conf.report_interval)
    detours = Detours(conf.host, HostGateways(db), Redirects()) if group.redirect_gateways else None
    return HostService(presence, rpc, leases, agent, steps, detours=detours)


def _make(conf: cfg.ConfigOpts, option: str, namespace: str) -> Any:
    plugin = plugins.load(namespace, conf.host_agent[option], f'Option {option} in [host_agent]')
    return parts.make_driver(conf, plugin, 'host_agent')
