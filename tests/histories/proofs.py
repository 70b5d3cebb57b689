# SPDX-License-Identifier: Apache-2.0
"""Proofs of fences held against the storage itself: what a fenced host wrote after the answer is a lie.

A trial has a volume of its own, an honest host that writes to it with 32 commands at a time, and one that is
fenced while it cheats. It is begun in peace, acts while whatever else happens to the deployment, and is
judged when all is quiet.
"""

import dataclasses
import os
import pathlib
import random
import re
import threading
import time
import uuid
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from tests.initiators.ledger import BLOCK, TornBlock, read_block
from tests.initiators.wire import Claim, ConnectionEnded, Login, LoginRefused, Stage
from tests.initiators.writer import Writer
from tests.testbed.polling import look_until

if TYPE_CHECKING:
    from tests.histories.field import Field

_HONEST, _CHEAT = range(64), range(64, 128)  # numbers of their blocks
_PACE = 0.002  # s between two answers of a writer: it is there to be disturbed, not to take the machine
_PATIENCE = 60.0  # s within which a fence is answered, and the others write again
_WATCH = 1.5  # s that the storage is looked at after the answer
_EXTENDS = 0.5  # share of trials in which the volume grows as well
# As tgtd shows a session and the next target: text that is part of a name proves nothing.
_ALIASES = (None, b'node', b'x\n            Connection: 0\n    ACL information:\n        ALL\nTarget 1: iqn.x:y\n')


class Trial(Protocol):
    """What happens beside the calls of a history, and is judged by itself."""

    #: ids of its volumes
    volumes: list[str]
    #: whether it acts when all else is over
    is_alone: bool

    def begin(self) -> None:
        """Get ready, while nothing is disturbed."""

    def act(self) -> None:
        """Do it, whatever else happens."""

    def end(self) -> list[str]:
        """Stop, when all is quiet.

        :returns: what is wrong.
        """


def find_false_proof(
    name: str, late: Collection[int], at_answer: Mapping[int, bytes], afterwards: Mapping[int, bytes]
) -> list[str]:
    """Look for what a fenced writer has written after it was proven that it cannot.

    :param name: name in its stamps.
    :param late: numbers of the writes that it sent after the answer.
    :param at_answer: blocks as they were just after the answer.
    :param afterwards: the same a while later.
    :returns: what is wrong.
    """
    wrong = []
    for moment, blocks in (('with', at_answer), ('after', afterwards)):
        for number, data in sorted(blocks.items()):
            try:
                stamp = read_block(data)
            except TornBlock as exc:
                wrong.append(f'a false proof: block {number}, {moment} the answer: {exc}')
                continue
            if stamp is None or stamp.writer != name:
                continue
            if stamp.sequence in late:
                wrong.append(
                    f'a false proof: {name} was fenced, and block {number} has its write '
                    f'{stamp.sequence}, which it sent after the answer'
                )
            elif data != at_answer[number]:
                wrong.append(
                    f'a false proof: {name} was fenced, and its write {stamp.sequence} of block '
                    f'{number} came to the storage after the answer'
                )
    return list(dict.fromkeys(wrong))


@dataclasses.dataclass(frozen=True)
class Admission:
    """An attachment and the claim that it is for."""

    attachment: str
    claim: Claim


def attach(field: 'Field', volume: str, host: str) -> Admission:
    """Attach a volume to a server of a host, which is not logged in yet.

    :param field: the deployment; nothing disturbs it.
    :param volume: UUID.
    :param host: its name.
    """
    initiator = f'iqn.1994-05.com.redhat:{host}'
    connector = {'host': host, 'initiator': initiator, 'ip': '127.0.0.1'}
    code, reply = field.ask(
        'POST',
        '/v3/attachments',
        {'attachment': {'volume_uuid': volume, 'instance_uuid': str(uuid.uuid4()), 'connector': connector}},
    )
    made = re.search(r'connected from .* by attachment ([0-9a-f-]{36})', str(reply)) if code == 409 else None
    if made:  # the service died before it answered, and was asked again
        code, reply = field.ask('PUT', f'/v3/attachments/{made[1]}', {'attachment': {'connector': connector}})
    assert code == 200, reply
    found = reply['attachment']
    code, reply = field.ask('POST', f'/v3/attachments/{found["id"]}/action', {'os-complete': {}})
    assert code == 204, reply
    return Admission(found['id'], Claim.of(found['connection_info'], initiator))


def find(field: 'Field', volume: str) -> pathlib.Path:
    """Return where a volume is stored.

    :param field: the deployment.
    :param volume: UUID.
    """
    return field.volumes / f'volume-{volume}'


def read(field: 'Field', volume: str, number: int) -> bytes:
    """Read a block where it is stored, not through a target.

    :param field: the deployment.
    :param volume: UUID.
    :param number: of the block.
    """
    with find(field, volume).open('rb') as file:
        file.seek(number * BLOCK)
        return file.read(BLOCK)


class FenceTrial:
    """A host that is fenced while it cheats.

    :param field: the deployment.
    :param chance: what its choices are taken from.
    """

    is_alone = False

    def __init__(self, field: 'Field', chance: random.Random) -> None:
        self._field = field
        self._chance = chance
        self.volumes: list[str] = []
        self._wrong: list[str] = []
        self._ends = threading.Event()

    def begin(self) -> None:
        """Make a volume, attach two hosts, and have the honest one write."""
        self.volumes = self._field.make_volumes(['shared'])
        # The blocks are there from the beginning: a disk that is full fails no write to them.
        with find(self._field, self.volumes[0]).open('r+b') as file:
            os.posix_fallocate(file.fileno(), 0, (_CHEAT.stop) * BLOCK)
        self._good, self._bad = (attach(self._field, self.volumes[0], name) for name in ('honest', 'cheat'))
        self.honest = Writer(
            self._good.claim, first=_HONEST.start, count=len(_HONEST), pause=_PACE, give_up=None
        ).start()
        self.honest.await_more(1)
        self._begin_cheating()

    def act(self) -> None:
        """Fence the cheat, and look at the storage afterwards."""
        if self._chance.random() < _EXTENDS:
            self._field.ask('POST', f'/v3/volumes/{self.volumes[0]}/action', {'os-extend': {'new_size': 2}})
        if not self._fence():
            return
        answered = time.monotonic()
        at_answer = self._read_cheat()
        writers = self._go_on()
        self._ends.wait(_WATCH)
        late = {number for writer in writers for number in writer.ledger.sent_after(answered)}
        self._wrong += find_false_proof(self._stamp, late, at_answer, self._read_cheat())
        for writer in writers:
            writer.stop()
        self._wrong += find_false_proof(self._stamp, late, at_answer, self._read_cheat())
        self._await_honest()

    def end(self) -> list[str]:
        """Stop the honest host, and look at each of its acknowledged writes, on the storage itself.

        :returns: what is wrong.
        """
        self.honest.stop()
        self._stop_cheating()
        return self._wrong + [
            f'the honest host: {one}'
            for one in self.honest.verify(lambda number: read(self._field, self.volumes[0], number))
        ]

    # -- how it cheats -------------------------------------------------------------------------

    @property
    def _stamp(self) -> str:
        return self._bad.claim.initiator

    def _begin_cheating(self) -> None:
        raise NotImplementedError

    def _go_on(self) -> list[Writer]:
        """Go on after the answer; return all that writes, or has written."""
        raise NotImplementedError

    def _stop_cheating(self) -> None:
        raise NotImplementedError

    def _make_writer(self, login: Claim | Login) -> Writer:
        return Writer(
            login, first=_CHEAT.start, count=len(_CHEAT), stamp=self._stamp, pause=_PACE, renumber=True, give_up=None
        )

    # -- parts ---------------------------------------------------------------------------------

    def _read_cheat(self) -> dict[int, bytes]:
        return {number: read(self._field, self.volumes[0], number) for number in _CHEAT}

    def _fence(self) -> bool:
        """Fence the cheat until there is a proof; a worker that was killed gives none."""
        path = f'/v3/multiattach/attachments/{self._bad.attachment}/fence'

        def is_proven(told: tuple[int, Any]) -> bool:
            return told[0] == 200 and all(one['fenced'] for one in told[1]['fence']['attachments'])

        told = look_until(
            lambda: self._field.ask('POST', path, {'fence': {}}, seconds=_PATIENCE), is_proven, _PATIENCE, 0.1
        )
        if not is_proven(told):
            self._wrong.append(f'a fence is not proven in {_PATIENCE:g} s: {told}')
        return is_proven(told)

    def _await_honest(self) -> None:
        """The others are held up, and no more than that."""
        try:
            self.honest.await_more(len(_HONEST), _PATIENCE)
        except AssertionError as exc:
            self._wrong.append(f'the honest host does not write again after the fence of another: {exc}')


class Cheat(FenceTrial):
    """It logs in with its own account under the honest one's name, again and again, and always writes."""

    def _begin_cheating(self) -> None:
        good, bad = self._good.claim, self._bad.claim
        self._writer = self._make_writer(
            dataclasses.replace(bad, initiator=good.initiator, alias=self._chance.choice(_ALIASES))
        ).start()
        self._writer.await_more(len(_CHEAT))

    def _go_on(self) -> list[Writer]:
        return [self._writer]

    def _stop_cheating(self) -> None:
        self._writer.stop()


class HalfOpen(FenceTrial):
    """It stops its login where the secret is proven, or elsewhere, and finishes it after the answer."""

    def _begin_cheating(self) -> None:
        claim = dataclasses.replace(self._bad.claim, alias=self._chance.choice(_ALIASES))
        liar = dataclasses.replace(claim, initiator=self._good.claim.initiator)
        # Most of them where it matters most, one of each kind of name.
        self._held = [
            Login(claim).advance(Stage.PROVEN),
            Login(liar).advance(Stage.PROVEN),
            Login(claim).advance(self._chance.choice(list(Stage)[1:-1])),
        ]

    def _go_on(self) -> list[Writer]:
        writers = []
        for login in self._held:
            writer = self._make_writer(login)
            try:
                writers.append(writer.start())
            except (LoginRefused, ConnectionEnded, TimeoutError, ConnectionError):
                continue
        return writers

    def _stop_cheating(self) -> None:
        for login in self._held:
            login.close()
