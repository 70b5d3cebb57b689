# SPDX-License-Identifier: Apache-2.0
"""kill -9 at each failpoint of a worker at a target, which is the kernel's; the next worker puts all right.

The other failpoints, and those on tgtd, are those of tests/functional/failpoints. A life of the service is a fork here:
programs that are started anew take an emulated processor minutes.
"""

import json
import os
import pathlib
import signal
import traceback
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import orm

from multiattach import failpoints
from multiattach.db import models
from multiattach.domain import errors, states
from multiattach.drivers.targets.lio.configfs import ROOT
from tests.deployments import embedded
from tests.deployments.noauth import make_connector
from tests.deployments.targets import KernelTarget
from tests.functional.drivers.targets.tgt.initiator import LoginRefused, Session
from tests.functional.failpoints.table import CASES

pytestmark = [pytest.mark.kernel_target, pytest.mark.slow]

ACTIONS = ('connect', 'disconnect', 'fence', 'refuse', 'restore')
POINTS = [point for point, case in CASES.items() if point.startswith('volume.') and case.action in ACTIONS]
_OF_THE_WORKER = ('exporting', 'unexporting', 'fencing')
PREFIX = 'iqn.2010-10.org.openstack:volume-'


class Life:
    """The service from its start to its end, however that comes.

    :param folder: of all its lives.
    :param target: the kernel's, which outlives them.
    """

    def __init__(self, folder: pathlib.Path, target: KernelTarget) -> None:
        self._folder = folder
        self._target = target
        self._facts = folder / 'facts.json'

    def live(self, act: Callable[[embedded.Deployment], None]) -> int:
        """Do something in a process of its own; return its exit status, negative for a signal."""
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                url = f'sqlite:///{self._folder}/lives.sqlite'
                with embedded.deploy(self._folder, self._target, url=url, report_interval=0.2) as deployed:
                    act(deployed)
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def die(self, point: str, action: str) -> int:
        def act(d: embedded.Deployment) -> None:
            d.make_type()
            volume = d.make_volume('multi')
            kept = self._attach(d, volume, 'kept')
            row = d.engine.attachments.create(d.ctx, volume, str(uuid.uuid4()), None, None)
            if action in ('disconnect', 'fence'):
                d.engine.attachments.connect(d.ctx, row.id, make_connector('one'))
            if action == 'refuse':
                self._file(volume).rename(self._file(volume).with_suffix('.away'))
                self._target.lose()  # else nobody opens the file
            info = d.engine.attachments.show(d.ctx, row.id).connection_info
            self._facts.write_text(json.dumps({'volume': volume, 'kept': kept.id, 'one': row.id, 'info': info}))
            failpoints.reach = failpoints.Failpoints(f'{point}=kill').reach
            if action in ('connect', 'refuse'):
                d.engine.attachments.connect(d.ctx, row.id, make_connector('one'))
            elif action == 'disconnect':
                d.engine.attachments.delete(d.ctx, row.id)
            elif action == 'fence':
                d.engine.fences.fence_attachment(d.ctx, row.id)
            else:
                self._target.lose()
                d.exporter.forget()
                d.worker.tend()

        return self.live(act)

    def _attach(self, d: embedded.Deployment, volume: str, host: str) -> models.Attachment:
        row = d.engine.attachments.create(d.ctx, volume, str(uuid.uuid4()), make_connector(host), None)
        d.engine.attachments.complete(d.ctx, row.id)
        return row

    def _file(self, volume: str) -> pathlib.Path:
        return self._folder / 'volumes' / f'volume-{volume}'

    def come_back(self, outcome: str) -> int:
        def act(d: embedded.Deployment) -> None:
            facts = json.loads(self._facts.read_text())
            volume, one = facts['volume'], facts['one']
            d.wait(lambda: not list_open(d), 60)
            rows = {row.id: row for row in list_rows(d)}
            if outcome == 'refused':
                assert rows[one].state == 'reserved'
                assert str(rows[one].error).startswith('export volume: ')
                self._file(volume).with_suffix('.away').rename(self._file(volume))
                d.exporter.forget()
                d.worker.tend()
            else:
                state = {'exported': 'exported', 'cut off': 'fenced', 'exports': 'reserved', 'gone': None}[outcome]
                assert (rows[one].state if one in rows else None) == state
            if outcome == 'cut off':
                proof = rows[one].fence_proof
                assert set(map(bool, proof['left'].values())) == {False}
                with pytest.raises(LoginRefused):
                    log_in(str(rows[one].initiator), facts['info'])
            admitted = [row for row in rows.values() if row.state in states.ADMITTED]
            assert list_entries(volume) == sorted(str(row.initiator).lower() for row in admitted)
            for row in admitted:
                log_in(str(row.initiator), row.connection_info)
            assert d.reconciler.run(fix=False) == []
            for ident in (facts['kept'], one):
                detach(d, ident)
            assert not (ROOT / 'iscsi' / f'{PREFIX}{volume}').exists()
            assert d.status(volume) == 'available'

        return self.live(act)


def list_rows(d: embedded.Deployment) -> list[models.Attachment]:
    with d.db.reader() as session:
        query = sa.select(models.Attachment).where(models.Attachment.deleted_at.is_(None)).options(orm.undefer('*'))
        return list(session.scalars(query))


def list_open(d: embedded.Deployment) -> list[str]:
    return [row.id for row in list_rows(d) if row.state in _OF_THE_WORKER]


def list_entries(volume: str) -> list[str]:
    folder = ROOT / 'iscsi' / f'{PREFIX}{volume}' / 'tpgt_1' / 'acls'
    return sorted(os.listdir(folder)) if folder.exists() else []


def log_in(initiator: str, info: Mapping[str, Any]) -> None:
    words = (info['target_portal'], info['target_iqn'], initiator, info['auth_username'], info['auth_password'])
    with Session(*words) as session:
        session.read(0)


def detach(d: embedded.Deployment, ident: str) -> None:
    try:
        d.engine.attachments.delete(d.ctx, ident)
    except errors.AttachmentNotFound:
        return


@pytest.mark.parametrize('point', POINTS)
def test_kill(tmp_path: pathlib.Path, point: str, capfd: pytest.CaptureFixture[str]) -> None:
    case = CASES[point]
    target = KernelTarget()
    life = Life(tmp_path, target)
    try:
        assert life.die(point, case.action) == -signal.SIGKILL
        assert f'failpoint {point}: kill' in capfd.readouterr().err
        assert life.come_back(case.outcome) == 0, capfd.readouterr()
    finally:
        target.clear()
