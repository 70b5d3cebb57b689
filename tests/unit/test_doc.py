# SPDX-License-Identifier: Apache-2.0
"""The documentation as it is built: what is made of the code is all there, and a picture that is wrong is not drawn."""

import functools
import html
import json
import pathlib
import re
import shutil
import subprocess

import api_ref
import pictures
import pytest
import release_notes
import yaml

from multiattach import conf, policies
from multiattach.api import microversion, openapi
from multiattach.api.actions import list_actions
from multiattach.api.block import absent, app as block
from multiattach.api.compute import app as compute
from multiattach.domain import drift, states

TOP = pathlib.Path(__file__).resolve().parents[2]
PICTURES = [pictures.render_parts, pictures.render_layers, pictures.render_attach, pictures.render_machine]


@pytest.fixture(scope='module')
def built(tmp_path_factory):
    """Build as ``tox -e docs`` does."""
    folder = tmp_path_factory.mktemp('html')
    done = subprocess.run(
        ['sphinx-build', '-q', '-W', '--keep-going', '-b', 'html', 'doc/source', folder],
        cwd=TOP,
        timeout=300,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope='module')
def read(built):
    """Read a page as text without its tags."""

    @functools.cache
    def read_page(name):
        text = re.sub(r'<(script|style).*?</\1>|<[^>]*>', '', (built / f'{name}.html').read_text(), flags=re.DOTALL)
        return html.unescape(text)

    return read_page


def test_the_page_of_states_names_each(read):
    page = read('reference/states')
    words = {*states.ATTACHMENT_STATES, *states.ATTACHMENT_EVENTS, *states.VOLUME_EVENTS, *states.DERIVED_STATUSES}
    assert {word for word in words if not re.search(rf'\b{word}\b', page)} == set()
    assert all(info.doc in page for info in states.ATTACHMENT_STATES.values())


def test_the_page_of_drift_names_each_kind(read):
    page = read('reference/drift')
    assert [kind for kind in drift.TABLE if not re.search(rf'\b{kind}\b', page)] == []


def test_the_reference_of_the_api_names_each_route_and_action(read):
    page = read('reference/api')
    for mount, controllers in (('/v3', block.CONTROLLERS), ('/compute/v2.1', compute.CONTROLLERS)):
        for route, _, controller in api_ref.list_routes(controllers):
            if controller is absent.AbsentController:
                assert route.path.split('/')[1] in page
            else:
                assert f'{route.method} {mount}{route.path}' in page
    [acting] = [found for found in block.CONTROLLERS if found.__name__ == 'VolumeActionsController']
    names = [action.name for action, _ in list_actions(acting)]
    assert len(names) > 20
    assert [name for name in names if name not in page] == []


def test_the_page_of_policies_names_each_rule(read):
    page = read('configuration/policies')
    assert [rule.name for rule in policies.list_rules() if rule.name not in page] == []


def test_the_page_of_options_names_each(read):
    page, sample = read('configuration/options'), read('configuration/sample-options')
    for _, options in conf.list_opts():
        assert [option.dest for option in options if option.dest not in page] == []
        assert [option.dest for option in options if option.dest not in sample] == []


def test_the_description_of_the_api_is_put_beside_the_pages(built):
    document = openapi.describe(block.CONTROLLERS, microversion.BLOCK_STORAGE.maximum)
    assert json.loads((built / 'openapi.json').read_text()) == json.loads(json.dumps(document))
    linked = re.findall(r'href="([^"]*openapi\.json)"', (built / 'reference/api.html').read_text())
    assert linked
    assert all((built / 'reference' / link).resolve() == built / 'openapi.json' for link in linked)


def test_the_release_notes_have_each_note(read):
    page = re.sub(r'\W+', '', read('releasenotes'))
    notes = sorted((release_notes.FOLDER / 'notes').glob('*.yaml'))
    assert notes
    for path in notes:
        note = yaml.safe_load(path.read_text())
        for text in [text for name, texts in note.items() if name != 'prelude' for text in texts]:
            assert re.sub(r'`[^`]*`_?|\W+', '', text[:60].partition('`')[0]) in page, path


@pytest.mark.skipif(shutil.which('dot') is None, reason='graphviz is not installed')
@pytest.mark.parametrize('render', PICTURES)
def test_a_picture_is_drawn(render):
    _, _, source = render().partition('\n\n')
    drawn = subprocess.run(['dot', '-Tsvg'], input=source, text=True, capture_output=True, check=True)
    assert drawn.stderr == ''
    assert '<svg' in drawn.stdout


def test_the_picture_of_states_has_each_state_and_event():
    text = pictures.render_machine()
    assert [state for state in states.ATTACHMENT_STATES if f'"{state}" [fill' not in text] == []
    silent = {event.event for event in states.ATTACHMENT_EVENTS.values() if event.sources == {event.target}}
    assert {event for event in states.ATTACHMENT_EVENTS if not re.search(rf'\b{event}\b', text)} <= silent


def test_a_way_that_the_table_of_events_does_not_lead_is_not_drawn():
    pictures.check('reserved', pictures.ATTACH)
    with pytest.raises(ValueError, match='connect does not lead from reserved to connecting'):
        pictures.check('reserved', pictures.ATTACH[2:])
    with pytest.raises(ValueError, match='remove does not lead from exporting'):
        pictures.check('exporting', pictures.DETACH[-1:])


def test_layers_that_need_each_other_are_not_drawn():
    assert pictures.reduce({'a': {'b', 'c'}, 'b': {'c'}, 'c': set()}) == {'a': {'b'}, 'b': {'c'}, 'c': set()}
    with pytest.raises(ValueError, match='circle'):
        pictures.reduce({'a': {'b'}, 'b': {'a'}})


def test_layers_are_those_of_the_imports():
    found = pictures.read_imports()
    assert 'engine' in found['api']
    assert 'db' in found['engine']
    assert found['conf'] == set()


def test_each_rule_is_decided_where_the_page_says():
    page = (TOP / 'doc/source/contributor/architecture.rst').read_text()
    rows = re.findall(r'     - ``(\S+\.py)``\n     - ``(\w+)``\n', page)
    assert len(rows) > 15
    for path, name in rows:
        text = (TOP / 'multiattach' / path).read_text()
        assert re.search(rf'^ *(def |class )?{name}\b', text, re.MULTILINE), f'{path} has no {name}'


def test_the_description_is_written_alone(tmp_path):
    """As ``tox -e openapi`` does."""
    name = tmp_path / 'new' / 'openapi.json'
    subprocess.run(['python', 'doc/ext/openapi.py', name], cwd=TOP, check=True, timeout=120)
    assert json.loads(name.read_text())['openapi'].startswith('3.1')


def test_what_a_person_looks_up_is_said_by_the_service():
    """The texts behind a status on the page of symptoms are in the code, so that a search for one finds its row."""
    page = (TOP / 'doc/source/admin/troubleshooting.rst').read_text()
    rows = re.findall(r'^   \* - [45]\d\d (``.*)$', page, re.MULTILINE)
    quoted = [text for row in rows for text in re.findall('``(.*?)``', row)]
    assert len(quoted) > 5
    sources = ''.join(path.read_text() for path in (TOP / 'multiattach').rglob('*.py'))
    said = re.sub(r"'\s*f?'", '', sources)
    assert [text for text in quoted if text not in said] == []


def test_every_event_is_a_verb_of_the_glossary():
    """The verb is the event's name; what happened is its participle, what failed has a suffix."""
    text = (TOP / 'doc/source/reference/glossary.rst').read_text().partition('\nVerbs\n')[2]
    verbs = {verb for line in re.findall(r'^   (\S.*)$', text, re.MULTILINE) for verb in line.split(', ')}
    assert {'export', 'unexport', 'complete'} <= verbs
    events = {*states.ATTACHMENT_EVENTS, *states.VOLUME_EVENTS}
    bases = {re.sub('_(failed|refused)$', '', event).removeprefix('force_') for event in events}
    assert {base for base in bases if not {base, base.removesuffix('d'), base.removesuffix('ed')} & verbs} == set()
