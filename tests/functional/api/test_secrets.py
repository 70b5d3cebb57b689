# SPDX-License-Identifier: Apache-2.0
"""CHAP secrets are in replies to those who may have them, and nowhere else."""

import io
import logging
import pathlib

import pytest

from multiattach.drivers.null import NullTarget
from multiattach.drivers.target import Grant, TargetInfo
from tests import deployment
from tests.functional.api.conftest import Caller, connector, make_application


class RecordingTarget(NullTarget):
    """Remembers the secrets."""

    def __init__(self) -> None:
        super().__init__()
        self.secrets: list[str] = []

    def grant(self, volume_id: str, device: str, grant: Grant) -> TargetInfo:
        self.secrets.append(grant.secret)
        return super().grant(volume_id, device, grant)


def test_no_log_and_no_fault_tells_it(tmp_path: pathlib.Path, capfd: pytest.CaptureFixture[str]) -> None:
    target, stream, root = RecordingTarget(), io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(stream), root.level
    with deployment.deploy(tmp_path, target, report_interval=3600) as parts:
        # Only now: the programs' own set-up takes the handlers of others away.
        root.addHandler(handler)
        root.setLevel(logging.DEBUG)
        try:
            call = Caller(make_application(parts), parts)
            volume = call.make_volume()
            good = call.reserve(volume, connector=connector('one'))
            assert good.json['attachment']['connection_info']['auth_password'] == target.secrets[0]
            with parts.db.engine.begin() as connection:
                connection.exec_driver_sql(
                    'CREATE TRIGGER broken BEFORE UPDATE OF connection_info ON attachments '
                    "BEGIN SELECT RAISE(ABORT, 'the disk is broken'); END"
                )
            bad = call.reserve(volume, connector=connector('two'))
            assert bad.status_int == 500
        finally:
            root.removeHandler(handler)
            root.setLevel(level)
    assert len(target.secrets) >= 2
    log = stream.getvalue()
    assert 'the disk is broken' in log  # else the test would not see anything
    for secret in target.secrets:
        for text in (log, *capfd.readouterr(), bad.text, *(str(value) for value in bad.headers.values())):
            assert secret not in text
