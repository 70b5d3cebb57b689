# SPDX-License-Identifier: Apache-2.0
"""How a program starts, waits for a signal, and ends."""

import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

from oslo_log import log

from multiattach import concurrency, failpoints
from multiattach.domain import errors

LOG = log.getLogger(__name__)
_END_PATIENCE = 2.0  # s
# Connections of clients, databases and brokers; a private tgtd inherits it and opens several per volume.
_MOST_FILES = 65536
_PAUSE = 0.2  # s until a private tgtd that died is started again


def run_program(main: Callable[[Sequence[str]], int | None]) -> int:
    """Run a program's main function; a wrong option ends it with one line.

    :returns: exit code: 2 for wrong options, 1 for other errors that are explained.
    """
    code = _run(main)
    _end_in_time(code)
    return code


def _run(main: Callable[[Sequence[str]], int | None]) -> int:
    try:
        _allow_files()
        failpoints.check()
        return main(sys.argv[1:]) or 0
    except errors.ConfigurationError as exc:
        print(f'{sys.argv[0].rpartition("/")[2]}: {exc.message}', file=sys.stderr)
        return 2
    except errors.MultiattachError as exc:
        print(f'{sys.argv[0].rpartition("/")[2]}: {exc.message}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except Exception as exc:
        LOG.exception('The program ends unexpectedly')
        print(
            f'{sys.argv[0].rpartition("/")[2]}: unexpected failure ({type(exc).__name__}); the '
            'log has the rest. Please report it.',
            file=sys.stderr,
        )
        return 1


def _end_in_time(code: int) -> None:
    """End the process soon: Python would wait for threads that were left at a hanging step, too."""

    def end() -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

    real: Any = concurrency.native('threading')  # a green one would wait for the main thread
    timer = real.Timer(_END_PATIENCE, end)
    timer.daemon = True
    timer.start()


def _allow_files() -> None:
    """Allow as many open files as may be: the usual limit is for programs that use select()."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class Stop:
    """Waits for SIGTERM or SIGINT; make it before anything starts."""

    def __init__(self) -> None:
        self._event = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._handle)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self._event.set()

    def wait(self, *tends: Callable[[], None]) -> None:
        """Return when a signal has come; until then call *tends* several times per second, in the main thread."""
        while not self._event.wait(_PAUSE if tends else 1.0):
            for tend in tends:
                tend()

    def notify(self, call: Callable[[], None]) -> None:
        """Have something that does not wait called when a signal comes, whatever the main thread is waiting for."""

        def watch() -> None:
            self._event.wait()
            call()

        threading.Thread(target=watch, name='stop', daemon=True).start()

    @property
    def is_set(self) -> bool:
        return self._event.is_set()
