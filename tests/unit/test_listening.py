# SPDX-License-Identifier: Apache-2.0
import os
import socket

import pytest

from multiattach import listening
from multiattach.listening import Address


@pytest.mark.parametrize(
    ('text', 'host', 'port'),
    [
        ('127.0.0.1:1', '127.0.0.1', 1),
        ('[::1]:8776', '::1', 8776),
        ('localhost:0', 'localhost', 0),
        ('0.0.0.0:80', '0.0.0.0', 80),
        ('[::]:80', '::', 80),
        ('a-b.example.org:65535', 'a-b.example.org', 65535),
    ],
)
def test_addresses(text, host, port):
    found = listening.parse(text)
    assert found == Address(host, port)
    assert str(found) == text


@pytest.mark.parametrize(
    'text',
    [
        '',
        'nonsense',
        ':1',
        '::1:8776',
        '[::1]',
        '[127.0.0.1]:1',
        '[fe80::1%eth0]:1',
        '127.0.0.1:',
        '127.0.0.1:65536',
        '127.0.0.1:-1',
        '127.0.0.1:x',
        '127.0.0.1:\u0663',
        'http://x:1',
        'a b:1',
        'a,b:1',
        '[a]:1',
    ],
)
def test_what_is_no_address(text):
    with pytest.raises(ValueError, match='must be HOST:PORT'):
        listening.parse(text)


def test_a_portal_is_written_as_tgtd_writes_it():
    assert str(listening.parse_portal('[0:0:0:0:0:0:0:1]:3260')) == '[::1]:3260'
    for text in ('localhost:3260', '127.0.0.1:0', '127.0.0.1', '127.0.0.1:3260,1'):
        with pytest.raises(ValueError, match='must be ADDRESS:PORT'):
            listening.parse_portal(text)


def test_what_others_are_told():
    for host in ('0.0.0.0', '::'):
        told = listening.find_told(host)
        assert not listening.is_wildcard(told)
        assert listening.is_free(Address(told, 0)), 'it is an address of this machine'
        assert listening.find_near(host) in ('127.0.0.1', '::1')
    assert listening.find_told('127.0.0.1') == listening.find_near('127.0.0.1') == '127.0.0.1'
    assert listening.find_told('localhost') in ('127.0.0.1', '::1')
    with pytest.raises(OSError):
        listening.find_told('no-such-host.invalid')


def test_who_holds_a_port():
    with socket.create_server(('127.0.0.1', 0)) as holder:
        address = Address('127.0.0.1', holder.getsockname()[1])
        assert not listening.is_free(address)
        assert f'(pid {os.getpid()}) has the port' in listening.describe_holder(address.port)
    assert listening.is_free(address)
    assert listening.describe_holder(address.port) == ''
