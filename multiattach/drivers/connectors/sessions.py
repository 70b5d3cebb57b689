# SPDX-License-Identifier: Apache-2.0
"""iSCSI sessions as the kernel shows them (Documentation/ABI, sysfs class iscsi_session)."""

import dataclasses
import re
from pathlib import Path

from multiattach.drivers.connectors.base import HostSession

_SYS = Path('/sys')
_VOLUME = re.compile(r'.*:volume-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})')


@dataclasses.dataclass(frozen=True)
class KernelSession:
    """A session, in the words in which ``iscsiadm -m session`` shows it.

    :param portal: ``ADDRESS:PORT``, an IPv6 address in brackets.
    """

    number: str
    iqn: str
    portal: str
    portal_group: str
    transport: str


def read(sys: Path = _SYS) -> list[HostSession]:
    """List the sessions to targets that are named after a volume."""
    return [
        HostSession(match[1], one.iqn, one.portal) for one in read_all(sys) if (match := _VOLUME.fullmatch(one.iqn))
    ]


def read_all(sys: Path = _SYS) -> list[KernelSession]:
    """List all sessions; one that ends meanwhile is left out."""
    found = []
    for session in sorted((sys / 'class/iscsi_session').glob('session*')):
        number = session.name.removeprefix('session')
        try:
            iqn, group = ((session / name).read_text().strip() for name in ('targetname', 'tpgt'))
            found.append(KernelSession(number, iqn, _read_portal(sys, number), group, _read_transport(session)))
        except OSError:
            continue
    return found


def _read_portal(sys: Path, number: str) -> str:
    connection = sys / 'class/iscsi_connection' / f'connection{number}:0'
    address = (connection / 'persistent_address').read_text().strip()
    port = (connection / 'persistent_port').read_text().strip()
    return f'[{address}]:{port}' if ':' in address else f'{address}:{port}'


def _read_transport(session: Path) -> str:
    """Return the name of a session's transport; that of its SCSI host is ``iscsi_tcp`` for ``tcp``."""
    for host in session.resolve().parents:
        if re.fullmatch(r'host\d+', host.name):
            name = (host / 'scsi_host' / host.name / 'proc_name').read_text().strip()
            return name.removeprefix('iscsi_')
    return 'tcp'
