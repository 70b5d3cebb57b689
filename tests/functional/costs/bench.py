# SPDX-License-Identifier: Apache-2.0
"""Counts what operations pay, and reads what doc/source/reference/costs.rst says of them."""

import collections
import functools
import json
import re
import time

import sqlalchemy as sa
import webtest

from multiattach.api import deploy
from multiattach.api.settings import ApiSettings
from multiattach.db import models
from multiattach.drivers.glance.client import ImageApi
from multiattach.rpc.clients import VolumeWorkers
from tests.functional.costs.test_attachment_calls import DOC, HEADERS, Meter

CALLS = [name for name in vars(VolumeWorkers) if not name.startswith('_')]
V, S, M = models.Volume, models.Snapshot, models.Migration
QUIET = 0.2  # s without a statement


class Bench:
    """A service with two backends, and what it pays for each request."""

    def __init__(self, deployed, monkeypatch):
        self.deployed = deployed
        self.app = webtest.TestApp(deploy.make_application(deployed.engine, ApiSettings()))
        self.meter = Meter(deployed)
        self.calls = collections.Counter()
        # Looks that cost nothing.
        self._beside = sa.create_engine(deployed.conf.database.connection)
        self.costs = {}
        for name in CALLS:
            monkeypatch.setattr(VolumeWorkers, name, self._count('rpc', getattr(VolumeWorkers, name)))
        monkeypatch.setattr(ImageApi, '_send', self._count('images', ImageApi._send))
        self.settle()

    def _count(self, what, call):
        @functools.wraps(call)
        def counted(*args, **words):
            self.calls[what] += 1
            return call(*args, **words)

        return counted

    def close(self):
        self._beside.dispose()

    def look(self, query):
        with self._beside.connect() as connection:
            return connection.execute(query).scalar()

    def ask(self, name, method, path, body=None, done=None):
        """Make a request, and note what was paid until it is done and nothing more happens.

        :param done: a query, and what it gives in the end
        """
        self.meter.read()
        self.calls.clear()
        reply = self.app.request(f'/v3{path}', method=method, headers=HEADERS, **_encode(body))
        found = reply.json if reply.body else {}
        if done is not None:
            query, wanted = done(found)
            self.deployed.wait(lambda: self.look(query) == wanted, 60)
        if done is not None or self.calls:
            self.settle()
        self.costs[name] = self.meter.read()[0], self.calls['rpc'], self.calls['images']
        return found

    def check(self, number):
        """Compare with one of the tables; a row without a third number asks the Image service nothing."""
        assert self.costs == read_table(number, self.deployed.db.engine.dialect.name)

    def settle(self):
        before = None
        while before != sum(self.meter.counts.values()):
            before = sum(self.meter.counts.values())
            time.sleep(QUIET)


def _encode(body):
    if body is None:
        return {}
    return {'body': json.dumps(body).encode(), 'content_type': 'application/json'}


def has_status(model, ident, status='available'):
    return sa.select(model.status).where(model.id == ident), status


def is_made(model, noun):
    """Tell what to wait for of something that a request makes."""
    return lambda reply: has_status(model, reply[noun]['id'])


def is_gone(model, ident):
    return sa.select(sa.func.count()).where(model.id == ident, model.deleted_at.is_(None)), 0


def has_moved(volume_id, number):
    """Nothing of so many migrations of it is left to do."""
    query = sa.select(sa.func.count()).where(M.volume_id == volume_id, M.state == 'done')
    return query, number


def read_table(number, dialect):
    """Read a table of the documentation, the first one being 0: statements, RPC calls, requests to Glance, by name."""
    table = DOC.read_text().split('.. list-table::')[number + 1]
    rows = re.findall(
        r'^   \* - ([a-z ]+)\n     - (\d+) / (\d+) / (\d+)\n     - (\d+)(?:\n     - (\d+))?$', table, re.MULTILINE
    )
    place = ('sqlite', 'mysql', 'postgresql').index(dialect)
    return {name: (int(found[place]), int(found[3]), int(found[4] or 0)) for name, *found in rows}
