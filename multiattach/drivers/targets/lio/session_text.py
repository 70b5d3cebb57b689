# SPDX-License-Identifier: Apache-2.0
"""What the kernel says of a session, in ``info`` of an initiator's entry (``iscsi_target_configfs.c``)."""

import re

_NAME = re.compile(r'^InitiatorName: \S+', re.M)
_ADDRESS = re.compile(r'^\s+Address (?P<address>\S+) ', re.M)


def read_sessions(text: str) -> list[str]:
    """Return the address of each live login, "" of one that has no connection just now."""
    if not _NAME.search(text):
        return []
    return [match['address'].strip('[]') for match in _ADDRESS.finditer(text)] or ['']
