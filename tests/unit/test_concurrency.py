# SPDX-License-Identifier: Apache-2.0
"""The backend is chosen before anything is imported that would have to be patched."""

import os
import subprocess
import sys

import pytest

_PROBE = """
import multiattach.cmd
import threading
from eventlet import patcher
from oslo_service import backend
from multiattach import concurrency
print(patcher.is_monkey_patched('thread'), backend.get_backend_type().value, concurrency.is_green(),
      concurrency.native('threading').Thread is threading.Thread)
"""


def run(mode: str | None, program: str = _PROBE) -> subprocess.CompletedProcess[str]:
    env = {key: value for key, value in os.environ.items() if key != 'MULTIATTACH_CONCURRENCY'}
    if mode is not None:
        env['MULTIATTACH_CONCURRENCY'] = mode
    return subprocess.run(
        [sys.executable, '-W', 'error::UserWarning', '-c', program],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize('mode', [None, '', 'threading'])
def test_threads_are_the_default(mode):
    done = run(mode)
    assert (done.stdout, done.stderr) == ('False threading False True\n', '')


def test_eventlet_is_chosen_by_one_variable():
    done = run('eventlet')
    assert (done.stdout, done.stderr) == ('True eventlet True False\n', '')


def test_another_word_stops_the_start_and_names_the_variable():
    done = run('gevent')
    assert done.returncode != 0
    assert done.stderr == (
        "Environment variable MULTIATTACH_CONCURRENCY must be threading or eventlet, not 'gevent'.\n"
    )


def test_each_program_chooses_first():
    """The first import of each program is the package that chooses."""
    for module in ('api', 'volume', 'host', 'manage', 'status', 'standalone'):
        done = run('gevent', f'import multiattach.cmd.{module}')
        assert 'MULTIATTACH_CONCURRENCY' in done.stderr, module
    assert 'MULTIATTACH_CONCURRENCY' in run('gevent', 'import multiattach.wsgi.api').stderr


_HEAPS = """
import os
import threading
import multiattach.cmd

def allocate(begun):
    kept = [bytearray(4096) for _ in range(100)]
    begun.wait()
    ended.wait()

ended, begun = threading.Event(), threading.Barrier(31)
for _ in range(30):
    threading.Thread(target=allocate, args=(begun,)).start()
begun.wait()
with open('/proc/self/maps') as maps:
    # A heap of a thread is 64 MiB of addresses at a multiple of that; the first pages can be written.
    heaps = [line for line in maps if line.split()[1] == 'rw-p' and len(line.split()) == 5
             and int(line.partition('-')[0], 16) % (64 << 20) == 0]
ended.set()
print(len(heaps))
"""


def test_threads_share_one_heap(monkeypatch):
    monkeypatch.setenv('MALLOC_ARENA_MAX', '8')  # whoever sets it is not overruled
    before = int(run(None, _HEAPS).stdout)
    monkeypatch.delenv('MALLOC_ARENA_MAX')
    assert int(run(None, _HEAPS).stdout) <= 1 < before
