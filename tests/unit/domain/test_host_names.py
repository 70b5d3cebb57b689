# SPDX-License-Identifier: Apache-2.0
import pytest

from multiattach.domain import errors, host_names

KNOWN = ['compute-1', 'compute-10', 'db.example.org', '192.0.2.11', 'storage_2']


@pytest.mark.parametrize(
    ('name', 'first'),
    [
        ('compute1', 'compute-1'),
        ('COMPUTE-1', 'compute-1'),
        ('compute-1.example.org', 'compute-1'),
        ('compute-1 ', 'compute-1'),
        ('comptue-1', 'compute-1'),
        ('compute_10', 'compute-10'),
        ('db', 'db.example.org'),
        ('DB.example.com', 'db.example.org'),
        ('192.0.2.1', '192.0.2.11'),
        ('storage-2', 'storage_2'),
    ],
)
def test_another_spelling_of_a_host_is_near(name, first):
    assert host_names.find_near(name, KNOWN)[0] == first


@pytest.mark.parametrize('name', ['kvm-7', '10.0.0.1', 'x', ''])
def test_another_host_is_not(name):
    assert host_names.find_near(name, KNOWN) == []


def test_a_host_is_not_near_itself_and_the_list_is_short():
    assert host_names.find_near('compute-1', KNOWN) == ['compute-10']
    assert len(host_names.find_near('node', [f'node.r{number}' for number in range(1000)])) == 5


def test_the_suggestion_is_a_sentence_or_nothing():
    assert host_names.suggest(['a', 'b']) == ' Did you mean a, b?'
    assert host_names.suggest([]) == ''


@pytest.mark.parametrize('name', ['a', 'compute-1.example.org', 'fe80::1%eth0', 'Knoten ü', 'x' * 255])
def test_what_can_be_a_name(name):
    host_names.check(name)


@pytest.mark.parametrize('name', ['', ' ', 'a ', '\ta', 'a\nb', 'a\x7f', 'x' * 256])
def test_what_can_be_none(name):
    with pytest.raises(errors.InvalidInput):
        host_names.check(name)
