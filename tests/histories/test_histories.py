# SPDX-License-Identifier: Apache-2.0
"""Random histories of the real service; tools/soak runs as many as one likes."""

import pathlib
import time
from collections.abc import Iterator

import pytest

from tests.histories import shrinker, truth
from tests.histories.faults import schedule
from tests.histories.field import Field
from tests.histories.generator import Crowd, Mix, crowd, name_server, plan
from tests.histories.production import Production
from tests.histories.quick import Quick
from tests.histories.runner import Outcome, run_history

_SEED = 'gate'
_MIX = Mix(clients=5, calls=8)
_ENOUGH = 12.0  # s, on machines that are busy
# What kills everything takes seconds to come back: it happens once.
_CALM = ('tgtd', 'slow-tgtd', 'pause')


@pytest.fixture(scope='module')
def people() -> Iterator[Crowd]:
    with crowd() as made:
        yield made


def _explain(outcome: Outcome) -> str:
    return '\n'.join(
        [
            f'seed {outcome.seed}, {[blow.name for blow in outcome.blows]}',
            *outcome.failures,
            *(shrinker.describe(model, shrinker.shrink(model, history)) for model, history, _ in outcome.broken),
        ]
    )


def test_a_seed_gives_a_plan() -> None:
    volumes = ['v', 'w']
    assert plan('s', 1, volumes, Mix()) == plan('s', 1, volumes, Mix())
    assert plan('s', 1, volumes, Mix()) != plan('s', 2, volumes, Mix())
    assert plan('s', 1, volumes, Mix()) != plan('t', 1, volumes, Mix())
    assert schedule('s-1', _CALM, 1.0, 1.0) == schedule('s-1', _CALM, 1.0, 1.0) != []
    assert schedule('s-1', _CALM, 0.0, 1.0) == []


def test_histories_of_one_process(people: Crowd, tmp_path: pathlib.Path) -> None:
    began = time.monotonic()
    with Quick(tmp_path).run() as field:
        for number in range(25):
            if number > 4 and time.monotonic() - began > _ENOUGH:
                break
            killed = number == 3
            outcome = run_history(
                field,
                people,
                f'{_SEED}-{number}',
                names=('service',) if killed else _CALM,
                share=1.0 if killed else 0.3,
                mix=_MIX,
                refusals=True,
            )
            assert outcome.failures == [], f'{_explain(outcome)}\n{field.report()}'
            assert len(outcome.events) >= 15
        check_that_drift_is_seen(field)


def check_that_drift_is_seen(field: Field) -> None:
    """Whoever looks for what does not agree finds what was made so."""
    (volume,) = field.make_volumes(['shared'])
    code, reply = field.ask(
        'POST',
        '/v3/attachments',
        {
            'attachment': {
                'volume_uuid': volume,
                'instance_uuid': name_server(1),
                'connector': {'host': 'host1', 'initiator': 'iqn.1994-05.com.redhat:host1', 'ip': '127.0.0.1'},
            }
        },
    )
    assert code == 200, reply
    assert truth.check(field, [volume]) == []
    ident = reply['attachment']['id']
    field.execute('UPDATE volumes SET status = :status WHERE id = :ident', status='in-use', ident=volume)
    assert 'status in-use' in truth.check_rows(field, volume)[0]
    field.execute('UPDATE attachments SET state = :state WHERE id = :ident', state='reserved', ident=ident)
    found = '\n'.join([*truth.compare(field, [volume]), *truth.check_rows(field, volume)])
    for words in ('unused', 'the target admits', 'the timeline ends in exported, the row is reserved'):
        assert words in found, found


_BROKEN = """
from multiattach.domain import sharing
sharing.check_reserve = lambda volume, same_server, others: None
"""


def test_a_service_with_a_broken_rule_is_found_out(
    people: Crowd, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same histories, and a service that lets two servers have a volume for one."""
    mutant = tmp_path / 'mutant'
    mutant.mkdir()
    (mutant / 'sitecustomize.py').write_text(_BROKEN)
    monkeypatch.setenv('PYTHONPATH', f'{mutant}:{pathlib.Path(__file__).parents[2]}')
    with Quick(tmp_path).run() as field:
        for number in range(6):
            outcome = run_history(field, people, f'{_SEED}-{number}', mix=_MIX)
            if outcome.broken:
                break
        else:
            pytest.fail('nobody noticed')
    model, history, verdict = outcome.broken[0]
    assert not verdict.gave_up
    small = shrinker.shrink(model, history)
    assert len(small.events) <= len(history.events) / 2
    assert 'Nothing explains' in shrinker.describe(model, small)


@pytest.mark.slow
def test_histories_of_the_distributed_deployment(people: Crowd, tmp_path: pathlib.Path) -> None:
    field = Production(tmp_path)
    field.prepare(field.faults)
    with field.run():
        for number in range(40):
            outcome = run_history(
                field,
                people,
                f'{_SEED}-{number}',
                names=sorted({*field.faults, *field.trials}),
                share=0.4,
                refusals=True,
            )
            assert outcome.failures == [], f'{_explain(outcome)}\n{field.report()}'
