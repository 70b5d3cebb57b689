# SPDX-License-Identifier: Apache-2.0
"""iSCSI sessions as the kernel shows them (Documentation/ABI, sysfs class iscsi_session)."""

import re
from pathlib import Path

from multiattach.drivers.connectors.base import HostSession

_SYS = Path('/sys')
_VOLUME = re.compile(r'.*:volume-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})')


def read(sys: Path = _SYS) -> list[HostSession]:
    """List the sessions to targets that are named after a volume; one that ends meanwhile is left out."""
    found = []
    for session in sorted((sys / 'class/iscsi_session').glob('session*')):
        try:
            iqn = (session / 'targetname').read_text().strip()
            match = _VOLUME.fullmatch(iqn)
            if match:
                found.append(HostSession(match[1], iqn, _read_portal(sys, session.name)))
        except OSError:
            continue
    return found


def _read_portal(sys: Path, session: str) -> str:
    connection = sys / 'class/iscsi_connection' / f'connection{session.removeprefix("session")}:0'
    address = (connection / 'persistent_address').read_text().strip()
    port = (connection / 'persistent_port').read_text().strip()
    return f'[{address}]:{port}' if ':' in address else f'{address}:{port}'
