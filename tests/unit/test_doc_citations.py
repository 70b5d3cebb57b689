# SPDX-License-Identifier: Apache-2.0
"""What code, tests, documentation and the published description of the API cite is there to be read."""

import pathlib
import re

import api_ref
import citations
import openapi
import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
REFERENCE = TOP / 'doc' / 'source' / 'reference'
PAGES = ('contract', 'requirements', 'clients')
ANCHORS = {
    label for page in PAGES for label in re.findall(r'\.\. _(\S+):$', (REFERENCE / f'{page}.rst').read_text(), re.M)
}
SUFFIXES = {'.py', '.rst', '.yaml', '.conf', '.ini', '.cfg', '.toml', '.sh', ''}
FOLDERS = ('multiattach', 'tests', 'doc', 'tools', 'devstack', 'alembic', 'etc', 'releasenotes')


def list_texts():
    for path in [*TOP.glob('*.*'), *(path for folder in FOLDERS for path in (TOP / folder).rglob('*'))]:
        built = path.is_relative_to(TOP / 'doc' / 'build') or path.is_relative_to(TOP / 'doc' / 'source' / '_static')
        if path.is_file() and path.suffix in SUFFIXES and not built and path.name != pathlib.Path(__file__).name:
            yield str(path.relative_to(TOP)), path.read_text()
    yield 'API reference', api_ref.render()
    yield 'openapi.json', openapi.render()


def test_every_citation_leads_somewhere():
    found = {name: citations.find_anchors(text) for name, text in list_texts()}
    assert {(name, anchor) for name, anchors in found.items() for anchor in anchors if anchor not in ANCHORS} == set()
    assert sum(map(len, found.values())) > 150
    assert found['API reference']
    assert found['openapi.json']
    assert found['multiattach/domain/sharing.py']


def test_no_citation_has_a_form_that_nobody_resolves():
    """As the three that were found: a file's name, a bare row, a bare number."""
    forms = re.compile(r'clients\.md|block-storage-v3|"""Row \d|[(;] ?11\.4 number|\bcontract (?:section|§|row)', re.I)
    assert {(name, found) for name, text in list_texts() for found in forms.findall(text)} == set()


@pytest.mark.parametrize(
    ('text', 'anchors'),
    [
        ('contract 2)', ['contract-2']),
        ('Contract 2.6, 10.2 and 10.3.', ['contract-2.6', 'contract-10.2', 'contract-10.3']),
        ('contract 1.3, 2, 11.4 number 23', ['contract-1.3', 'contract-2', 'contract-11.4-number-23']),
        ('contract 11.4\n    # numbers 2 and 7.', ['contract-11.4-number-2', 'contract-11.4-number-7']),
        ('contract 7.3 steps 3 and 4', ['contract-7.3-step-3', 'contract-7.3-step-4']),
        ('contract 8.3, rule a)', ['contract-8.3-rule-a']),
        ('requirement rows 17 and 18)', ['requirement-17', 'requirement-18']),
        ('clients chapter 1', ['clients-1']),
        ('the contract of 3 parties', []),
    ],
)
def test_a_citation_is_understood(text, anchors):
    assert citations.find_anchors(text) == anchors


def test_a_citation_becomes_a_link():
    assert citations.link('(contract 11.4 number 1).') == '(:ref:`contract 11.4 number 1 <contract-11.4-number-1>`).'
    assert citations.link(':ref:`contract 2 <contract-2>`') == ':ref:`contract 2 <contract-2>`'


def test_each_weak_spot_has_its_place():
    assert {f'contract-11.4-number-{number}' for number in range(1, 28)} <= ANCHORS
