# SPDX-License-Identifier: Apache-2.0
"""Initiators that write, in a process of their own: ``python -m tests.benchmarks.writers WRITING``.

It reads logins as JSON from standard input (portal, target, initiator, user, secret), writes ``ready`` once
all are logged in, and ``cut`` for each that fails. It ends when its input does. With ``--come-back`` they
log in again by themselves, as kernels do.
"""

import json
import os
import sys
import threading
import time

from tests.functional.drivers.targets.tgt.initiator import IoFailed, Session

BLOCK = b'x' * 4096


def main() -> None:
    """Write from as many initiators as asked without a pause, from the others now and then."""
    # Elsewhere they are other machines: they take no CPU time from the service, however it is scheduled.
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    os.nice(5)
    writing = int(sys.argv[1])
    comes_back = '--come-back' in sys.argv
    ends, started = threading.Event(), threading.Semaphore(0)

    def run(login: list[str], pause: float) -> None:
        portal, iqn, initiator, user, secret = login
        session = Session(portal, iqn, initiator, user, secret, comes_back=comes_back)
        started.release()
        try:
            while not ends.is_set():
                session.write(0, BLOCK)
                if pause:
                    ends.wait(pause)
        except IoFailed:
            print('cut', flush=True)
        session._destroy()

    threads = [
        threading.Thread(target=run, args=(login, 0 if number < writing else 0.2))
        for number, login in enumerate(json.loads(sys.stdin.readline()))
    ]
    for thread in threads:
        thread.start()
    for _ in threads:
        started.acquire()
    time.sleep(0.3)
    print('ready', flush=True)
    sys.stdin.read()
    ends.set()
    for thread in threads:
        thread.join()


if __name__ == '__main__':
    main()
