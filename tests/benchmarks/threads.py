# SPDX-License-Identifier: Apache-2.0
"""What I/O threads of tgtd cost and give: ``python -m tests.benchmarks.threads`` from the top of the tree.

Each number of threads is measured in turn, several times, next to one thread of the same round: on a machine
that does other things, too, ratios say more than figures. The disk is one that waits, by a library that is
loaded into tgtd. It needs root, gcc and libiscsi's ``iscsi-perf``.
"""

import contextlib
import itertools
import os
import pathlib
import re
import socket
import statistics
import subprocess
import tempfile
import uuid
from collections.abc import Iterator

from multiattach.drivers.targets.base import Export, Grant, account_name, generate_secret
from multiattach.drivers.targets.tgt.process import PrivateTgtd
from multiattach.drivers.targets.tgt.target import TgtTarget

_THREADS = (1, 2, 4, 8, 16)
_ROUNDS = 3
_SECONDS = 2
_EXPORTS = 100
_DELAYS = (100, 2000)  # us: an SSD, a disk behind a cache
_DISK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>
ssize_t pread64(int file, void *data, size_t size, off64_t at)
{
    static ssize_t (*real)(int, void *, size_t, off64_t);
    if (!real)
        real = dlsym(RTLD_NEXT, "pread64");
    usleep(atoi(getenv("DISK_DELAY")));
    return real(file, data, size, at);
}
"""
_SIZE = 256 << 20
_INITIATOR = 'iqn.2010-10.org.openstack.test:bench'


@contextlib.contextmanager
def _exported(threads: int, count: int, folder: pathlib.Path, delay: int = 0) -> Iterator[tuple[int, list[str]]]:
    """Export volumes; give tgtd's process id and the URLs of the volumes."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        portal = f'127.0.0.1:{probe.getsockname()[1]}'
    tgtd = PrivateTgtd(portal=portal, threads=threads, stop_timeout=60)
    os.environ |= {'LD_PRELOAD': str(folder / 'disk.so'), 'DISK_DELAY': str(delay)}
    try:
        target = TgtTarget(tgtd.start(), portal=portal)
    finally:
        del os.environ['LD_PRELOAD']
    try:
        urls = []
        for number in range(count):
            device = folder / f'device-{number}'
            device.touch()
            os.truncate(device, _SIZE)
            ident = str(uuid.uuid4())
            grant = Grant(_INITIATOR, account_name(ident, _INITIATOR), generate_secret())
            info = target.ensure_export(Export(ident, str(device), (grant,)))
            urls.append(f'iscsi://{grant.username}%{grant.secret}@{portal}/{info.iqn}/{info.lun}')
        assert tgtd.pid is not None
        yield tgtd.pid, urls
    finally:
        tgtd.stop()


def _read(pid: int, name: str) -> int:
    found = re.search(rf'^{name}:\s+(\d+)', pathlib.Path(f'/proc/{pid}/status').read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


def _load(urls: list[str], depth: int) -> float:
    """Read at random from all of them at once; return reads per second."""
    words = ['timeout', '-s', 'INT', str(_SECONDS), 'iscsi-perf', '-i', _INITIATOR, '-b', '8', '-m', str(depth), '-r']
    running = [
        subprocess.Popen([*words, url], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for url in urls
    ]
    total = 0.0
    for one in running:
        said = one.communicate(timeout=60)[0]
        found = re.findall(r'iops average (\d+)', said)
        assert found, said[-500:]
        total += int(found[-1])
    return total


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix='threads-') as name:
        folder = pathlib.Path(name)
        (folder / 'disk.c').write_text(_DISK)
        subprocess.run(['gcc', '-shared', '-fPIC', '-o', folder / 'disk.so', folder / 'disk.c', '-ldl'], check=True)
        print(f'{"threads":>8} {"of tgtd":>8} {"files":>6} {"memory":>10}   with {_EXPORTS} exports')
        for threads in _THREADS:
            with _exported(threads, _EXPORTS, folder) as (pid, _):
                files = len(os.listdir(f'/proc/{pid}/fd'))
                print(
                    f'{threads:>8} {_read(pid, "Threads"):>8} {files:>6} {_read(pid, "VmRSS") // 1024:>6} MiB',
                    flush=True,
                )
        for delay, count, depth in itertools.product(_DELAYS, (1, 8), (16,)):
            ratios: dict[int, list[float]] = {}
            for _ in range(_ROUNDS):
                one = 0.0
                for threads in _THREADS:
                    with _exported(threads, count, folder, delay) as (_, urls):
                        found = _load(urls, depth)
                    one = one or found
                    ratios.setdefault(threads, []).append(found / one)
            text = ', '.join(f'{threads}: {statistics.median(values):.2f}' for threads, values in ratios.items())
            print(
                f'{count} volumes, {depth} reads at once of each, {delay} us each; reads per second, one '
                f'thread = 1: {text}',
                flush=True,
            )


if __name__ == '__main__':
    main()
