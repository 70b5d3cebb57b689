# SPDX-License-Identifier: Apache-2.0
"""A program in place of ``rbd``, and folders in place of the kernel's; with the real ones: tests/e2e."""

import os
import time
from pathlib import Path

import pytest

from multiattach.drivers.errors import TargetBusy, TargetError, TargetRequestInvalid, TargetUnavailable
from multiattach.drivers.targets.base import Grant
from multiattach.drivers.targets.lio import kernel_image
from multiattach.drivers.targets.lio.kernel_image import KernelImages, split
from multiattach.drivers.targets.lio.target import LioTarget

from .kernel import Kernel

VOLUME = 'e86fec73-383d-4741-ab2e-6b30294ca723'
IMAGE = f'rbd:volumes/volume-{VOLUME}:id=multiattach:conf=/etc/ceph/ceph.conf'
DEVICE = 'rbd:volumes/volume-1:id=multiattach:conf=/etc/ceph/ceph.conf'
# It maps as number 7, and does what its test has written into "act".
PROGRAM = """\
#!/bin/sh
set -e
echo "$@" >>{folder}/said
. {folder}/act
case $2 in
    map) mkdir -p {root}/7; echo volumes >{root}/7/pool; echo {name} >{root}/7/name; echo /dev/rbd7 ;;
    unmap) rm -r {root}/7 ;;
esac
"""


class Bench:
    def __init__(self, folder: Path) -> None:
        self.root = folder / 'devices'
        self._folder = folder
        self._program = folder / 'rbd'
        self.write('volume-1')
        self.act('')

    def write(self, name: str) -> None:
        """Write the program, which maps an image of that name."""
        self._program.write_text(PROGRAM.format(folder=self._folder, root=self.root, name=name))
        self._program.chmod(0o755)

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


@pytest.mark.parametrize(('file', 'text'), [('current_snap', 'backup'), ('pool_ns', 'tenant'), ('block/rbd3/ro', '1')])
def test_what_somebody_else_has_mapped_of_it_is_not_exported(bench: Bench, file: str, text: str) -> None:
    place = bench.root / '3'
    (place / file).parent.mkdir(parents=True)
    for name, said in {'pool': 'volumes', 'name': 'volume-1', 'current_snap': '-', 'pool_ns': '', file: text}.items():
        (place / name).write_text(f'{said}\n')
    images = bench.make()
    assert images.find('volumes/volume-1') == images.find_name('volume-1') == ''
    assert images.open(DEVICE, soon()) == '/dev/rbd7'
    images.close('/dev/rbd7', soon())
    assert place.is_dir()
    (place / file).write_text({'block/rbd3/ro': '0', 'current_snap': '-', 'pool_ns': ''}[file])
    assert bench.make().find('volumes/volume-1') == '/dev/rbd3'


def test_an_image_that_somebody_has_open_keeps_no_fence_from_its_end(bench: Bench, tmp_path: Path) -> None:
    target = _make_target(bench, tmp_path)
    target.grant(VOLUME, IMAGE, Grant('iqn.a:host', 'user', 'secret'))
    bench.act('[ $2 = map ] || exit 16')
    with target.within(4):
        cut = target.fence(VOLUME, 'iqn.a:host', 'user', alone=True)
    assert (cut.acl, cut.whole) == (True, True)
    assert target.show(VOLUME) is None
    bench.act('')
    target.remove_export(VOLUME)  # as a deletion does
    assert not (bench.root / '7').exists()


def test_a_size_that_ceph_does_not_tell_keeps_nobody_for_ever(bench: Bench, tmp_path: Path) -> None:
    """A pipe that nobody reads stands for it."""
    target = _make_target(bench, tmp_path)
    target.grant(VOLUME, IMAGE, Grant('iqn.a:host', 'user', 'secret'))
    os.mkfifo(bench.root / '7' / 'refresh')
    with target.within(0.2), pytest.raises(TargetUnavailable, match='has not ended it'):
        target.extend(VOLUME, IMAGE)
    assert (bench.root / '7' / 'refresh').read_text() == '1'  # lets the thread go that was left behind


def _make_target(bench: Bench, tmp_path: Path) -> LioTarget:
    bench.write(f'volume-{VOLUME}')
    kernel = Kernel(tmp_path / 'kernel')
    target = LioTarget(kernel, portal='192.0.2.1:3260', reservations_dir=tmp_path / 'reservations')
    target._stores._images = bench.make()
    return target


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
