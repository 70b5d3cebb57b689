# SPDX-License-Identifier: Apache-2.0
import threading

import pytest

from multiattach.periodic import Periodic


@pytest.mark.parametrize('error', [RuntimeError('bad'), SystemExit(1), KeyboardInterrupt()])
def test_no_error_ends_the_rounds_or_hangs_the_end(error: BaseException) -> None:
    rounds, enough = [], threading.Event()

    def call() -> None:
        rounds.append(None)
        if len(rounds) == 3:
            enough.set()
        raise error

    periodic = Periodic('test', 0.01, (call,))
    periodic.start()
    assert enough.wait(30)
    ending = threading.Thread(target=periodic.stop, daemon=True)
    ending.start()
    ending.join(30)
    assert not ending.is_alive()


def test_one_that_was_not_started_ends() -> None:
    Periodic('test', 1.0, ()).stop()
