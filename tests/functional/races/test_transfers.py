# SPDX-License-Identifier: Apache-2.0
"""A key that many have: one gets the volume."""

from multiattach.domain import errors
from tests import contexts
from tests.functional.races.test_attachments import at_once, split


def test_of_16_who_accept_at_once_one_gets_the_volume(deployed):
    volume_id = deployed.make_volume()
    transfer, key = deployed.engine.transfers.create(deployed.ctx, volume_id, None)
    projects = [f'{number:032x}' for number in range(16)]

    def accept(number):
        deployed.engine.transfers.accept(contexts.make_context(project=projects[number]), transfer.id, key)
        return projects[number]

    won, failed = split(at_once(16, accept))
    assert len(won) == 1
    assert {type(one) for one in failed} == {errors.NotFound}
    assert deployed.engine.volumes.show(deployed.ctx, volume_id).project_id == won[0]


def test_who_accepts_and_who_withdraws_at_once(deployed):
    receiver = contexts.make_context(project='b' * 32)
    for _ in range(8):
        volume_id = deployed.make_volume()
        transfer, key = deployed.engine.transfers.create(deployed.ctx, volume_id, None)
        calls = (
            lambda t=transfer, k=key: deployed.engine.transfers.accept(receiver, t.id, k).id,
            lambda t=transfer: deployed.engine.transfers.delete(deployed.ctx, t.id),
        )
        won, failed = split(at_once(2, lambda number, calls=calls: calls[number]()))
        assert (len(won), len(failed)) == (1, 1)
        owner = deployed.engine.volumes.show(deployed.ctx, volume_id).project_id
        assert owner == ('b' * 32 if won[0] is not None else deployed.ctx.project)
        assert deployed.status(volume_id) == 'available'
