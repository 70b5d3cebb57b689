# SPDX-License-Identifier: Apache-2.0
"""Targets as Cinder's LIO driver makes them: by its ``cinder-rtstool``, over a file where that has a block device."""

import functools
import json
import os
import pathlib
import subprocess
import tempfile

#: names the folder of the programs of a Cinder (see tests/e2e/test_lio.py)
PROGRAMS_VARIABLE = 'MULTIATTACH_TEST_CINDER'
# Each line of commands has a process of its own, as each of Cinder has; only what they are made of is loaded once,
# which takes an emulated processor long.
_RTSTOOL = """
import json, os, sys, traceback
import rtslib_fb
rtslib_fb.BlockStorageObject = lambda name, dev: rtslib_fb.FileIOStorageObject(
    name, dev, os.stat(dev).st_size, write_back=True
)
from cinder.cmd import rtstool
for line in sys.stdin:
    child = os.fork()
    if not child:
        os.dup2(2, 1)
        try:
            os._exit(any(rtstool.main(['cinder-rtstool', *words]) for words in json.loads(line)))
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    print(os.waitpid(child, 0)[1], flush=True)
"""


def name_target(ident: str) -> str:
    return f'iqn.2010-10.org.openstack:volume-{ident}'


def make_target(portal: str, ident: str, device: pathlib.Path | str, account: tuple[str, str]) -> None:
    """Export a device of a volume; nobody is let in yet."""
    address, _, port = portal.rpartition(':')
    run(['create', str(device), name_target(ident), *account, 'False', f'-p{port}', f'-a{address}'])


def admit(ident: str, account: tuple[str, str], *initiators: str, file: pathlib.Path | None = None) -> None:
    """Let initiators in.

    :param file: where it is written down.
    """
    saving = [] if file is None else [['save', str(file)]]
    run(*(['add-initiator', name_target(ident), *account, name] for name in initiators), *saving)


def restore(file: pathlib.Path) -> None:
    """Have the kernel have again what was written down, as when the machine starts."""
    run(['restore', str(file)])


def run(*commands: list[str]) -> None:
    """Have commands carried out by one process."""
    process, said = _start()
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f'{json.dumps(commands)}\n')
    process.stdin.flush()
    assert process.stdout.readline() == '0\n', said.read_text(errors='replace')


@functools.cache
def _start() -> tuple[subprocess.Popen[str], pathlib.Path]:
    """Start what carries commands out, until this process ends; return it, and the file of what it says."""
    handle, path = tempfile.mkstemp(prefix='rtstool-')
    with open(handle, 'w') as file:
        process = subprocess.Popen(
            [f'{os.environ[PROGRAMS_VARIABLE]}/python', '-c', _RTSTOOL],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
        )
    return process, pathlib.Path(path)
