# SPDX-License-Identifier: Apache-2.0
"""Names of backends, and what is refused before a row is touched."""

import pytest

from multiattach.db import transitions
from multiattach.domain import errors
from multiattach.engine.backends import Backends, parse_backend


@pytest.mark.parametrize(
    ('text', 'name'),
    [
        ('host@lvm', 'host@lvm'),
        ('host.example.org@lvm-1', 'host.example.org@lvm-1'),
        ('host@lvm#lvm', 'host@lvm'),
        ('h' * 251 + '@lvm', 'h' * 251 + '@lvm'),
    ],
)
def test_names_of_backends(text, name):
    assert parse_backend(text) == name


@pytest.mark.parametrize(
    'text',
    [
        '',
        'host',
        '@lvm',
        'host@',
        'host@lvm#',
        'a@b@c',
        'host @lvm',
        'host@lvm\n',
        'host@lvm#other',
        'a#b@c',
        'h' * 252 + '@lvm',
    ],
)
def test_what_is_no_name(text):
    with pytest.raises(errors.InvalidInput):
        parse_backend(text)


@pytest.fixture
def backends(deployed):
    return Backends(deployed.db, deployed.conf.service_down_time, transitions.Actor('manage'))


@pytest.mark.parametrize(
    ('old', 'new', 'error', 'text'),
    [
        ('testhost@file', 'testhost@file#file', errors.InvalidInput, 'both names'),
        ('testhost@file', 'new@file', errors.Conflict, 'is alive'),
        ('testhots@file', 'new@file', errors.NotFound, 'Recorded is: testhost@file'),
    ],
)
def test_what_is_refused(backends, old, new, error, text):
    with pytest.raises(error, match=text):
        backends.rename(old, new, force=True)
