# SPDX-License-Identifier: Apache-2.0
"""Measure a Block Storage v3 endpoint: ``python -m tests.benchmarks`` starts its own production parts.

With ``--url`` another endpoint is measured as it stands: ``python -m tests.benchmarks.cinder`` starts Cinder, and
``python -m tests.benchmarks.compare`` measures both.
"""

import argparse
import contextlib
import datetime
import json
import os
import pathlib
import platform
import signal
import sys
import tempfile
import time

from tests.benchmarks.accounting import Account
from tests.benchmarks.measures import MEASURES, Bench
from tests.benchmarks.parts import Parts
from tests.benchmarks.wire import Endpoint

_EPILOG = """\
examples (from the top of the tree, as root for the databases' private servers):
  python -m tests.benchmarks --json results.json
  python -m tests.benchmarks --target tgt --only cycles
  python -m tests.benchmarks --url http://127.0.0.1:8776/v3/PROJECT --token TOKEN --only cycles show
"""


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='python -m tests.benchmarks',
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--url', help='endpoint to measure instead of our own parts')
    parser.add_argument(
        '--token', default=os.environ.get('OS_TOKEN', 'admin'), help='token of an admin (default: $OS_TOKEN)'
    )
    parser.add_argument('--header', action='append', default=[], metavar='NAME:VALUE', help='for each request to --url')
    parser.add_argument('--pids', nargs='+', type=int, default=[], help='processes of --url; their children count, too')
    parser.add_argument('--server-pids', nargs='+', type=int, default=[], help='processes of its database and broker')
    parser.add_argument('--microversion', type=int, default=60, metavar='N', help='3.N (default: 60)')
    parser.add_argument(
        '--target',
        choices=('null', 'tgt'),
        default='null',
        help="our worker's target driver (default: null, which does nothing)",
    )
    parser.add_argument('--only', nargs='+', choices=MEASURES, default=list(MEASURES), help='what to measure')
    parser.add_argument('--seconds', type=float, default=10, help='how long each load runs (default: 10)')
    parser.add_argument('--processes', type=int, default=2, help='processes of our API (default: 2)')
    parser.add_argument('--threads', type=int, default=32, help='threads of each (default: 32)')
    parser.add_argument('--json', type=pathlib.Path, metavar='FILE', help='write the figures there, too')
    return parser.parse_args()


def main() -> int:
    """Measure and report.

    :returns: exit code: 1 if any operation failed.
    """
    options = _parse()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever is cut short takes the servers along
    with contextlib.ExitStack() as stack:
        parts = None
        if options.url:
            headers = {name: value.strip() for name, _, value in (text.partition(':') for text in options.header)}
            endpoint = Endpoint(options.url, options.token, options.microversion, headers)
        else:
            print('starting MariaDB, RabbitMQ, the API and a volume worker ...', flush=True)
            folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix='ma-bench-')))
            parts = stack.enter_context(Parts(folder, options.target, options.processes, options.threads))
            endpoint = parts.endpoint
        account = Account(options.pids, options.server_pids) if options.pids else None
        bench = Bench(endpoint, parts, options.seconds, account)
        stack.callback(bench.clean_up)
        began = time.monotonic()
        for name in options.only:
            print(f'{name}:', flush=True)
            MEASURES[name](bench)
    print(f'measured in {time.monotonic() - began:.0f} s on {os.cpu_count()} cores, Python {platform.python_version()}')
    for text in sorted(set(bench.failures))[:10]:
        print(f'failed: {bench.failures.count(text)} times {text}', file=sys.stderr)
    if options.json:
        options.json.write_text(
            json.dumps(
                {
                    'date': datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds'),
                    'cores': os.cpu_count(),
                    'python': platform.python_version(),
                    'target': options.target,
                    'url': options.url,
                    'figures': bench.figures,
                    'failures': len(bench.failures),
                },
                indent=1,
            )
            + '\n'
        )
    return 1 if bench.failures else 0


if __name__ == '__main__':
    sys.exit(main())
