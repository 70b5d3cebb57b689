# SPDX-License-Identifier: Apache-2.0
"""Clients that ask the real API at random, each by a plan that its seed gives, and note what they saw."""

import contextlib
import dataclasses
import http.client
import json
import math
import multiprocessing
import random
import threading
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any

from tests.functional.drivers.targets.tgt.initiator import LoginRefused, Session
from tests.histories.calls import Call, Event, Kind, Reply
from tests.testbed.polling import look_until

PROJECT = 'a' * 32
HEADERS = {
    'X-Auth-Token': f'admin:{PROJECT}',
    'OpenStack-API-Version': 'volume 3.71',
    'Content-Type': 'application/json',
    'Accept': 'application/json',
}
_WEIGHTS = {
    Kind.CREATE: 8,
    Kind.UPDATE: 5,
    Kind.COMPLETE: 5,
    Kind.DELETE: 6,
    Kind.FENCE: 3,
    Kind.RETYPE: 2,
    Kind.EXTEND: 2,
    Kind.REMOVE: 0.4,
    Kind.SHOW: 4,
    Kind.SHOW_ATTACHMENT: 3,
    Kind.LIST: 3,
}
_ABOUT_ATTACHMENT = (Kind.UPDATE, Kind.COMPLETE, Kind.DELETE, Kind.FENCE, Kind.SHOW_ATTACHMENT)
_RETURN = 20.0  # s that a client waits for an API that is away
UNEXPECTED = 'The server has either erred'


@dataclasses.dataclass(frozen=True)
class Wish:
    """A call before it is known what there is to call.

    :param call: the call, without an attachment.
    :param pick: which of the known attachments, 0 to 1; the latest are near 1.
    :param pause: seconds before it.
    :param instead: what is asked if no attachment is known yet.
    :param login: log in to what the answer tells, as a host would.
    """

    call: Call
    instead: Call
    pick: float
    pause: float
    login: bool = False


@dataclasses.dataclass(frozen=True)
class Mix:
    """What histories are made of.

    :param clients: number of clients.
    :param calls: calls of each.
    :param servers: number of servers.
    :param hosts: number of hosts.
    :param types: names of volume types.
    :param pause: longest pause between two calls of a client, in seconds.
    :param logins: share of the connections that a host uses.
    """

    clients: int = 6
    calls: int = 10
    servers: int = 3
    hosts: int = 3
    types: tuple[str, ...] = ('plain', 'shared', 'shared2', 'capped')
    pause: float = 0.02
    logins: float = 0.3


def name_server(number: int) -> str:
    """Return the UUID of a server."""
    return f'00000000-0000-4000-8000-{number:012d}'


def plan(seed: str, client: int, volumes: Sequence[str], mix: Mix) -> list[Wish]:
    """Make a client's plan; the same seed gives the same.

    :param seed: of the history.
    :param client: number of the client.
    :param volumes: UUIDs.
    :param mix: what it is made of.
    """
    chance = random.Random(f'{seed}/{client}')
    wishes = []
    for _ in range(mix.calls):
        kind = chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
        host = f'host{chance.randrange(mix.hosts)}'
        call = Call(
            kind,
            chance.choice(volumes),
            server=name_server(chance.randrange(mix.servers)) if kind is Kind.CREATE else None,
            host=host if kind is Kind.UPDATE or (kind is Kind.CREATE and chance.random() < 0.5) else None,
            type=chance.choice(mix.types) if kind is Kind.RETYPE else None,
            size=chance.randint(1, 5) if kind is Kind.EXTEND else None,
            force=kind is Kind.FENCE and chance.random() < 0.5,
        )
        instead = (
            Call(Kind.LIST, call.volume)
            if chance.random() < 0.4
            else Call(Kind.CREATE, call.volume, server=name_server(chance.randrange(mix.servers)), host=call.host)
        )
        wishes.append(
            Wish(call, instead, 1 - chance.random() ** 2, chance.random() * mix.pause, chance.random() < mix.logins)
        )
    return wishes


def write_request(call: Call) -> tuple[str, str, Any]:
    """Write a call as HTTP has it.

    :returns: method, path and body.
    """
    volume, attachment = f'/v3/volumes/{call.volume}', f'/v3/attachments/{call.attachment}'
    connector = {'host': call.host, 'initiator': call.initiator, 'ip': '127.0.0.1'}
    new = {'volume_uuid': call.volume, 'instance_uuid': call.server}
    return {
        Kind.CREATE: ('POST', '/v3/attachments', {'attachment': new | ({'connector': connector} if call.host else {})}),
        Kind.UPDATE: ('PUT', attachment, {'attachment': {'connector': connector}}),
        Kind.COMPLETE: ('POST', f'{attachment}/action', {'os-complete': {}}),
        Kind.DELETE: ('DELETE', attachment, None),
        Kind.FENCE: ('POST', f'/v3/multiattach/attachments/{call.attachment}/fence', {'fence': {'force': call.force}}),
        Kind.RETYPE: ('POST', f'{volume}/action', {'os-retype': {'new_type': call.type, 'migration_policy': 'never'}}),
        Kind.EXTEND: ('POST', f'{volume}/action', {'os-extend': {'new_size': call.size}}),
        Kind.REMOVE: ('DELETE', volume, None),
        Kind.SHOW: ('GET', volume, None),
        Kind.SHOW_ATTACHMENT: ('GET', attachment, None),
        Kind.LIST: ('GET', f'/v3/attachments?volume_id={call.volume}', None),
    }[call.kind]


def read_reply(call: Call, code: int, body: Any) -> Reply:
    """Reduce an answer to what the model tells of it."""
    if code >= 400:
        return Reply(code)
    facts: dict[str, Any] = {}
    if call.kind in (Kind.CREATE, Kind.UPDATE, Kind.SHOW_ATTACHMENT):
        found = body['attachment']
        facts = {'status': found['status'], 'info': bool(found['connection_info'])}
        if call.kind is not Kind.SHOW_ATTACHMENT:
            facts['id'] = found['id']
    elif call.kind in (Kind.DELETE, Kind.LIST):
        facts = {'held': {one['id']: one['status'] for one in body['attachments']}}
    elif call.kind is Kind.FENCE:
        facts = {'fenced': all(one['fenced'] for one in body['fence']['attachments'])}
    elif call.kind is Kind.SHOW:
        found = body['volume']
        facts = {
            'status': found['status'],
            'type': found['volume_type'],
            'size': found['size'],
            'attached': sorted(one['attachment_id'] for one in found['attachments']),
        }
    return Reply(code, facts)


class Away(Exception):
    """The request was not sent: nobody listens."""


class Client:
    """One client with a connection of its own.

    :param number: of the client.
    :param ports: where the API listens.
    :param known: ids of attachments that clients of this process know, by volume; shared.
    :param timeout: seconds that it waits for an answer.
    """

    def __init__(self, number: int, ports: Sequence[int], known: dict[str, list[str]], timeout: float) -> None:
        self._number = number
        self._ports = ports
        self._port = number
        self._known = known
        self._timeout = timeout
        self._connection: http.client.HTTPConnection | None = None
        self._info: dict[str, Any] = {}
        self.events: list[Event] = []
        #: what no answer of the service should be
        self.oddities: list[str] = []
        #: logins that are kept
        self.sessions: list[Session] = []

    def run(self, wishes: Sequence[Wish]) -> None:
        """Make all calls of a plan."""
        for number, wish in enumerate(wishes):
            time.sleep(wish.pause)
            call = self._choose(wish)
            try:
                event = self._record(number, call)
                self.events.append(event)
                if wish.login and self._info:
                    self._log_in(call)
            except Away:
                self._await_return()
        self._hang_up()

    def _choose(self, wish: Wish) -> Call:
        if wish.call.kind not in _ABOUT_ATTACHMENT:
            return wish.call
        known = self._known.setdefault(wish.call.volume, [])
        if not known:
            return wish.instead
        index = min(int(wish.pick * len(known)), len(known) - 1)
        return dataclasses.replace(wish.call, attachment=known[index])

    def _record(self, number: int, call: Call) -> Event:
        self._info = {}
        start = time.monotonic()
        try:
            code, body, request = self._ask(*write_request(call))
        except (OSError, http.client.HTTPException, ValueError):
            self._hang_up()
            self._port += 1
            return Event(self._number, number, call, start)
        end = time.monotonic()
        if code == 504:
            return Event(self._number, number, call, start, request=request)
        if code >= 500 and UNEXPECTED in json.dumps(body):
            self.oddities.append(f'{call} {request}: {code} {body}')
        reply = read_reply(call, code, body)
        if code == 200 and call.host is not None:
            self._info = body['attachment']['connection_info']
        self._learn(call, reply)
        return Event(self._number, number, call, start, end, reply, code >= 500, request)

    def _log_in(self, call: Call) -> None:
        """Log in; whether it works is up to what others do meanwhile."""
        info = self._info
        with contextlib.suppress(LoginRefused, KeyError):  # what was fenced shows no secret
            self.sessions.append(
                Session(
                    info['target_portal'],
                    info['target_iqn'],
                    call.initiator or '',
                    info['auth_username'],
                    info['auth_password'],
                    timeout=3,
                )
            )

    def _learn(self, call: Call, reply: Reply) -> None:
        known = self._known.setdefault(call.volume, [])
        for ident in (reply.facts.get('id'), *reply.facts.get('held', ())):
            if ident is not None and ident not in known:
                known.append(ident)

    def _ask(self, method: str, path: str, body: Any) -> tuple[int, Any, str | None]:
        if self._connection is None:
            connection = http.client.HTTPConnection(
                '127.0.0.1', self._ports[self._port % len(self._ports)], timeout=self._timeout
            )
            try:
                connection.connect()
            except OSError as exc:
                self._port += 1
                raise Away from exc
            self._connection = connection
        self._connection.request(method, path, None if body is None else json.dumps(body), HEADERS)
        reply = self._connection.getresponse()
        text = reply.read()
        return reply.status, json.loads(text) if text else None, reply.getheader('x-openstack-request-id')

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _await_return(self) -> None:
        look_until(lambda: any(map(_listens, self._ports)), bool, _RETURN)


def _listens(port: int) -> bool:
    with (
        contextlib.suppress(OSError),
        contextlib.closing(http.client.HTTPConnection('127.0.0.1', port, timeout=1)) as probe,
    ):
        probe.connect()
        return True
    return False


def run_clients(
    numbers: Sequence[int], ports: Sequence[int], plans: dict[int, list[Wish]], timeout: float
) -> tuple[list[Event], list[str], list[Session]]:
    """Run clients side by side in this process.

    :returns: what they saw, answers that should not be, and logins.
    """
    known: dict[str, list[str]] = {}
    clients = [Client(number, ports, known, timeout) for number in numbers]
    threads = [
        threading.Thread(target=client.run, args=(plans[number],))
        for number, client in zip(numbers, clients, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return (
        [event for client in clients for event in client.events],
        [odd for client in clients for odd in client.oddities],
        [session for client in clients for session in client.sessions],
    )


def _serve(pipe: Connection) -> None:
    sessions: list[Session] = []
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        while True:
            asked = pipe.recv()
            for session in sessions:
                session.close()
            sessions = []
            if asked is None:
                pipe.send(None)
                continue
            events, oddities, sessions = run_clients(*asked)
            pipe.send((events, oddities))


class Crowd:
    """Client processes.

    :param processes: how many.
    """

    def __init__(self, processes: int = 2) -> None:
        context = multiprocessing.get_context('spawn')
        self._pipes: list[Connection] = []
        self._processes = []
        for _ in range(processes):
            mine, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs,), daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(mine)
            self._processes.append(process)

    def run(
        self, ports: Sequence[int], plans: dict[int, list[Wish]], timeout: float = 30.0
    ) -> tuple[list[Event], list[str]]:
        """Have all plans carried out, spread over the processes.

        :param ports: where the API listens.
        :param plans: plan of each client.
        :param timeout: seconds that a client waits for an answer.
        :returns: what clients saw, in order of time, and answers that should not be.
        """
        shares = [sorted(plans)[index :: len(self._pipes)] for index in range(len(self._pipes))]
        for pipe, share in zip(self._pipes, shares, strict=True):
            pipe.send((share, ports, {number: plans[number] for number in share}, timeout))
        events, oddities = [], []
        for pipe in self._pipes:
            found, odd = pipe.recv()
            events += found
            oddities += odd
        return sorted(events, key=lambda event: event.start), oddities

    def hang_up(self) -> None:
        """Log out of everything."""
        for pipe in self._pipes:
            pipe.send(None)
        for pipe in self._pipes:
            pipe.recv()

    def stop(self) -> None:
        """End the processes."""
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join(10)
            if process.is_alive():
                process.kill()


@contextlib.contextmanager
def crowd(processes: int = 2) -> Iterator[Crowd]:
    """Have client processes."""
    made = Crowd(processes)
    try:
        yield made
    finally:
        made.stop()


def count_open(events: Sequence[Event]) -> int:
    """Count the calls without an answer."""
    return sum(1 for event in events if math.isinf(event.end))
