# SPDX-License-Identifier: Apache-2.0
"""What random histories found, each in the fewest steps."""

import os
import signal
import uuid

import pytest

from multiattach.db import transitions
from multiattach.domain import errors
from multiattach.drivers.errors import TargetUnavailable
from multiattach.drivers.targets.tgt.process import PrivateTgtd
from multiattach.steps.orders import Orders
from tests.testbed.polling import wait_until
from tests.testbed.servers import pick_port


def test_a_create_that_fails_leaves_the_row_to_the_delete_that_came_between(deployed, monkeypatch):
    """It removed the row of a delete in work: that was answered with 409, and nobody cleaned the target."""
    deployed.make_type()
    volume = deployed.make_volume('multi')
    seen = []

    def export(_orders, order, _request_id):
        deployed.engine.attachments._begin_delete(deployed.ctx, order.attachment_id, asked=False)
        seen.append(order)
        raise errors.Conflict('The attachment was changed by another request meanwhile.')

    monkeypatch.setattr(Orders, 'export', export)
    deployed.worker.stop()  # nobody carries on meanwhile
    with pytest.raises(errors.Conflict):
        deployed.engine.attachments.create(
            deployed.ctx,
            volume,
            str(uuid.uuid4()),
            {'host': 'a', 'initiator': 'iqn.1994-05.com.redhat:a', 'ip': '127.0.0.1'},
            None,
        )
    assert deployed.engine.attachments.show(deployed.ctx, seen[0].attachment_id).state == 'unexporting'
    deployed.exporter.unexport(volume, seen[0].attachment_id)
    with pytest.raises(errors.AttachmentNotFound):
        deployed.engine.attachments.show(deployed.ctx, seen[0].attachment_id)


def test_a_delete_that_a_fence_overtook_is_no_success_if_the_worker_died(deployed, monkeypatch):
    """Its worker gave no answer, the row was not being unexported any more: 200, and it was there."""
    deployed.make_type()
    volume = deployed.make_volume('multi')
    ident = deployed.engine.attachments.create(
        deployed.ctx,
        volume,
        str(uuid.uuid4()),
        {'host': 'a', 'initiator': 'iqn.1994-05.com.redhat:a', 'ip': '127.0.0.1'},
        None,
    ).id
    deployed.worker.stop()

    def unexport(order, _request_id):
        with deployed.db.writer() as session:
            transitions.move_attachment(session, order.attachment_id, 'fence', transitions.Actor('api'))
        raise errors.Unanswered('No answer in time.')

    monkeypatch.setattr(deployed.engine.attachments._orders._workers, 'unexport', unexport)
    with pytest.raises(errors.Conflict):
        deployed.engine.attachments.delete(deployed.ctx, ident)
    deployed.fencer.fence(volume, ident)
    assert deployed.engine.attachments.delete(deployed.ctx, ident) == []


def test_a_tgtd_whose_number_is_taken_while_it_is_dead(tmp_path):
    """The service spoke to the other one, which was not its own, and never to its own again."""
    mine = PrivateTgtd(portal=f'127.0.0.1:{pick_port()}', threads=1)
    client = mine.start()
    number = client.control_port
    other = PrivateTgtd(portal=f'127.0.0.1:{pick_port()}', threads=1, control_port=number)
    try:
        os.kill(mine.pid, signal.SIGKILL)
        wait_until(lambda: not mine.alive(), 10, 'the end of tgtd', 0.01)
        other.start()
        with pytest.raises(TargetUnavailable, match='another tgtd'):
            client.show_targets()
        with pytest.raises(TargetUnavailable, match='another tgtd'):
            _ = client.generation
        mine.start()
        assert client.control_port != number
        assert client.pid == mine.pid != other.pid
        assert list(client.show_targets()) == []
    finally:
        mine.stop()
        other.stop()
