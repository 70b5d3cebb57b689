# SPDX-License-Identifier: Apache-2.0
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest

from multiattach import failpoints
from multiattach.domain import errors
from multiattach.failpoints import Failpoints

_SOURCE = pathlib.Path(failpoints.__file__).parent
_NAME = 'volume.export.granted'


def _run(setting: str | None, code: str, seed: str | None = None) -> subprocess.CompletedProcess[str]:
    env = {} if setting is None else {failpoints.VARIABLE: setting}
    env |= {} if seed is None else {failpoints.SEED_VARIABLE: seed}
    return subprocess.run(
        [sys.executable, '-c', f'from multiattach import failpoints\n{code}'],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def _reach(points: Failpoints, name: str, times: int) -> list[int]:
    failed = []
    for number in range(1, times + 1):
        try:
            points.reach(name)
        except RuntimeError:
            failed.append(number)
    return failed


def test_each_name_of_the_table_is_reached_at_one_place_or_more_and_no_other_name() -> None:
    used = {
        name
        for path in _SOURCE.rglob('*.py')
        for name in re.findall(r"failpoints\.reach\(\s*'([^']+)'", path.read_text())
    }
    # Names that are put together from an event are listed by their prefix.
    for prefix in {
        found
        for path in _SOURCE.rglob('*.py')
        for found in re.findall(r"failpoints\.reach\(\s*f'([^'{]+)\{", path.read_text())
    }:
        used |= {name for name in failpoints.POINTS if name.startswith(prefix)}
    assert used == set(failpoints.POINTS)


def test_names_have_three_parts_and_a_sentence() -> None:
    for name, text in failpoints.POINTS.items():
        assert re.fullmatch(r'(engine|orders|volume|host)\.[a-z_]+\.[a-z_]+', name)
        assert text.endswith('.')


def test_nothing_happens_without_the_variable() -> None:
    done = _run(None, 'failpoints.check()\nfailpoints.reach("volume.export.granted")\nprint("alive")')
    assert (done.returncode, done.stdout, done.stderr) == (0, 'alive\n', '')


def test_kill_is_sigkill() -> None:
    done = _run(
        f'{_NAME}=kill',
        f'failpoints.reach("volume.export.planned")\nprint("there", flush=True)\n'
        f'failpoints.reach("{_NAME}")\nprint("alive")',
    )
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, 'there\n')
    assert done.stderr == f'failpoint {_NAME}: kill\n'


def test_exit_cleans_nothing_up() -> None:
    done = _run(f'{_NAME}=exit', f'import atexit\natexit.register(print, "cleaned")\nfailpoints.reach("{_NAME}")')
    assert (done.returncode, done.stdout) == (1, '')


def test_error_raises() -> None:
    with pytest.raises(RuntimeError, match=_NAME):
        Failpoints(f'{_NAME}=error').reach(_NAME)


def test_sleep_waits() -> None:
    started = time.monotonic()
    Failpoints(f'{_NAME}=sleep:0.05').reach(_NAME)
    assert time.monotonic() - started >= 0.05


def test_a_glob_names_many() -> None:
    points = Failpoints('volume.*=error')
    for name in failpoints.POINTS:
        assert bool(_reach(points, name, 1)) == name.startswith('volume.')


def test_only_the_nth_time() -> None:
    assert _reach(Failpoints(f'{_NAME}=error@3'), _NAME, 6) == [3]


def test_the_nth_time_of_a_glob_counts_all_its_names() -> None:
    points = Failpoints('volume.export.*=error@2')
    points.reach('volume.export.planned')
    assert _reach(points, _NAME, 2) == [1]


def test_a_chance_comes_from_the_seed() -> None:
    failed = _reach(Failpoints(f'{_NAME}=error%0.3', '7'), _NAME, 1000)
    assert failed == _reach(Failpoints(f'{_NAME}=error%0.3', '7'), _NAME, 1000)
    assert failed != _reach(Failpoints(f'{_NAME}=error%0.3', '8'), _NAME, 1000)
    assert 200 < len(failed) < 400


def test_the_first_rule_that_takes_effect_counts() -> None:
    points = Failpoints(f'{_NAME}=sleep:0@1, volume.*=error')
    assert _reach(points, _NAME, 3) == [2, 3]


@pytest.mark.parametrize(
    ('text', 'named'),
    [
        ('volume.export.grated=kill', 'volume.export.grated'),
        ('nothing*=kill', 'nothing*'),
        (f'{_NAME}=maim', 'maim'),
        (f'{_NAME}=sleep', 'sleep'),
        (f'{_NAME}=kill@0', 'kill@0'),
        (f'{_NAME}=kill%1.5', 'kill%1.5'),
        (_NAME, _NAME),
        ('=kill', "''"),
    ],
)
def test_what_is_wrong_is_named(text: str, named: str) -> None:
    with pytest.raises(errors.ConfigurationError, match=re.escape(named)) as caught:
        Failpoints(text)
    assert failpoints.VARIABLE in caught.value.message


@pytest.mark.parametrize('program', ['api', 'volume', 'host', 'standalone', 'manage'])
def test_a_wrong_variable_ends_a_start_with_one_line(program: str) -> None:
    done = _run(
        'volume.export.nowhere=kill', f'from multiattach.cmd import {program}\nimport sys\nsys.exit({program}.main())'
    )
    assert done.returncode == 2
    assert "no failpoint is named 'volume.export.nowhere'" in done.stderr
    assert done.stderr.count('\n') == 1
