# SPDX-License-Identifier: Apache-2.0
"""A database that is away for a while: what the log says, and how long a command takes to say it."""

import itertools
import logging
import socket
import time

import pytest
import sqlalchemy as sa
import webtest

from multiattach.cmd.application import make_application
from tests.deployments import embedded
from tests.deployments.nursery import open_nursery

_AWAY = 12  # s, of which calls are tried again for 8


@pytest.fixture
def busy(server, tmp_path, relay):
    """A control plane whose worker does something all the time."""
    url = sa.make_url(server.find_database(tmp_path)).set(port=relay.port)
    with embedded.deploy(tmp_path, url=url.render_as_string(hide_password=False), report_interval=0.1) as parts:
        yield parts
    server.recycle()


def test_one_line_when_it_goes_and_one_when_it_is_back(busy, relay, caplog):
    app = webtest.TestApp(make_application(busy.conf, busy.engine, busy.rpc))
    parts = busy
    parts.wait(parts.engine.services.list_backends)
    caplog.clear()
    with caplog.at_level(logging.INFO), relay.away():
        end = time.monotonic() + _AWAY
        while time.monotonic() < end:
            began = time.monotonic()
            reply = app.get('/v3/os-services', expect_errors=True)
            assert reply.status_int == 503
            assert time.monotonic() - began < 10
            app.get('/healthcheck', expect_errors=True)
    with caplog.at_level(logging.INFO):
        parts.wait(lambda: any('works again' in record.getMessage() for record in caplog.records))
        time.sleep(1)
    # Not of messaging and coordination that tests before this one have left behind; and SQLAlchemy says once of
    # each connection that was in use that it is lost.
    said = [
        one for one in caplog.records if one.levelno >= logging.INFO and one.name.startswith(('multiattach', 'oslo_db'))
    ]
    text = '\n'.join(f'{record.name} {record.getMessage()}' for record in said)
    assert text.count('The database takes no connection') == 1
    assert text.count('The database works again; it failed') == 1
    assert [one for one in said if one.exc_info] == [], text
    assert len(said) <= 4, text


_WORDS = [('service', 'list'), ('doctor',), ('config', 'check', '--connect')]
_KINDS = ['mysql', 'mysql+pymysql', 'postgresql', 'postgresql+psycopg']


@pytest.mark.parametrize(
    ('words', 'kind', 'hangs'),
    [
        # One that hangs is waited for: each command and each driver once, in the gate.
        pytest.param(*row, marks=[pytest.mark.slow] if row[2] and _WORDS[0] != row[0] and row[1] != _KINDS[0] else [])
        for row in itertools.product(_WORDS, _KINDS, (False, True))
    ],
)
def test_commands_say_in_time_that_it_is_away(tmp_path, words, kind, hangs):
    with socket.socket() as place:
        place.bind(('127.0.0.1', 0))
        if hangs:  # it accepts, and never says a word
            place.listen()
        config = tmp_path / 'x.conf'
        config.write_text(
            f'[database]\nconnection = {kind}://u:s3cret@127.0.0.1:{place.getsockname()[1]}/x\n'
            f'[DEFAULT]\nstate_path = {tmp_path}\ntransport_url = fake://\n'
        )
        began = time.monotonic()
        done = open_nursery().call('multiattach-manage', '--config-file', config, *words)
        took = time.monotonic() - began
    assert done.returncode in (1, 2)
    assert 'Option connection in [database]' in done.stderr
    assert 'Traceback' not in done.stderr
    assert 's3cret' not in done.stderr
    # Ten seconds, and what a busy machine takes to start Python: without a limit it would be minutes.
    assert took < 30
    assert not hangs or took < 8 or 'Still waiting' in done.stderr
