# SPDX-License-Identifier: Apache-2.0
"""A server that is gone from a real Nova, and volumes that it left; a person asks once."""

import uuid

from tests.functional.keystone.conftest import Cloud
from tests.nova_api.conftest import Compute
from tests.nova_api.test_guard import Use, attach


def examine(cloud: Cloud, *, fix: bool) -> list[tuple[str, str, str]]:
    reply = cloud('admin', 'POST', '/v3/multiattach/doctor', {'doctor': {'fix': fix}})
    assert reply.status == 200, reply
    assert reply.json['doctor']['unanswered'] == []
    return [(one['kind'], one['outcome'], one['attachment_id']) for one in reply.json['doctor']['findings']]


def of(use: Use, found: list[tuple[str, str, str]]) -> list[tuple[str, str]]:
    return [(kind, outcome) for kind, outcome, ident in found if ident == use.attachment]


def test_a_server_that_nova_deleted(cloud: Cloud, compute: Compute, volume: str, server: str) -> None:
    kept = attach(cloud, compute, cloud.make_volume(), compute.make_server('kept'))
    use = attach(cloud, compute, volume, server)
    assert of(use, examine(cloud, fix=True)) == []
    compute.delete_server(server)
    assert of(use, examine(cloud, fix=False)) == [('server_gone', 'found')]
    use.assert_kept()
    assert of(use, examine(cloud, fix=True)) == [('server_gone', 'repaired')]
    assert use.status is None
    assert not use.opens
    kept.assert_kept()
    assert of(use, examine(cloud, fix=False)) == []


def test_a_server_that_nova_never_had(cloud: Cloud, compute: Compute, volume: str) -> None:
    ident = cloud.reserve(volume, str(uuid.uuid4()))
    info = cloud.connect(ident)['connection_info']
    cloud.complete(ident)
    use = Use(cloud, '', volume, ident, info)
    assert of(use, examine(cloud, fix=True)) == [('server_unknown', 'reported')]
    use.assert_kept()
