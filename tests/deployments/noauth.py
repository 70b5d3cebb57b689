# SPDX-License-Identifier: Apache-2.0
"""What a client says to an API with ``auth_strategy = noauth``, and what it says of a compute host."""

from typing import Any

PROJECT = 'a' * 32
HEADERS = {
    'X-Auth-Token': f'admin:{PROJECT}',
    'OpenStack-API-Version': 'volume 3.71',
    'Content-Type': 'application/json',
}


def make_connector(host: str) -> dict[str, Any]:
    return {'host': host, 'initiator': f'iqn.1994-05.com.redhat:{host}', 'ip': '127.0.0.1'}
