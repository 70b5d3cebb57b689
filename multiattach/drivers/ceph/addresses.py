# SPDX-License-Identifier: Apache-2.0
"""Addresses of Ceph's clients, ``ADDRESS:PORT/NONCE``: with the nonce each is one run of one client."""

import re

_KIND = re.compile(r'(?:any|v1|v2):')
_INSTANCE = re.compile(r'(?:[0-9.]+|\[[0-9a-fA-F:.]+\]):\d+/(?P<nonce>[1-9]\d*)')


def strip_kind(address: str) -> str:
    """Take the kind of protocol away: an entry of the blocklist is of any."""
    return _KIND.sub('', address, count=1)


def find_host(address: str) -> str:
    """Return the part of an instance's address that all instances of its host have."""
    return address.rpartition(':')[0].strip('[]')


def check_instance(address: str) -> str:
    """Return an address that names one instance.

    :raises ValueError: it would name others, too: those of a host that has no nonce, or 0.
    """
    if not _INSTANCE.fullmatch(address):
        raise ValueError(f'{address!r} is not the address of one client of Ceph, ADDRESS:PORT/NONCE.')
    return address
