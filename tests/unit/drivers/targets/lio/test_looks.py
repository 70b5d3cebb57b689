# SPDX-License-Identifier: Apache-2.0
"""Looks of people at a target, which nobody has locked: a pipe stands for a file that the kernel keeps."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from multiattach.drivers.errors import TargetUnavailable

from .test_interrupted import PEER, VOLUME, Bench


@pytest.mark.parametrize('what', ['pr/res_pr_registered_i_pts', 'udev_path'])
def test_whoever_looks_waits_no_longer_than_he_said(tmp_path: Path, what: str) -> None:
    bench = Bench(tmp_path)
    bench.admit(PEER)
    place = bench.target._stores.find(VOLUME)
    assert place is not None
    (place / what).unlink(missing_ok=True)
    os.mkfifo(place / what)
    look: Callable[[str], object] = bench.target.show if what == 'udev_path' else bench.target.read_reservations
    with bench.target.within(0.2), pytest.raises(TargetUnavailable, match='has not ended it'):
        look(VOLUME)
    os.close(os.open(place / what, os.O_WRONLY))
