# SPDX-License-Identifier: Apache-2.0
"""Which requests are worked on, and how many at once.

Who has waited for long in a queue of the server is sent away: so the queue gets shorter while more comes than can be
done, and what is done is answered in time. Health checks and discovery are always answered.
"""

import math
import random
import time
from collections.abc import Callable, Iterable
from typing import Any

from oslo_log import log

from multiattach import signals, turns
from multiattach.api import auth, faults
from multiattach.api.faults import WsgiApp
from multiattach.api.settings import ApiSettings
from multiattach.trouble import Trouble

LOG = log.getLogger(__name__)


def bound(authenticate: auth.Middleware, settings: ApiSettings) -> auth.Middleware:
    """Bound what is worked on; whoever is sent away is not authenticated before.

    :param authenticate: what calls the application; Keystone is asked without a turn.
    """
    queue = _Queue(settings.max_queue_time)
    admitted = turns.Turns(settings.max_active_requests)

    def wrap(application: WsgiApp, settings: ApiSettings) -> WsgiApp:
        return queue.wrap(authenticate(_take_turns(application, admitted), settings))

    return wrap


def _take_turns(application: WsgiApp, admitted: turns.Turns) -> WsgiApp:
    def serve(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        with admitted.taken():
            return application(environ, start_response)

    return serve


class _Queue:
    """Sends away who has waited for too long.

    :param limit: seconds; 0 for no limit.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._overload = Trouble(LOG, 'The queue of requests')

    def wrap(self, application: WsgiApp) -> WsgiApp:
        """Put the queue in front of an application."""
        if not self._limit:
            return application

        def serve(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            now = time.monotonic()
            waited = now - environ.get(turns.ARRIVED, now)
            if waited > self._limit:
                refused: Iterable[bytes] = self._refuse(waited)(environ, start_response)
                return refused
            if waited < self._limit / 2:
                self._overload.end()
            return application(environ, start_response)

        return serve

    def _refuse(self, waited: float) -> Any:
        signals.sink.refused()
        self._overload.note(f'is too long: one that has waited for {waited:.1f} s is refused', 'refused')
        # Those who are sent away together are not to come back together.
        after = random.randint(1, math.ceil(self._limit))  # noqa: S311
        return faults.render(503, 'The service is overloaded. The request was not carried out; try again later.', after)
