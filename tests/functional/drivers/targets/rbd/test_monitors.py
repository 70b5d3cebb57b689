# SPDX-License-Identifier: Apache-2.0
"""Several monitors: each knows its own clients only, and of one that is silent nobody knows whom it has."""

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest

from multiattach.drivers.ceph.sessions import read_sessions
from multiattach.drivers.targets.rbd.service import RbdTarget
from tests.deployments.noauth import HEADERS
from tests.testbed.ceph import Ceph
from tests.testbed.polling import wait_until

from .cloud import Cloud, deploy_on, make_connector
from .writer import BLOCK

pytestmark = pytest.mark.slow  # a Ceph of its own, and a monitor's clients take their time to leave it


@pytest.fixture
def cloud(tmp_path: pathlib.Path) -> Iterator[Cloud]:
    with Ceph(tmp_path / 'several', monitors=3) as ceph, deploy_on(ceph, tmp_path, rados_connect_timeout=10) as made:
        yield made


def write_conf(cloud: Cloud, monitor: str) -> pathlib.Path:
    """Write a configuration file by which a client begins at one monitor."""
    lines = cloud.ceph.conf.read_text().splitlines()
    made = cloud.folder / f'{monitor}.conf'
    told = f'mon host = {cloud.ceph.portals[monitor]}'
    made.write_text('\n'.join(told if line.startswith('mon host') else line for line in lines) + '\n')
    return made


@contextlib.contextmanager
def connect_at(cloud: Cloud, info: dict[str, Any], monitor: str) -> Iterator[Any]:
    """Be a client that has its session with one monitor; on a busy machine it may turn to another one at first."""
    for _ in range(10):
        with cloud.connect(info, conf=write_conf(cloud, monitor)) as io:
            if find_place(cloud, info['auth_username']) == {monitor}:
                yield io
                return
    raise AssertionError(f'it does not stay with monitor {monitor}')


def find_place(cloud: Cloud, entity: str) -> set[str]:
    target = cloud.deployed.target
    assert isinstance(target, RbdTarget)
    return {one.monitor for one in read_sessions(target.pool).list_of(f'client.{entity}')}


def find_follower(cloud: Cloud) -> str:
    """Return a monitor that the others do not wait for."""
    leader = cloud.ceph.ask('quorum_status')['quorum_leader_name']
    return next(one for one in cloud.ceph.portals if one != leader)


def test_the_sessions_of_each_are_read(cloud: Cloud) -> None:
    volume_id = cloud.deployed.make_volume('multi')
    for monitor in cloud.ceph.portals:
        info = cloud.attach(volume_id, make_connector('a'))['connection_info']
        with connect_at(cloud, info, monitor):
            pass


def test_while_one_is_silent_nothing_is_proven(cloud: Cloud) -> None:
    """Who only reads is known to his monitor alone, which hangs with his session."""
    volume_id = cloud.deployed.make_volume('multi')
    row, other = (cloud.attach(volume_id, make_connector('a')) for _ in range(2))
    monitor, info = find_follower(cloud), row['connection_info']
    near = cloud.write(other['connection_info'], 1 << 20)

    def fence() -> tuple[int, dict[str, Any]]:
        path = f'/v3/multiattach/attachments/{row["id"]}/fence'
        reply = cloud.app.post_json(path, {'fence': {}}, headers=HEADERS, expect_errors=True)
        return reply.status_code, reply.json

    with connect_at(cloud, info, monitor) as io, cloud.rbd.Image(io, f'volume-{volume_id}', read_only=True) as image:
        image.read(0, BLOCK)
        with cloud.ceph.frozen(f'mon.{monitor}'):
            # In time its clients are elsewhere, and are found there; the service may be one of them.
            answers: list[tuple[int, Any]] = []

            def is_answered() -> bool:
                answers.append(fence())
                near.go_on()
                return answers[-1][0] != 504

            wait_until(is_answered, 240, 'an answer', 2)
            assert f'monitors {monitor} of Ceph do not tell' in str(answers)
            code, said = answers[-1]
            assert code == 200, said
            proof = said['fence']['attachments'][0]['proof']
            assert proof['ceph']['monitors_silent'] == [monitor]
            assert list(cloud.list_users()) == [other['connection_info']['auth_username']]
            with pytest.raises(cloud.rbd.Error):
                image.read(0, BLOCK)
            near.go_on()
