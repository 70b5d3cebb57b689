# SPDX-License-Identifier: Apache-2.0
import os
import signal

from multiattach.drivers.targets import login
from multiattach.drivers.targets.tgt.process import PrivateTgtd


def test_a_portal_answers_as_long_as_its_tgtd_runs(tgtd: PrivateTgtd) -> None:
    assert login.answers(tgtd.portal, 10)  # without a target it hangs up, which is an answer
    tgtd.daemon.new_target(5, 'iqn.2010-10.org.openstack:x')
    assert login.answers(tgtd.portal, 10)
    pid = tgtd.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        assert not login.answers(tgtd.portal, 0.5)  # the kernel takes the connection, and nobody answers
    finally:
        os.kill(pid, signal.SIGCONT)
    assert login.answers(tgtd.portal, 10)
    tgtd.stop()
    assert not login.answers(tgtd.portal, 10)
