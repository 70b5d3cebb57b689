# SPDX-License-Identifier: Apache-2.0
"""Two workers of one machine, of which one has lost the volume's lock in the coordination backend."""

import threading
from pathlib import Path

import pytest

from multiattach.drivers.errors import TargetUnavailable
from multiattach.drivers.targets.lio.target import LioTarget

from .test_interrupted import HOLDER, PEER, VOLUME, Bench, register


def test_who_is_cut_off_is_not_among_those_who_are_given_back_what_they_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path)
    bench.write(register(HOLDER, holds=True), register(PEER))
    bench.target.check()
    bench.admit(HOLDER, PEER)
    other = LioTarget(bench.kernel, portal='192.0.2.1:3260', reservations_dir=tmp_path / 'others')
    read, goes_on = threading.Event(), threading.Event()
    prepare = bench.target._memory.prepare

    def wait(*words: object) -> None:
        read.set()
        goes_on.wait(10)
        prepare(*words)  # type: ignore[arg-type]

    monkeypatch.setattr(bench.target._memory, 'prepare', wait)
    clearing = threading.Thread(target=bench.target.clear_reservations, args=(VOLUME, None))
    clearing.start()
    try:
        assert read.wait(10)
        with other.within(0.1), pytest.raises(TargetUnavailable, match='another process'):
            other.fence(VOLUME, PEER, 'user')
    finally:
        goes_on.set()
        clearing.join()
    assert other.fence(VOLUME, PEER, 'user').acl
    assert bench.target._group(VOLUME).list_initiators() == [HOLDER]
