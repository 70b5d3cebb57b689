# SPDX-License-Identifier: Apache-2.0
"""Work that is done again and again, in a thread or a green thread."""

from collections.abc import Callable, Sequence

from oslo_db import exception as db_exc
from oslo_log import log
from oslo_service import loopingcall

from multiattach.domain import errors
from multiattach.trouble import Trouble

LOG = log.getLogger(__name__)


class Periodic:
    """Calls functions in turn, one after the other, until it is stopped.

    An exception ends nothing, and is logged once for as long as it comes again. The first round starts
    at once.

    :param interval: seconds between the end of a round and the next one.
    """

    def __init__(self, name: str, interval: float, calls: Sequence[Callable[[], None]]) -> None:
        self._name = name
        self._interval = interval
        self._calls = calls
        self._troubles = {
            call: Trouble(LOG, f'{name}: periodic call {getattr(call, "__name__", call)}') for call in calls
        }
        self._loop = loopingcall.DynamicLoopingCall(self._run_once)
        self._started = False

    def start(self) -> None:
        self._started = True
        self._loop.start()

    def stop(self) -> None:
        """End after the call that is running."""
        if self._started:
            self._loop.stop()
            self._loop.wait()

    def _run_once(self) -> float:
        for call in self._calls:
            trouble = self._troubles[call]
            try:
                call()
            # Whoever opens connections to the database tells of it, once for all that need it.
            except (errors.DatabaseAway, db_exc.DBConnectionError):
                continue
            # The next round may do better. BaseException, too: it would end the loop without a word, and
            # whoever waits for the loop's end would wait for ever.
            except BaseException as exc:
                trouble.note(f'failed ({type(exc).__name__})', exc_info=True)
            else:
                trouble.end()
        return self._interval
