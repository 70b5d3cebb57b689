# SPDX-License-Identifier: Apache-2.0
"""Runs programs in processes of their own that need not import everything again.

Started as a script it reads one request a line in JSON: a program's words, and whether its errors are to be
apart. It answers with exit code, output and errors. Each runs in a fork, before which there is no thread and no
configuration.
"""

import atexit
import functools
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from typing import Any

MODULES = {
    f'multiattach-{name}': f'multiattach.cmd.{name}'
    for name in ('api', 'volume', 'host', 'standalone', 'manage', 'status')
}
WSGI = 'multiattach-wsgi'
_PATIENCE = 60


class Nursery:
    """A process that forks programs."""

    def __init__(self) -> None:
        from tests.deployments.programs import make_environment  # not for the script

        self._child = subprocess.Popen(
            [sys.executable, '-W', 'ignore', __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=make_environment(COLUMNS='400'),
        )

    def run(self, *words: object) -> tuple[int, str]:
        """Run a program until it ends, or until it is ready, and stop it then.

        :returns: exit code, and what it said.
        """
        code, said, _ = self._ask(words, apart=False)
        return code, said

    def call(self, *words: object) -> 'subprocess.CompletedProcess[str]':
        """Run a program to its end, its errors apart."""
        return subprocess.CompletedProcess(words, *self._ask(words, apart=True))

    def _ask(self, words: tuple[object, ...], apart: bool) -> tuple[int, str, str]:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(json.dumps([[str(word) for word in words], apart]) + '\n')
        self._child.stdin.flush()
        code, out, err = json.loads(self._child.stdout.readline())
        return code, out, err

    def close(self) -> None:
        assert self._child.stdin is not None
        self._child.stdin.close()
        self._child.wait(30)


@functools.cache
def open_nursery() -> Nursery:
    """Return the one of this process, which ends with it."""
    nursery = Nursery()
    atexit.register(nursery.close)
    return nursery


def _run(words: list[str], apart: bool) -> tuple[int, str, str]:
    with tempfile.TemporaryFile('w+') as out, tempfile.TemporaryFile('w+') as err:
        pid = os.fork()
        if pid == 0:
            os.dup2(out.fileno(), 1)
            os.dup2((err if apart else out).fileno(), 2)
            os._exit(_be(words))
        signal.signal(signal.SIGALRM, lambda *_: os.kill(pid, signal.SIGKILL))
        signal.alarm(_PATIENCE)
        _, status = os.waitpid(pid, 0)
        signal.alarm(0)
        out.seek(0)
        err.seek(0)
        return os.waitstatus_to_exitcode(status), out.read(), err.read()


def _be(words: list[str]) -> int:
    code: Any = 255
    try:
        sys.argv = words
        if words[0] == WSGI:
            os.environ['MULTIATTACH_CONFIG_FILES'] = words[2]
            importlib.import_module('multiattach.wsgi.api')
            return 0
        code = sys.modules[MODULES[words[0]]].main()
    except SystemExit as exc:
        code = exc.code
    except BaseException as exc:
        print(f'{type(exc).__name__}: {exc}', file=sys.stderr)
        code = 254
    sys.stdout.flush()
    sys.stderr.flush()
    return code if isinstance(code, int) else 0 if code is None else 1


if __name__ == '__main__':
    for _module in (*MODULES.values(), 'multiattach.wsgi.files', 'multiattach.wsgi.chunked'):
        importlib.import_module(_module)
    for _line in sys.stdin:
        print(json.dumps(_run(*json.loads(_line))), flush=True)
