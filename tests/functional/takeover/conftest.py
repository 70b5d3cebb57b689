# SPDX-License-Identifier: Apache-2.0
import pytest

from multiattach.db import database, migration, services as db_services
from multiattach.db.transitions import Actor
from multiattach.domain.services import VOLUME_BINARY
from multiattach.takeover import source
from multiattach.takeover.imports import Imports
from tests.functional.takeover.cinder_rows import HOST, PORTAL, CinderRows

OURS = 'new@lvm'
MAPPING = [f'{HOST}={OURS}']


@pytest.fixture
def theirs(tmp_path):
    rows = CinderRows(f'sqlite:///{tmp_path}/cinder.sqlite', make=True)
    yield rows
    rows.close()


@pytest.fixture
def db(tmp_path):
    opened = database.Database(f'sqlite:///{tmp_path}/ours.sqlite')
    migration.sync(opened)
    db_services.beat(opened, VOLUME_BINARY, OURS, 'nova', {'protocol': 'iscsi', 'portal': PORTAL})
    yield opened
    opened.close()


class Mover:
    """An operator with both databases."""

    def __init__(self, db, theirs):
        self.db = db
        self.theirs = theirs
        self.imports = Imports(db, 60, Actor('manage'))

    def check(self, named=MAPPING, conf=None):
        return self.imports.check(source.read(self.theirs.url), named, conf)

    def run(self, named=MAPPING, conf=None, **options):
        return self.imports.run(source.read(self.theirs.url), named, conf, **options)


@pytest.fixture
def mover(db, theirs):
    return Mover(db, theirs)
