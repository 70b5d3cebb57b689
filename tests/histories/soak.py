# SPDX-License-Identifier: Apache-2.0
"""Histories, one after the other, until one fails or time is over."""

import argparse
import collections
import contextlib
import json
import logging
import os
import pathlib
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence

from multiattach import failpoints
from tests.histories import calls, shrinker
from tests.histories.checker import History, check
from tests.histories.field import TYPES, Field
from tests.histories.generator import count_open, crowd
from tests.histories.model import Model, State
from tests.histories.production import Production
from tests.histories.quick import Quick
from tests.histories.replicated import Replicated
from tests.histories.runner import Outcome, run_history

_DEPLOYMENTS = {'quick': Quick, 'production': Production, 'replicated': Replicated}
# One death in some histories, wherever a step ends; starting takes seconds.
_FAILPOINTS = '*=kill%0.0004'


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog='soak',
        description='Runs random histories against a real deployment while it is disturbed, and '
        'checks each: linearizable, and database, target, sessions, files and quotas agree.',
    )
    parser.add_argument('--seconds', type=float, help='end after so many seconds (3600 without --histories)')
    parser.add_argument('--histories', type=int, help='end after so many histories')
    parser.add_argument(
        '--seed',
        default=None,
        help='of the first history; by default a random one. '
        'History number N of seed S has the seed S-N, which may be given here, too',
    )
    parser.add_argument(
        '--faults',
        default='all',
        help='all, none, or a list of names separated by commas (failpoints among them); a wrong name lists them',
    )
    parser.add_argument('--share', type=float, default=0.5, help='how many histories have a fault (0 to 1)')
    parser.add_argument('--deployment', choices=sorted(_DEPLOYMENTS), default='quick')
    parser.add_argument('--keep-going', action='store_true', help='go on after a failure')
    parser.add_argument(
        '--folder', type=pathlib.Path, default=None, help='where failing histories are kept (default: the current one)'
    )
    parser.add_argument('--check', type=pathlib.Path, metavar='FILE', help='judge a kept history again')
    options = parser.parse_args(words)
    if options.seconds is None and options.histories is None:
        options.seconds = 3600.0
    if options.seed is None:
        options.seed = f'{random.SystemRandom().randrange(16**6):06x}'
    return options


class Soak:
    """A run and its numbers.

    :param options: command line.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._began = time.monotonic()
        self._told = 0.0
        self.histories = self.events = self.open = self.failures = self.nodes = self.slowest = 0
        self.gave_up = 0
        self.kinds: collections.Counter[str] = collections.Counter()
        self.codes: collections.Counter[str] = collections.Counter()
        self.blows: collections.Counter[str] = collections.Counter()
        self.seconds: collections.Counter[str] = collections.Counter()

    def is_over(self) -> bool:
        """Tell whether enough was done."""
        most, limit = self._options.histories, self._options.seconds
        return (
            (most is not None and self.histories >= most)
            or (limit is not None and time.monotonic() - self._began > limit)
            or (bool(self.failures) and not self._options.keep_going)
        )

    def note(self, outcome: Outcome) -> None:
        """Count a history."""
        self.histories += 1
        self.events += len(outcome.events)
        self.open += count_open(outcome.events)
        self.failures += bool(outcome.failures)
        self.gave_up += outcome.gave_up
        self.nodes += outcome.nodes
        self.slowest = max(self.slowest, outcome.nodes)
        for event in outcome.events:
            self.kinds[event.call.kind] += 1
            self.codes[str(event.reply.code) if event.reply else 'no answer'] += 1
        for blow in outcome.blows:
            self.blows[blow.name] += 1
        self.seconds.update(outcome.seconds)

    def progress(self, field: Field) -> None:
        """Print a line now and then."""
        now = time.monotonic()
        if now - self._told < 10:
            return
        self._told = now
        spent = now - self._began
        print(
            f'{spent:7.0f} s  {self.histories} histories, {self.events} calls ({self.open} without an '
            f'answer), {sum(self.blows.values())} faults, {_deaths(field)} restarts, {self.failures} '
            f'failures, {self.histories / spent:.2f} histories/s',
            flush=True,
        )

    def fail(self, outcome: Outcome, field: Field) -> None:
        """Print a failure, shrunk, with what reproduces it."""
        folder = self._options.folder or pathlib.Path()
        folder.mkdir(parents=True, exist_ok=True)
        kept = folder / f'history-{outcome.seed}.json'
        kept.write_text(write_histories([(model, history) for model, history, _verdict in outcome.broken]))
        (folder / f'history-{outcome.seed}.log').write_text(field.report())
        print(
            f'\nHistory {outcome.seed} failed; faults: '
            f'{", ".join(f"{blow.name} after {blow.after:.2f} s" for blow in outcome.blows) or "none"}'
        )
        for text in outcome.failures:
            print(f'* {text}')
        for model, history, _verdict in outcome.broken:
            print(shrinker.describe(model, shrinker.shrink(model, history)))
        options = self._options
        print(
            f'Again: tools/soak --histories 1 --seed {outcome.seed} --deployment {options.deployment} '
            f'--faults {options.faults} --share {options.share}\n'
            f'Judge it again: tools/soak --check {kept}',
            flush=True,
        )

    def summarise(self, field: Field) -> str:
        """Write the table for the documentation."""
        spent = time.monotonic() - self._began
        rows = [
            ('Deployment', self._options.deployment),
            ('Seeds', f'{self._options.seed}-0 to {self._options.seed}-{self.histories - 1}'),
            ('Histories', f'{self.histories} in {spent:.0f} s ({self.histories / spent:.2f}/s)'),
            ('Failures', f'{self.failures}, searches given up: {self.gave_up}'),
            ('Calls', f'{self.events}, of these without an answer: {self.open}'),
            ('Calls by kind', _list(self.kinds)),
            ('Answers', _list(self.codes)),
            ('Faults', _list(self.blows) or 'none'),
            ('Restarts of killed programs', str(_deaths(field))),
            ('Configurations searched', f'{self.nodes}, most for one history: {self.slowest}'),
            ('Time by part', ', '.join(f'{name} {value:.0f} s' for name, value in self.seconds.items())),
        ]
        return '.. list-table::\n   :stub-columns: 1\n   :widths: 25 75\n\n' + '\n'.join(
            f'   * - {name}\n     - {value}' for name, value in rows
        )


def _list(counts: collections.Counter[str]) -> str:
    return ', '.join(f'{name} {number}' for name, number in sorted(counts.items()))


def _deaths(field: Field) -> int:
    return int(getattr(field, 'deaths', 0))


def write_histories(found: Sequence[tuple[Model, History]]) -> str:
    """Write histories as JSON, for :func:`check_again`."""
    return json.dumps([_write(model, history) for model, history in found])


def _write(model: Model, history: History) -> dict[str, object]:
    return {
        'start': history.start._replace(held=()),
        'strays': [[k, v] for k, v in history.strays.items()],
        'timelines': history.timelines,
        'snapshot': model.snapshot,
        'refusals': model.refusals,
        'events': [calls.to_json(event) for event in history.events],
    }


def check_again(path: pathlib.Path) -> int:
    """Judge a kept history again.

    :returns: exit code.
    """
    worst = 0
    for found in json.loads(path.read_text()):
        model = Model(TYPES, snapshot=found['snapshot'], refusals=found['refusals'])
        status, kind, size, new_size, _held = found['start']
        history = History(
            State(status, kind, size, new_size),
            [calls.from_json(one) for one in found['events']],
            {server: tuple(idents) for server, idents in found['strays']},
            {ident: tuple(line) for ident, line in found['timelines'].items()},
        )
        verdict = check(model, history)
        print(f'{"linearizable" if verdict.ok else "not linearizable"}, {verdict.nodes} configurations')
        if not verdict.ok:
            worst = 1
            print(shrinker.describe(model, shrinker.shrink(model, history, print)))
    return worst


@contextlib.contextmanager
def _armed(rules: str, seed: str):  # type: ignore[no-untyped-def]
    os.environ[failpoints.VARIABLE], os.environ[failpoints.SEED_VARIABLE] = rules, seed
    try:
        yield
    finally:
        del os.environ[failpoints.VARIABLE], os.environ[failpoints.SEED_VARIABLE]


def run(options: argparse.Namespace) -> int:
    """Run histories.

    :returns: exit code.
    """
    soak = Soak(options)
    with contextlib.ExitStack() as stack:
        people = stack.enter_context(crowd())
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix='soak-')))
        field: Field = _DEPLOYMENTS[options.deployment](folder)
        names, points = choose(field, options.faults)
        field.prepare(names)
        if points:
            stack.enter_context(_armed(_FAILPOINTS, options.seed))
        stack.enter_context(field.run())
        print(
            f'{options.deployment} is up; seed {options.seed}; faults: '
            f'{", ".join([*names, *(["failpoints"] if points else [])]) or "none"}',
            flush=True,
        )
        try:
            while not soak.is_over():
                seed = (
                    options.seed
                    if options.histories == 1 and '-' in options.seed
                    else f'{options.seed}-{soak.histories}'
                )
                outcome = run_history(
                    field,
                    people,
                    seed,
                    names=names,
                    share=options.share if names else 0.0,
                    refusals=bool(names or points),
                )
                soak.note(outcome)
                if outcome.failures:
                    soak.fail(outcome, field)
                soak.progress(field)
        except KeyboardInterrupt:
            print('interrupted')
        print(f'\n{soak.summarise(field)}')
    return 1 if soak.failures else 0


def choose(field: Field, wanted: str) -> tuple[list[str], bool]:
    """Choose faults.

    :param field: the deployment.
    :param wanted: ``all``, ``none`` or names.
    :returns: names, and whether failpoints are armed.
    """
    every = sorted({*field.faults, *field.trials})
    known = [*every, 'failpoints']
    if wanted in ('all', 'none'):
        return (every, True) if wanted == 'all' else ([], False)
    names = wanted.split(',')
    if unknown := sorted(set(names) - set(known)):
        raise SystemExit(f'soak: no fault is named {", ".join(unknown)}; they are {", ".join(known)}')
    return [name for name in names if name != 'failpoints'], 'failpoints' in names


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def main(words: Sequence[str] | None = None) -> int:
    """Entry point."""
    options = parse(sys.argv[1:] if words is None else words)
    if options.check:
        return check_again(options.check)
    signal.signal(signal.SIGTERM, _interrupt)
    logging.disable(logging.CRITICAL)  # its own messages, when it sends orders while the broker is away
    return run(options)
