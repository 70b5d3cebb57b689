# SPDX-License-Identifier: Apache-2.0
"""Trials of fences: what they must accept, and what they must see."""

import pathlib
import random
from collections.abc import Callable, Iterator

import pytest

from tests.histories import truth
from tests.histories.proofs import Cheat, FenceTrial, HalfOpen, find, find_false_proof, read
from tests.histories.quick import Quick
from tests.histories.runner import tidy
from tests.initiators.ledger import BLOCK, Stamp, make_block

CHEAT, OTHER = 'iqn.x:cheat', 'iqn.x:other'
TRIALS = [Cheat, HalfOpen]
# A fence that believes names: what this service did once.
_BY_NAME = """
from multiattach.drivers.targets.base import Cut
from multiattach.drivers.targets.tgt import fence
from multiattach.drivers.targets.tgt.sessions import close_sessions

def cut(self, who):
    view = self._daemon.look(who.iqn)
    target = view.target
    self._shut_out(view, target, who)
    close_sessions(self._daemon, target.tid, timeout=self._timeout, only={who.initiator})
    return Cut(acl=True, account=True, whole=True)

fence.Fence.cut = cut
"""


def blocks(**found: bytes) -> dict[int, bytes]:
    return {int(name[1:]): data for name, data in found.items()}


def stamped(sequence: int, number: int, name: str = CHEAT) -> bytes:
    return make_block(Stamp(name, sequence, number))


def test_what_was_there_at_the_answer_may_stay() -> None:
    there = blocks(b1=stamped(4, 1), b2=bytes(BLOCK), b3=stamped(9, 3, OTHER))
    assert find_false_proof(CHEAT, {5, 6}, there, there) == []
    # What others write is nobody's business here.
    assert find_false_proof(CHEAT, {5, 6}, there, there | blocks(b3=stamped(5, 3, OTHER))) == []


@pytest.mark.parametrize(
    ('late', 'first', 'second', 'words'),
    [
        ({5}, stamped(4, 1), stamped(5, 1), 'which it sent after the answer'),
        ({5}, stamped(5, 1), stamped(5, 1), 'which it sent after the answer'),
        ({5}, bytes(BLOCK), stamped(5, 1), 'which it sent after the answer'),
        ({5}, stamped(5, 1), bytes(BLOCK), 'which it sent after the answer'),
        ((), stamped(3, 1), stamped(4, 1), 'came to the storage after the answer'),
        ((), bytes(BLOCK), stamped(4, 1), 'came to the storage after the answer'),
        ((), stamped(3, 1), stamped(4, 1)[:2048] + stamped(3, 1)[2048:], 'the checksum'),
    ],
    ids=['later', 'at once', 'new', 'and gone', 'older one comes late', 'first one comes late', 'half'],
)
def test_what_comes_after_the_answer_is_a_false_proof(late: set[int], first: bytes, second: bytes, words: str) -> None:
    [wrong] = find_false_proof(CHEAT, late, {1: first}, {1: second})
    assert wrong.startswith('a false proof: ')
    assert words in wrong


def carry_out(field: Quick, trial: FenceTrial) -> list[str]:
    """Do one in peace; all is taken away again."""
    trial.begin()
    trial.act()
    assert truth.wait_quiet(field, trial.volumes) == []
    found = trial.end()
    assert tidy(field, trial.volumes) == []
    return found


@pytest.fixture
def field(tmp_path: pathlib.Path) -> Iterator[Quick]:
    with Quick(tmp_path).run() as made:
        yield made


@pytest.fixture
def misled(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Quick]:
    """A service whose proofs are about names."""
    mutant = tmp_path / 'mutant'
    mutant.mkdir()
    (mutant / 'sitecustomize.py').write_text(_BY_NAME)
    monkeypatch.setenv('PYTHONPATH', f'{mutant}:{pathlib.Path(__file__).parents[2]}')
    with Quick(tmp_path).run() as made:
        yield made


@pytest.mark.parametrize('kind', TRIALS)
def test_a_fence_holds_against_the_storage(field: Quick, kind: Callable[..., FenceTrial]) -> None:
    for seed in range(3):
        trial = kind(field, random.Random(seed))
        assert carry_out(field, trial) == []
        assert len(trial.honest.ledger) > 100
        assert trial.honest.logins > 1  # it was held up as well


@pytest.mark.parametrize('kind', TRIALS)
def test_a_false_proof_is_seen(misled: Quick, kind: Callable[..., FenceTrial]) -> None:
    found = carry_out(misled, kind(misled, random.Random(1)))
    assert any('a false proof' in text and 'which it sent after the answer' in text for text in found), found


@pytest.mark.parametrize(
    'spoil',
    [
        lambda _data, number: bytes(BLOCK),
        lambda _data, number: make_block(Stamp('iqn.1994-05.com.redhat:honest', 1, number)),
        lambda data, _number: data[:512] + bytes(512) + data[1024:],
    ],
    ids=['gone', 'older', 'a sector'],
)
def test_a_lost_write_is_seen(field: Quick, spoil: Callable[[bytes, int], bytes]) -> None:
    trial = Cheat(field, random.Random(1))
    trial.begin()
    trial.act()
    trial.honest.stop()
    number, _sequence, _at = trial.honest.ledger.acknowledged()[-1]
    data = read(field, trial.volumes[0], number)
    with find(field, trial.volumes[0]).open('r+b') as file:
        file.seek(number * BLOCK)
        file.write(spoil(data, number))
    [wrong] = trial.end()
    assert wrong.startswith(f'the honest host: block {number}: ')
    assert tidy(field, trial.volumes) == []
