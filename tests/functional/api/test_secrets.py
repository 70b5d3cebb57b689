# SPDX-License-Identifier: Apache-2.0
"""CHAP secrets are in replies to those who may have them, and nowhere else."""

import io
import logging
import pathlib

import pytest

from multiattach.drivers.targets.base import Grant, TargetInfo
from multiattach.drivers.targets.null import NullTarget
from tests.deployments import embedded
from tests.deployments.noauth import make_connector
from tests.functional.api.conftest import Caller, make_application


class RecordingTarget(NullTarget):
    """Remembers the secrets."""

    def __init__(self) -> None:
        super().__init__()
        self.secrets: list[str] = []

    def grant(self, volume_id: str, device: str, grant: Grant) -> TargetInfo:
        self.secrets.append(grant.secret)
        return super().grant(volume_id, device, grant)


# Ways to have a database refuse to store a secret, with the statement in its error; and back.
BREAK = {
    'sqlite': 'CREATE TRIGGER broken BEFORE UPDATE OF connection_info ON attachments '
    "BEGIN SELECT RAISE(ABORT, 'the disk is broken'); END",
    'mysql': 'CREATE TRIGGER broken BEFORE UPDATE ON attachments FOR EACH ROW '
    'IF NOT NEW.connection_info <=> OLD.connection_info THEN '
    "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'the disk is broken'; END IF",
    'postgresql': 'CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS '
    "$$ BEGIN RAISE EXCEPTION 'the disk is broken'; END $$; "
    'CREATE TRIGGER broken BEFORE UPDATE OF connection_info ON attachments '
    'FOR EACH ROW EXECUTE FUNCTION fail()',
}
MEND = {
    'sqlite': 'DROP TRIGGER broken',
    'mysql': 'DROP TRIGGER broken',
    'postgresql': 'DROP TRIGGER broken ON attachments; DROP FUNCTION fail',
}


def execute(parts: embedded.Deployment, statements: str) -> None:
    with parts.db.engine.begin() as connection:
        connection.exec_driver_sql(statements)


def test_no_log_and_no_fault_tells_it(tmp_path: pathlib.Path, capfd: pytest.CaptureFixture[str]) -> None:
    target, stream, root = RecordingTarget(), io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(stream), root.level
    with embedded.deploy(tmp_path, target, report_interval=3600) as parts:
        # Only now: the programs' own set-up takes the handlers of others away.
        root.addHandler(handler)
        root.setLevel(logging.DEBUG)
        try:
            call = Caller(make_application(parts), parts)
            volume = call.make_volume()
            good = call.reserve(volume, connector=make_connector('one'))
            assert good.json['attachment']['connection_info']['auth_password'] == target.secrets[0]
            dialect = parts.db.engine.dialect.name
            execute(parts, BREAK[dialect])
            try:
                bad = call.reserve(volume, connector=make_connector('two'))
            finally:
                execute(parts, MEND[dialect])
            assert bad.status_int == 504  # the worker does not know what came of it, and tries again
        finally:
            root.removeHandler(handler)
            root.setLevel(level)
    assert len(target.secrets) >= 2
    log = stream.getvalue()
    assert 'the disk is broken' in log  # else the test would not see anything
    for secret in target.secrets:
        for text in (log, *capfd.readouterr(), bad.text, *(str(value) for value in bad.headers.values())):
            assert secret not in text
