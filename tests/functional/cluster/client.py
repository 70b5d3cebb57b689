# SPDX-License-Identifier: Apache-2.0
"""A client as Nova is one: it asks again, the other API if one is gone, and looks before it repeats."""

import collections
import concurrent.futures
import dataclasses
import http.client
import itertools
import json
import threading
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from tests.deployments.noauth import HEADERS, make_connector
from tests.testbed.polling import wait_until

THREADS = 16
_LONGEST = 90  # s that one attach or detach may take with all repetitions
_PAUSE = 0.2


class Lost(Exception):
    """The connection broke: the request was carried out or not."""


@dataclasses.dataclass
class Place:
    """A server that is to have a volume.

    :param volume: UUID.
    :param host: the server's compute host.
    :param server: UUID.
    :param ident: UUID of the attachment while there is one.
    :param info: its connection_info.
    """

    volume: str
    host: str
    server: str = dataclasses.field(default_factory=lambda: str(uuid.uuid4()))
    ident: str | None = None
    info: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def connector(self) -> dict[str, Any]:
        return make_connector(self.host)


class Client:
    """Requests to several API processes.

    :param ports: where they listen.
    """

    def __init__(self, ports: Sequence[int]) -> None:
        self._ports = ports
        self._local = threading.local()
        self._threads = iter(range(1_000_000))
        #: (call, status or "lost") of all that did not work at once.
        self.refusals: collections.Counter[tuple[str, Any]] = collections.Counter()

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Make a request.

        :returns: status and parsed body.
        :raises Lost: no whole answer; the next request of this thread goes to the other API.
        """
        local = self._local
        if not hasattr(local, 'index'):
            local.index, local.connection = next(self._threads) % len(self._ports), None
        if local.connection is None:
            local.connection = http.client.HTTPConnection('127.0.0.1', self._ports[local.index], timeout=60)
        try:
            local.connection.request(method, path, None if body is None else json.dumps(body), HEADERS)
            reply = local.connection.getresponse()
            text = reply.read()
        except (OSError, http.client.HTTPException) as exc:
            local.connection.close()
            local.connection, local.index = None, (local.index + 1) % len(self._ports)
            raise Lost(str(exc)) from exc
        return reply.status, json.loads(text) if text else None

    def get(self, path: str) -> Any:
        """Read something that is there."""
        code, reply = self.ask('GET', path)
        assert code == 200, reply
        return reply

    def _works(self, call: str, done: tuple[int, Any], *good: int) -> bool:
        """Tell whether a request was carried out; if not, it says why, in words."""
        code, reply = done
        if code in good:
            return True
        (fault,) = reply.values()
        assert code in (409, 503, 504), reply
        assert fault['code'] == code
        assert len(fault['message']) > 20, reply
        self.refusals[call, code] += 1
        return False

    # -- what Nova does ------------------------------------------------------------------------

    def attach(self, place: Place) -> None:
        """Attach, in three calls, until it is done."""
        self._persist(place, self._try_attach)

    def detach(self, place: Place) -> None:
        """Detach until it is done."""
        self._persist(place, self._try_detach)

    def _persist(self, place: Place, once: Callable[[Place, bool], bool]) -> None:
        attempts = itertools.count()

        def ends() -> bool:
            try:
                return once(place, next(attempts) > 0)
            except Lost:
                self.refusals['any', 'lost'] += 1
                return False

        wait_until(ends, _LONGEST, lambda: f'{place} does not come to an end: {self.refusals}', _PAUSE)

    def _try_attach(self, place: Place, again: bool) -> bool:
        if place.ident is None and again:
            place.ident = self.find(place)
        if place.ident is None:
            done = self.ask(
                'POST', '/v3/attachments', {'attachment': {'volume_uuid': place.volume, 'instance_uuid': place.server}}
            )
            if not self._works('create', done, 200):
                return False
            place.ident = done[1]['attachment']['id']
        path = f'/v3/attachments/{place.ident}'
        done = self.ask('PUT', path, {'attachment': {'connector': place.connector}})
        if not self._works('update', done, 200):
            return False
        place.info = done[1]['attachment']['connection_info']
        return self._works('complete', self.ask('POST', f'{path}/action', {'os-complete': {}}), 204)

    def _try_detach(self, place: Place, again: bool) -> bool:
        done = self.ask('DELETE', f'/v3/attachments/{place.ident}')
        if not self._works('delete', done, *((200, 404) if again else (200,))):
            return False
        place.ident = None
        return True

    def find(self, place: Place) -> str | None:
        """Look for a server's attachment to a volume."""
        code, reply = self.ask('GET', f'/v3/attachments?instance_id={place.server}&volume_id={place.volume}')
        if code != 200:
            return None
        found = [one['id'] for one in reply['attachments']]
        assert len(found) <= 1
        return found[0] if found else None

    # -- volumes -------------------------------------------------------------------------------

    def make_type(self, name: str, specs: dict[str, str]) -> None:
        code, reply = self.ask('POST', '/v3/types', {'volume_type': {'name': name, 'extra_specs': specs}})
        assert code == 200, reply

    def make_volumes(self, type_name: str, number: int) -> list[str]:
        """Make volumes and wait for them."""
        idents = []
        for _ in range(number):
            code, reply = self.ask('POST', '/v3/volumes', {'volume': {'size': 1, 'volume_type': type_name}})
            assert code == 202, reply
            idents.append(reply['volume']['id'])
        for ident in idents:
            wait_until(lambda ident=ident: self.status(ident) == 'available', 30, 'a volume', 0.05)
        return idents

    def status(self, volume_id: str) -> str:
        status: str = self.get(f'/v3/volumes/{volume_id}')['volume']['status']
        assert not status.startswith('error')
        return status


def do_all(call: Callable[[Place], None], places: Sequence[Place], after: int, disturb: Callable[[], None]) -> None:
    """Do the same at all places, and disturb it when some of them are done.

    :param after: how many.
    :param disturb: called once, in this thread.
    """
    done = threading.Semaphore(0)

    def run(place: Place) -> None:
        try:
            call(place)
        finally:
            done.release()

    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        jobs = [pool.submit(run, place) for place in places]
        for _ in range(after):
            assert done.acquire(timeout=60)
        disturb()
        try:
            for job in concurrent.futures.as_completed(jobs):
                job.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # else each of the others takes its longest, too
            raise
