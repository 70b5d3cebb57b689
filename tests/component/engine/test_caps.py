# SPDX-License-Identifier: Apache-2.0
"""Caps of a type and quotas of a project, enforced in the transaction that inserts."""

import concurrent.futures
import threading
import uuid

import pytest

from multiattach.domain import errors
from multiattach.engine.legacy import LegacyAttach
from tests.deployments import embedded

PROJECT = 'a' * 32
CAP = 'multiattach:max_attachments'


def reserve(deployed, volume_id, server=None):
    return deployed.engine.attachments.create(deployed.ctx, volume_id, server or str(uuid.uuid4()), None, None).id


def make_type(deployed, cap):
    deployed.engine.types.create(deployed.ctx, 'capped', None, True, {'multiattach': '<is> True', CAP: cap})


def race(deployed, volume_ids):
    """One reservation of each volume, all at once; return how many were refused, by error."""
    gate = threading.Barrier(len(volume_ids))

    def run(volume_id):
        gate.wait()
        try:
            reserve(deployed, volume_id)
        except errors.MultiattachError as exc:
            return type(exc)
        return None

    with concurrent.futures.ThreadPoolExecutor(len(volume_ids)) as pool:
        return [found for found in pool.map(run, volume_ids) if found is not None]


@pytest.mark.parametrize('value', ['0', '-1', 'x', '', '1.5', '٣', str(2**31)])
def test_a_cap_that_is_no_number_is_refused_when_it_is_set(deployed, value):
    with pytest.raises(errors.InvalidInput, match='max_attachments'):
        make_type(deployed, value)
    kept = deployed.make_type()
    with pytest.raises(errors.InvalidInput, match='max_attachments'):
        deployed.engine.types.set_specs(deployed.ctx, kept, {CAP: value})


def test_the_cap_of_a_type(deployed):
    make_type(deployed, '2')
    volume_id = deployed.make_volume('capped')
    first, second = str(uuid.uuid4()), str(uuid.uuid4())
    idents = [reserve(deployed, volume_id, server) for server in (first, second)]
    with pytest.raises(errors.InvalidVolume, match='the most that it may have is 2') as caught:
        reserve(deployed, volume_id)
    assert caught.value.code == 400
    # The other half of a migration takes no further place.
    again = reserve(deployed, volume_id, first)
    for ident in (idents[0], again):
        deployed.engine.attachments.delete(deployed.ctx, ident)
    reserve(deployed, volume_id)


def test_the_default_of_the_configuration_and_the_type_before_it(tmp_path):
    settings = {('DEFAULT', 'max_attachments_per_volume'): 1}
    with embedded.deploy(tmp_path, settings=settings) as deployed:
        make_type(deployed, '2')
        deployed.make_type()
        for name, most in (('multi', 1), ('capped', 2)):
            volume_id = deployed.make_volume(name)
            for _ in range(most):
                reserve(deployed, volume_id)
            with pytest.raises(errors.InvalidVolume, match=f'is {most} '):
                reserve(deployed, volume_id)


def test_no_race_gets_past_a_cap(deployed):
    make_type(deployed, '3')
    volume_id = deployed.make_volume('capped')
    assert race(deployed, [volume_id] * 8) == [errors.InvalidVolume] * 5


def test_the_quota_of_a_project(deployed):
    deployed.make_type()
    volumes = [deployed.make_volume('multi') for _ in range(2)]
    server = str(uuid.uuid4())
    quotas = deployed.engine.quotas
    assert quotas.show(deployed.ctx, PROJECT).limits['attachments'] == -1
    quotas.update_class(deployed.ctx, 'default', {'attachments': 1})
    quotas.update(deployed.ctx, PROJECT, {'attachments': 2})
    kept = reserve(deployed, volumes[0], server)
    reserve(deployed, volumes[1], server)
    with pytest.raises(errors.QuotaExceeded, match="quota 'attachments'") as caught:
        reserve(deployed, volumes[0])
    assert caught.value.code == 413
    reserve(deployed, volumes[0], server)  # a migration
    assert quotas.show(deployed.ctx, PROJECT).in_use['attachments'] == 2
    with pytest.raises(errors.InvalidInput, match='below what is in use'):
        quotas.update(deployed.ctx, PROJECT, {'attachments': 1})
    quotas.update(deployed.ctx, PROJECT, {'attachments': -1})
    reserve(deployed, volumes[0])
    deployed.engine.attachments.delete(deployed.ctx, kept)
    quotas.delete(deployed.ctx, PROJECT)
    with pytest.raises(errors.QuotaExceeded):  # what the class says
        reserve(deployed, volumes[0])


def test_no_race_over_several_volumes_gets_past_a_quota(deployed):
    deployed.make_type()
    volumes = [deployed.make_volume('multi') for _ in range(4)]
    deployed.engine.quotas.update(deployed.ctx, PROJECT, {'attachments': 3})
    assert race(deployed, volumes * 2) == [errors.QuotaExceeded] * 5


def test_a_fenced_attachment_takes_no_place(deployed):
    make_type(deployed, '1')
    volume_id = deployed.make_volume('capped')
    deployed.engine.quotas.update(deployed.ctx, PROJECT, {'attachments': 1})
    ident = reserve(deployed, volume_id)
    deployed.engine.fences.fence_attachment(deployed.ctx, ident)
    reserve(deployed, volume_id)


def test_legacy_actions_do_not_get_past_it(deployed):
    make_type(deployed, '1')
    volume_id = deployed.make_volume('capped')
    reserve(deployed, volume_id)
    with pytest.raises(errors.InvalidVolume, match='the most that it may have is 1'):
        deployed.engine.legacy.initialize_connection(
            deployed.ctx, volume_id, {'host': 'one', 'initiator': 'iqn.1994-05.com.redhat:one'}
        )
    with pytest.raises(errors.InvalidVolume, match='the most that it may have is 1'):
        deployed.engine.legacy.attach(deployed.ctx, volume_id, LegacyAttach('/dev/vdb', str(uuid.uuid4())))
