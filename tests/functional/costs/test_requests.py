# SPDX-License-Identifier: Apache-2.0
"""What each request pays, whatever it asks for, in calls of functions: a time would be another one on each machine."""

import sys

import pytest
import webob

from multiattach.api import deploy
from multiattach.api.settings import ApiSettings
from tests import contexts
from tests.deployments import embedded
from tests.functional.costs.test_attachment_calls import Meter

PROJECT = '0' * 32


@pytest.fixture
def quiet(tmp_path):
    """A deployment whose worker does not write while we count."""
    with embedded.deploy(tmp_path, report_interval=3600) as deployed:
        yield deployed


@pytest.fixture
def application(quiet):
    return deploy.make_application(quiet.engine, ApiSettings())


def count_calls(application, path, status=200):
    """Count the functions in Python that a request calls; the first one, and who looks at policy files, calls more."""
    return min(ask(application, path, status) for _ in range(5))


def ask(application, path, status=200):
    calls = 0

    def note(_frame, event, _arg):
        nonlocal calls
        calls += event == 'call'

    def start(line, _headers):
        assert line.startswith(str(status))

    environ = webob.Request.blank(path, headers={'OpenStack-API-Version': 'volume 3.71'}).environ
    sys.setprofile(note)
    try:
        application(environ, start)
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize(('path', 'status', 'most'), [('/v3/', 200, 120), ('/v3/nothing', 404, 180)])
def test_an_empty_request(application, path, status, most):
    assert count_calls(application, path, status) <= most


def test_a_volume_without_attachments_is_one_statement(quiet, application):
    volume_id = quiet.make_volume(ctx=contexts.make_context(project=PROJECT))
    meter = Meter(quiet)
    for path in (f'/v3/volumes/{volume_id}', '/v3/volumes/detail'):
        ask(application, path)
        meter.read()
        ask(application, path)
        assert meter.read() == (1, 0, 0), path


def test_a_page_calls_the_less_for_each_volume(quiet, application):
    ctx = contexts.make_context(project=PROJECT)
    costs = []
    for number in (1, 9):
        for _ in range(number):
            quiet.make_volume(ctx=ctx)
        costs.append(count_calls(application, '/v3/volumes/detail'))
    assert (costs[1] - costs[0]) / 9 <= 30
