# SPDX-License-Identifier: Apache-2.0
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from multiattach.cmd import run

_HANGS = """
import sys, threading
from multiattach.cmd.run import run_program

def main(args):
    threading.Thread(target=threading.Event().wait).start()
    print('said')
    return 3

sys.exit(run_program(main))
"""


def test_a_thread_that_hangs_keeps_no_process() -> None:
    done = subprocess.run([sys.executable, '-c', _HANGS], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (3, 'said\n')


@pytest.fixture
def handlers() -> Iterator[None]:
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures('handlers')
def test_a_signal_is_told_while_the_main_thread_waits_for_something_else() -> None:
    stop, told = run.Stop(), threading.Event()
    stop.notify(told.set)
    time.sleep(0.05)
    assert not told.is_set()
    os.kill(os.getpid(), signal.SIGTERM)
    assert told.wait(20)
    assert stop.is_set
