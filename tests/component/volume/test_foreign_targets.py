# SPDX-License-Identifier: Apache-2.0
"""Targets of the kernel that Cinder made are nobody's left-overs, whatever the operator has repaired by itself."""

import uuid

import pytest

from multiattach.domain.drift import Action, Drift
from multiattach.domain.findings import DriftRules
from multiattach.drivers.targets.lio.target import LioTarget
from tests.deployments import embedded
from tests.unit.drivers.targets.lio.kernel import Kernel

IQN = 'iqn.2010-10.org.openstack:volume-'
HOST = 'iqn.1994-05.com.example:h1'


@pytest.fixture
def kernel(tmp_path):
    return Kernel(tmp_path)


@pytest.fixture
def deployed(kernel, tmp_path):
    target = LioTarget(kernel, portal='192.0.2.1:3260', reservations_dir=tmp_path / 'reservations')
    rules = DriftRules(dict.fromkeys((Drift.NO_VOLUME, Drift.UNUSED, Drift.LEFTOVER), Action.REPAIR))
    with embedded.deploy(tmp_path, target, rules=rules, report_interval=3600) as made:
        made.make_type()
        # One that the database names: of others it is believed then that they are left over.
        connector = {'host': 'h9', 'initiator': 'iqn.1994-05.com.example:h9'}
        made.engine.attachments.create(made.ctx, made.make_volume('multi'), str(uuid.uuid4()), connector, None)
        yield made


def make_target(kernel, volume_id, lun):
    """As cinder-rtstool does, or this service: its first logical unit is 0, or 1."""
    group = kernel.root / 'iscsi' / f'{IQN}{volume_id}' / 'tpgt_1'
    group.parent.mkdir()
    for folder in (group, group / 'lun' / f'lun_{lun}', group / 'acls' / HOST):
        kernel.make(folder)
    for file, text in (('enable', '1'), ('attrib/generate_node_acls', '0'), (f'acls/{HOST}/info', 'No active')):
        (group / file).write_text(text)
    return group


def look(deployed):
    for _ in range(3):
        found = deployed.reconciler.run(fix=True)
    return [(one.kind, one.outcome, 'such as Cinder' in str(one.error)) for one in found]


def test_of_a_volume_that_is_not_recorded(deployed, kernel):
    group = make_target(kernel, str(uuid.uuid4()), 0)
    assert look(deployed) == [(Drift.NO_VOLUME, 'waiting', True)]
    assert (group / 'acls' / HOST).is_dir()


def test_one_of_this_services_own_making_goes(deployed, kernel):
    group = make_target(kernel, str(uuid.uuid4()), 1)
    look(deployed)
    assert not group.exists()
