# SPDX-License-Identifier: Apache-2.0
"""A program in place of ``rbd``, and folders in place of the kernel's; with the real ones: tests/e2e."""

import os
import time
from pathlib import Path

import pytest

from multiattach.drivers.errors import TargetBusy, TargetError, TargetRequestInvalid, TargetUnavailable
from multiattach.drivers.targets.lio import kernel_image
from multiattach.drivers.targets.lio.kernel_image import KernelImages, split

DEVICE = 'rbd:volumes/volume-1:id=multiattach:conf=/etc/ceph/ceph.conf'
# It maps as number 7, and does what its test has written into "act".
PROGRAM = """\
#!/bin/sh
set -e
echo "$@" >>{folder}/said
. {folder}/act
case $2 in
    map) mkdir -p {root}/7; echo volumes >{root}/7/pool; echo volume-1 >{root}/7/name; echo /dev/rbd7 ;;
    unmap) rm -r {root}/7 ;;
esac
"""


class Bench:
    def __init__(self, folder: Path) -> None:
        self.root = folder / 'devices'
        self._folder = folder
        program = folder / 'rbd'
        program.write_text(PROGRAM.format(folder=folder, root=self.root))
        program.chmod(0o755)
        self.act('')

    def act(self, text: str) -> None:
        (self._folder / 'act').write_text(text)

    def said(self) -> list[str]:
        path = self._folder / 'said'
        return path.read_text().splitlines() if path.exists() else []

    def make(self) -> KernelImages:
        return KernelImages(self.root)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setenv('PATH', f'{tmp_path}{os.pathsep}{os.environ["PATH"]}')
    return Bench(tmp_path)


def soon(seconds: float = 30) -> float:
    return time.monotonic() + seconds


def test_what_is_missing_is_named(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_image, '_MORE_PATH', ())
    with pytest.raises(TargetError, match='modprobe'):  # this root no module makes
        bench.make().check()
    bench.root.mkdir()
    bench.make().check()
    monkeypatch.setenv('PATH', '/nowhere')
    with pytest.raises(TargetUnavailable, match='rbd is missing: install the package ceph-common'):
        bench.make().check()


def test_an_image_is_mapped_once_and_unmapped(bench: Bench) -> None:
    images = bench.make()
    assert images.find('volumes/volume-1') == ''
    assert [images.open(DEVICE, soon()) for _ in range(2)] == ['/dev/rbd7'] * 2
    assert images.find('volumes/volume-1') == images.find_name('volume-1') == '/dev/rbd7'
    images.close('/dev/rbd7', soon())
    images.close('/dev/rbd7', soon())
    assert images.find('volumes/volume-1') == ''
    assert bench.said() == [
        'device map --options noudev --id multiattach --conf /etc/ceph/ceph.conf volumes/volume-1',
        'device unmap --options noudev /dev/rbd7',
    ]


def test_what_a_worker_that_died_has_mapped_is_found(bench: Bench) -> None:
    bench.make().open(DEVICE, soon())
    assert bench.make().open(DEVICE, soon()) == '/dev/rbd7'
    assert bench.make().find_name('volume-1') == '/dev/rbd7'
    assert len(bench.said()) == 1


def test_what_another_program_has_unmapped_is_mapped_again(bench: Bench) -> None:
    images, other = bench.make(), bench.make()
    images.open(DEVICE, soon())
    other.close('/dev/rbd7', soon())
    assert images.open(DEVICE, soon()) == '/dev/rbd7'
    assert len(bench.said()) == 3


def test_the_last_line_of_a_refusal_is_told(bench: Bench) -> None:
    bench.act('echo "rbd: sysfs write failed" >&2; echo "rbd: map failed: (2) No such file or directory" >&2; exit 2')
    with pytest.raises(TargetError, match='No such file or directory'):
        bench.make().open(DEVICE, soon())


def test_what_does_not_answer_may_be_mapped_later(bench: Bench) -> None:
    images = bench.make()
    bench.act('[ $2 = unmap ] || exec sleep 60')
    with pytest.raises(TargetUnavailable):
        images.open(DEVICE, soon(0.2))
    bench.act('')
    bench.make().open(DEVICE, soon())  # as the kernel may have done after all
    assert images.find_name('volume-1') == '/dev/rbd7'


def test_one_that_is_busy_for_a_moment_is_unmapped_later(bench: Bench, tmp_path: Path) -> None:
    images = bench.make()
    images.open(DEVICE, soon())
    bench.act(f'[ -e {tmp_path}/asked ] || {{ touch {tmp_path}/asked; exit 16; }}')
    images.close('/dev/rbd7', soon())
    images.open(DEVICE, soon())
    bench.act('exit 16')
    with pytest.raises(TargetBusy):
        images.close('/dev/rbd7', soon(0.2))


@pytest.mark.parametrize(
    'device',
    ['/dev/sda', 'rbd:volumes', 'rbd:/volume-1', 'rbd:-o/volume-1', 'rbd:a/b/c', 'rbd:a/b:key=x', 'rbd:a/b:id='],
)
def test_a_name_that_is_none_is_refused(device: str) -> None:
    with pytest.raises(TargetRequestInvalid):
        split(device)
