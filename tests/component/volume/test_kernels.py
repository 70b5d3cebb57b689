# SPDX-License-Identifier: Apache-2.0
"""Workers of one cluster on several machines, whose targets are of their kernels."""

import pathlib
import threading
from collections.abc import Iterator

import pytest

from multiattach.cmd import kernels
from multiattach.db import services as db_services
from multiattach.domain import errors
from multiattach.domain.services import VOLUME_BINARY
from multiattach.drivers.targets.null import NullTarget
from tests.deployments import embedded


class KernelLike(NullTarget):
    IS_KERNEL = True


@pytest.fixture
def d(tmp_path: pathlib.Path) -> Iterator[embedded.Deployment]:
    with embedded.deploy(tmp_path, KernelLike(), start_worker=False, report_interval=0.1) as deployed:
        deployed.conf.set_override('report_interval', 0.2)
        yield deployed


def beat(
    d: embedded.Deployment,
    kernel: int | None = 2,
    cluster: str = 'storage@file',
    host: str = 'left@file',
    starting: bool = False,
) -> None:
    report = {'cluster': cluster, 'kernel': kernel, 'starting': starting}
    db_services.beat(d.db, VOLUME_BINARY, host, 'nova', report)


def check(d: embedded.Deployment) -> None:
    kernels.check(d.conf, d.db, 'storage@file', 'right@file', d.target)


def test_one_that_is_alive_with_another_kernel_keeps_others_from_starting(d: embedded.Deployment) -> None:
    d.conf.set_override('report_interval', 10.0)  # it ends with the first heartbeat
    beat(d)
    ended = threading.Event()

    def live() -> None:
        while not ended.wait(0.05):
            beat(d)

    alive = threading.Thread(target=live)
    alive.start()
    try:
        with pytest.raises(errors.ConfigurationError, match=r'Option cluster in \[volume\]: left@file serves'):
            check(d)
    finally:
        ended.set()
        alive.join()


def test_one_that_died_of_late_does_not(d: embedded.Deployment) -> None:
    beat(d)
    check(d)


@pytest.mark.parametrize(('kernel', 'cluster'), [(1, 'storage@file'), (None, 'storage@file'), (2, 'others@file')])
def test_who_has_the_same_kernel_or_other_volumes_is_not_waited_for(
    d: embedded.Deployment, monkeypatch: pytest.MonkeyPatch, kernel: int | None, cluster: str
) -> None:
    beat(d, kernel, cluster)
    monkeypatch.setattr(kernels.time, 'sleep', lambda _seconds: pytest.fail('it is'))
    check(d)


def test_of_two_that_start_at_once_the_first_by_name_goes_on(d: embedded.Deployment) -> None:
    d.conf.set_override('report_interval', 1.0)
    hosts = []

    def start(mine: str, other: str, *, starting: bool = True) -> None:
        """Report at the same moments as another one does."""

        def beat_both() -> None:
            hosts.append(mine)
            beat(d, 1, host=mine, starting=True)
            beat(d, 2, host=other, starting=starting)

        kernels.check(d.conf, d.db, 'storage@file', mine, d.target, beat_both)

    start('left@file', 'right@file')
    assert len(hosts) > 1, 'it reports while it waits'
    with pytest.raises(errors.ConfigurationError, match='left@file serves'):
        start('right@file', 'left@file')
    with pytest.raises(errors.ConfigurationError, match='right@file serves'):
        start('left@file', 'right@file', starting=False)


def test_a_worker_sees_others_once_it_has_reported(d: embedded.Deployment) -> None:
    told = []
    d.worker.check_kernel = lambda: told.append(d.worker.report()['starting'])
    embedded.start(d.worker)
    try:
        assert told == [True]
        assert d.worker.report()['starting'] is False
    finally:
        d.worker.stop()


def test_a_worker_tells_which_kernel_it_has(d: embedded.Deployment) -> None:
    assert d.worker.report()['kernel'] == 1
    assert d.exporter.kernel == 1
