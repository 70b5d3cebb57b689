# SPDX-License-Identifier: Apache-2.0
"""What the database gathers is what was written, whatever the characters."""

import pytest

from multiattach.db import volumes as db_volumes
from tests.deployments.embedded import Deployment

ODD = {
    'plain': 'value',
    'quote"': 'a "b" c',
    'back\\slash': 'c:\\dir\\',
    'line': 'one\ntwo\ttab',
    'ключ': 'значение ✓',
    'face': '\U0001f600',
    'empty': '',
    'brace{': '}],[{',
    "it's": "o'clock",
    'number': '1',
    'control': '\x01',
}


def set_metadata(session, ident, items):
    db_volumes.replace_metadata(session, ident, items, keep_others=True)


@pytest.mark.parametrize('write', [set_metadata, db_volumes.set_image_metadata])
def test_odd_characters_come_back(deployed: Deployment, write) -> None:
    ident = deployed.make_volume()
    with deployed.db.writer() as session:
        write(session, ident, ODD)
    with deployed.db.reader() as session:
        volume = db_volumes.get(session, ident)
    read = volume.metadata if write is set_metadata else volume.image_metadata
    assert read == ODD
    assert list(read) == sorted(ODD)


def test_no_items_are_an_empty_dict(deployed: Deployment) -> None:
    ident = deployed.make_volume()
    with deployed.db.reader() as session:
        volume = db_volumes.get(session, ident)
    assert volume.metadata == volume.image_metadata == {}
