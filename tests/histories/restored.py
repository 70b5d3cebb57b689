# SPDX-License-Identifier: Apache-2.0
"""An older copy of the database is put back under a service whose hosts write, and the newest one again."""

import functools
import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from multiattach.domain.drift import Drift
from multiattach.domain.findings import Outcome
from tests.histories.looks import Looks
from tests.histories.proofs import Admission, attach, read
from tests.initiators.writer import Writer

if TYPE_CHECKING:
    from tests.histories.field import Field

_LATE = 7  # hosts that the older copy does not know: more than a breaker lets go by itself
_BLOCKS = 16  # of each
_PACE = 0.01  # s between two answers of a writer
_COUNTS = 4  # looks by which the database goes on after the copy
_ROUNDS = 3  # looks of a person, who asks for repairs as well
_BETWEEN = 0.2  # s between two looks


class RestoredDatabase:
    """Nobody who writes is cut off because the database forgets about it; the doctor says what is wrong.

    :param field: the deployment; it is left with the newest database.
    :param chance: what its choices are taken from.
    :param patience: seconds within which it is noticed, and within which all is well again.
    """

    is_alone = True

    def __init__(self, field: 'Field', chance: random.Random, patience: float = 60.0) -> None:
        self._field = field
        self._patience = patience
        self._chance = chance
        self.volumes: list[str] = []
        self.writers: list[Writer] = []
        self._places: list[str] = []  # the volume of each
        self._looks = Looks(field, _BETWEEN)

    def begin(self) -> None:
        """Make volumes, and have one host write that the older copy will know."""
        self.volumes = self._field.make_volumes(['shared', 'shared2'])
        self._known = self._join(self.volumes[0], 'kept')

    def act(self) -> None:
        """Go back to a copy, look what happens, and come forth again."""
        copy = self._field.swap_rows()
        for number in range(_LATE):
            self._join(self.volumes[number % 2], f'late{number}')
        for writer in self.writers:
            writer.await_more(1, self._patience)
        logins = [writer.logins for writer in self.writers]
        for _ in range(_COUNTS):  # a copy of a moment ago is not told from the newest one, see epochs
            self._looks.diagnose()
        newest = self._field.swap_rows(copy)
        try:
            if self._chance.random() < 0.5:
                self._field.restart_workers()
            self._look_back()
        finally:
            self._field.swap_rows(newest)
        self._looks.await_(
            lambda found: found['left'] == 0, self._patience, 'the newest database is back, and all is not well'
        )
        for writer, before in zip(self.writers, logins, strict=True):
            self._judge(writer, before)

    def end(self) -> list[str]:
        """Stop all hosts, and look at each acknowledged write.

        :returns: what is wrong.
        """
        for writer in self.writers:
            writer.stop()
        return self._looks.wrong + [
            text
            for writer, volume in zip(self.writers, self._places, strict=True)
            for text in writer.verify(functools.partial(read, self._field, volume))
        ]

    # -- parts ---------------------------------------------------------------------------------

    def _join(self, volume: str, host: str) -> Admission:
        found = attach(self._field, volume, host)
        self.writers.append(
            Writer(
                found.claim, first=len(self.writers) * _BLOCKS, count=_BLOCKS, depth=_BLOCKS, pause=_PACE, give_up=None
            ).start()
        )
        self._places.append(volume)
        return found

    def _look_back(self) -> None:
        """The older copy is there; a person looks, and asks for repairs, and nothing is taken away."""
        self._looks.await_(
            lambda found: Drift.OLD_DATABASE in _kinds(found),
            self._patience,
            'an older copy of the database is not noticed',
        )
        found = self._looks.ask_repairs(_ROUNDS, _BETWEEN, 'with an older copy of the database')
        if not any(
            'is an older copy' in str(one['error']) for one in found['findings'] if one['outcome'] == Outcome.WAITING
        ):
            self._looks.wrong.append(f'nobody says why things wait: {str(found)[:2000]}')
        self._looks.explain(self._known.attachment, Drift.OLD_DATABASE, 'the explanation does not name the older copy')

    def _judge(self, writer: Writer, before: int) -> None:
        name = writer.ledger.writer
        try:
            writer.await_more(1, self._patience)
        except AssertionError as exc:
            self._looks.wrong.append(f'{name} writes no more: {exc}')
        if writer.logins != before:
            self._looks.wrong.append(f'{name} was cut off: it logged in {writer.logins - before} times more')


def _kinds(found: Mapping[str, Any]) -> set[str]:
    return {one['kind'] for one in found['findings']}
