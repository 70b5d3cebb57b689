# SPDX-License-Identifier: Apache-2.0
"""The schemas that Cinder's own migrations make: three releases, on each database that a Cinder runs on."""

import os
import pathlib

import pytest
import sqlalchemy as sa

from multiattach.db import models
from multiattach.takeover import source, tables
from tests.functional.takeover.cinder_rows import CinderRows
from tests.testbed import processes
from tests.testbed.environments import ensure_venv
from tests.testbed.postgresql import PostgreSQL
from tests.testbed.servers import MariaDB

REQUIREMENTS = pathlib.Path(__file__).parents[2] / 'benchmarks/files/requirements.txt'
RELEASES = ('27.0.0', '28.0.0', '29.0.0')
CONF = """[DEFAULT]
state_path = {folder}
transport_url = fake:/
[database]
connection = {url}
[oslo_concurrency]
lock_path = {folder}
"""


@pytest.fixture(scope='module')
def servers(tmp_path_factory):
    made = {
        'mariadb': MariaDB(tmp_path_factory.mktemp('m') / 'mariadb', durable=False),
        'postgresql': PostgreSQL(pathlib.Path('/tmp') / f'multiattach-cinder-{os.getpid()}', durable=False),
    }
    try:
        for server in made.values():
            server.start()
        yield made
    finally:
        for server in made.values():
            server.stop()


def make_schema(release, url, folder):
    """Have Cinder make its tables, as its operator does."""
    lines = [
        f'cinder=={release}' if line.startswith('cinder==') else line for line in REQUIREMENTS.read_text().splitlines()
    ]
    programs = ensure_venv(None, 'cinder-schema', [*lines, 'psycopg2-binary'])
    conf = folder / 'cinder.conf'
    theirs = sa.make_url(url)
    if theirs.get_backend_name() == 'mysql':
        theirs = theirs.set(drivername='mysql+pymysql')
    conf.write_text(CONF.format(folder=folder, url=theirs.render_as_string(False)))
    env = {'PATH': os.environ['PATH'], 'HOME': str(folder), 'PYTHONWARNINGS': 'ignore'}
    processes.run([programs / 'cinder-manage', '--config-file', conf, 'db', 'sync'], env=env)
    return conf


@pytest.mark.slow
@pytest.mark.parametrize('database', ['sqlite', 'mariadb', 'postgresql'])
@pytest.mark.parametrize('release', RELEASES)
def test_a_real_schema(mover, servers, tmp_path, release, database):
    name = f'cinder_{release.partition(".")[0]}'
    url = f'sqlite:///{tmp_path}/real.sqlite' if database == 'sqlite' else servers[database].create_database(name)
    make_schema(release, url, tmp_path)
    theirs = mover.theirs = CinderRows(url)
    qos = theirs.add_qos('fast', consumer='front-end', total_iops_sec='500')
    kind = theirs.add_type('multi', {'multiattach': '<is> True'}, qos_specs_id=qos, is_public=False)
    theirs.add('volume_type_projects', volume_type_id=kind, project_id='p1')
    theirs.add('default_volume_types', project_id='p1', volume_type_id=kind)
    theirs.add('quotas', project_id='p1', resource='volumes', hard_limit=7)
    volume, gone = theirs.add_volume(kind), theirs.add_volume(kind)
    theirs.attach(volume, 'h1')
    theirs.attach(volume, 'h2')
    theirs.delete('volumes', gone)
    for table in ('volume_metadata', 'volume_admin_metadata', 'volume_glance_metadata'):
        theirs.add(table, volume_id=volume, key='key', value='value')
    found = mover.run()
    assert found.obstacles == []
    assert found.revision
    # Cinder's migrations make a type and the limits of the default class.
    assert found.plan.count() == {
        'qos-specs': 1,
        'volume-type': 2,
        'default-type': 1,
        'quota': 2,
        'volume': 1,
        'attachment': 2,
        'snapshot': 0,
    }
    with mover.db.reader() as session:
        assert session.execute(sa.select(sa.func.count()).select_from(models.Attachment)).scalar_one() == 2
    again = mover.run()
    assert (again.comparison.new, again.comparison.changed, again.comparison.gone) == ([], [], [])
    assert {table.name for table in tables.CINDER.sorted_tables} <= set(sa.inspect(theirs.engine).get_table_names())
    assert len(source.read(url).metadata) == 1
    theirs.close()
