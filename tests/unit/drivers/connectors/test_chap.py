# SPDX-License-Identifier: Apache-2.0
"""What is said of open-iscsi's settings; that tgtd does so is shown by tests/initiators/test_wire.py."""

import pathlib

import pytest

from multiattach.drivers.connectors import chap


@pytest.fixture
def host(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    monkeypatch.setattr(chap, 'ISCSID_CONF', str(tmp_path / 'iscsid.conf'))
    monkeypatch.setattr(chap, 'FIPS_ENABLED', str(tmp_path / 'fips_enabled'))
    return tmp_path


@pytest.mark.parametrize(
    ('text', 'names'),
    [
        ('', ('MD5',)),
        ('# node.session.auth.chap_algs = SHA1\n', ('MD5',)),
        ('node.session.auth.chap_algs=SHA3-256,SHA256\n', ('SHA3-256', 'SHA256')),
        ('node.session.auth.chap_algs = sha1 , md5 \n', ('SHA1', 'MD5')),
        ('node.session.auth.chap_algs = MD5\nnode.session.auth.chap_algs = SHA1\n', ('SHA1',)),
        ('node.session.auth.chap_algs = \nnode.startup = manual\n', ()),
        ('discovery.sendtargets.auth.chap_algs = SHA1\n', ('MD5',)),
    ],
)
def test_the_digests_of_the_file(text: str, names: tuple[str, ...]) -> None:
    assert chap.parse_digests(text) == names


def test_a_host_that_tells_nothing_is_believed(host: pathlib.Path) -> None:
    assert chap.find_obstacle() is None
    (host / 'fips_enabled').write_text('0\n')
    (host / 'iscsid.conf').mkdir()
    assert chap.find_obstacle() is None


def test_what_tgtd_refuses_is_told_with_the_cure(host: pathlib.Path) -> None:
    (host / 'iscsid.conf').write_text('node.session.auth.chap_algs = SHA3-256,SHA256\n')
    said = chap.find_obstacle()
    assert said is not None
    assert 'has "node.session.auth.chap_algs = SHA3-256,SHA256"' in said
    assert 'Set "node.session.auth.chap_algs = MD5" there' in said
    (host / 'iscsid.conf').write_text('node.session.auth.chap_algs = MD5\n')
    assert chap.find_obstacle() is None


def test_fips_mode_is_told_whatever_the_file_says(host: pathlib.Path) -> None:
    (host / 'iscsid.conf').write_text('node.session.auth.chap_algs = MD5\n')
    (host / 'fips_enabled').write_text('1\n')
    said = chap.find_obstacle()
    assert said is not None
    assert 'FIPS mode' in said
    assert 'chap_algs' not in said
