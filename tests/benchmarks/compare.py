# SPDX-License-Identifier: Apache-2.0
"""Measure Cinder 29 and this service, one after the other: ``python -m tests.benchmarks.compare FOLDER``.

Same machine, client, database, broker and uWSGI; FOLDER holds Cinder's virtual environment, which is made if it is
not there (see tests/benchmarks/cinder.py).
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import signal
import sys
import tempfile
import time
from typing import Any

from tests.benchmarks.cinder import FILES, Cinder
from tests.benchmarks.measures import MEASURES, Bench
from tests.benchmarks.parts import Parts
from tests.benchmarks.service import Service
from tests.testbed import processes
from tests.testbed.environments import ensure_venv

_USUAL = ['memory', 'cycles', 'one-volume', 'show', 'many-attachments', 'pages']


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='python -m tests.benchmarks.compare',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('folder', type=pathlib.Path, help="where Cinder's virtual environment is, or is made")
    parser.add_argument('--only', nargs='+', choices=MEASURES, default=_USUAL, help='what to measure')
    parser.add_argument('--seconds', type=float, default=10, help='how long each load runs (default: 10)')
    parser.add_argument('--processes', type=int, default=2, help='API processes of each (default: 2)')
    parser.add_argument('--threads', type=int, default=32, help='threads of each of ours (default: 32)')
    parser.add_argument('--cinder-threads', type=int, default=8, help="threads of each of Cinder's (default: 8)")
    parser.add_argument('--json', type=pathlib.Path, metavar='FILE', help='write the figures there, too')
    return parser.parse_args()


def _measure(title: str, service: Service, only: list[str], seconds: float) -> dict[str, Any]:
    """Start a service, measure and stop it.

    :returns: figures by name, and texts of what failed; a measure that broke off does not end the others.
    """
    print(f'{title}: starting', flush=True)
    began = time.monotonic()
    with service:
        bench = Bench(service.endpoint, service, seconds)
        for name in only:
            print(f'{title}, {name}:', flush=True)
            try:
                MEASURES[name](bench)
            except (Exception, SystemExit) as exc:
                bench.failures.append(f'{name}: {type(exc).__name__}: {exc}')
    print(f'{title}: {time.monotonic() - began:.0f} s', flush=True)
    return {'figures': bench.figures, 'failures': bench.failures}


def _ratio(name: str, theirs: float, ours: float) -> float | None:
    """How many times better ours is; None where there is no better."""
    if not theirs or not ours or name.startswith('32 sharers at once: attached'):
        return None
    return ours / theirs if '/s' in name else theirs / ours


def _report(cinder: dict[str, Any], ours: dict[str, Any]) -> None:
    print(f'\n{"":<68} {"Cinder":>10} {"here":>10} {"ratio":>7}')
    for name in dict.fromkeys([*cinder['figures'], *ours['figures']]):
        pair = [side['figures'].get(name) for side in (cinder, ours)]
        ratio = None if None in pair else _ratio(name, *pair)
        shown = ['' if one is None else f'{one:,.1f}' for one in (*pair, ratio)]
        print(f'{name:<68} {shown[0]:>10} {shown[1]:>10} {shown[2]:>7}')
    for title, side in (('Cinder', cinder), ('here', ours)):
        for text in sorted(set(side['failures']))[:10]:
            print(f'failed, {title}: {side["failures"].count(text)} times {text}', file=sys.stderr)


def main() -> int:
    """Measure both.

    :returns: exit code: 1 if any operation failed.
    """
    options = _parse()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever is cut short takes the servers along
    ensure_venv(options.folder, 'cinder', FILES / 'requirements.txt')
    versions = [processes.run([program, '--version']).strip() for program in ('mariadbd', 'rabbitmqctl')]
    began = datetime.datetime.now(datetime.UTC)
    with tempfile.TemporaryDirectory(prefix='ma-bench-') as name:
        top = pathlib.Path(name)
        services: dict[str, Service] = {
            'cinder': Cinder(top / 'cinder', options.folder, options.processes, options.cinder_threads),
            'ours': Parts(top / 'ours', 'null', options.processes, options.threads),
        }
        found = {title: _measure(title, one, options.only, options.seconds) for title, one in services.items()}
    _report(**found)
    print(f'\n{began:%Y-%m-%d %H:%M} UTC, {os.cpu_count()} cores, Python {platform.python_version()}; {versions}')
    if options.json:
        facts = {
            'date': began.isoformat(timespec='seconds'),
            'cores': os.cpu_count(),
            'python': platform.python_version(),
            'servers': versions,
            'options': {key: str(value) for key, value in vars(options).items()},
        }
        options.json.write_text(json.dumps({**facts, **found}, indent=1) + '\n')
    return 1 if any(side['failures'] for side in found.values()) else 0


if __name__ == '__main__':
    sys.exit(main())
