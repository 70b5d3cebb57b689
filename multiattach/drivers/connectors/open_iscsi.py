# SPDX-License-Identifier: Apache-2.0
"""os-brick's iSCSI connector with fewer commands: each costs a fork, and iscsiadm reads and writes its files anew.

What it asks of the kernel is read from sysfs, and what it writes to a node's record is written at once, before the
login. Its steps and their order stay its own. Importing this module imports os-brick, which takes seconds.
"""

import os
from pathlib import Path
from typing import Any

from os_brick.initiator import linuxscsi
from os_brick.initiator.connectors import iscsi
from oslo_log import log

from multiattach.drivers.connectors import sessions

LOG = log.getLogger(__name__)

_SHOW: tuple[str, ...] = ()
_LOGIN = ('--login',)
_AUTOMATIC = ('node.startup', 'automatic')
# Where iscsiadm keeps records of nodes, by IQN: Debian's, and that of others.
_RECORDS = (Path('/etc/iscsi/nodes'), Path('/var/lib/iscsi/nodes'))
# What is set between the making of a record and the login.
_BEFORE_LOGIN = ('node.session.scan', 'node.session.auth.')


class _Scsi(linuxscsi.LinuxSCSI):
    """The same, but root writes to sysfs without a command."""

    def echo_scsi_command(self, path: str, content: str) -> None:
        if os.geteuid() == 0:
            Path(path).write_text(content)
        else:
            super().echo_scsi_command(path, content)


class OpenIscsi(iscsi.ISCSIConnector):
    """os-brick's connector; os-brick holds a lock by portal and IQN from the first update to the login."""

    def __init__(self, root_helper: str, **options: Any) -> None:
        super().__init__(root_helper, **options)
        self._linuxscsi = _Scsi(root_helper, execute=self._execute)
        self._due: dict[tuple[str, str], dict[str, str]] = {}

    def supports_multipath(self) -> bool:
        """Ask multipathd only where it is to be used: the answer makes a warning and nothing else."""
        return bool(self.use_multipath and super().supports_multipath())

    def _get_iscsi_sessions_full(self) -> list[tuple[str, str, str, str, str]]:
        return [(f'{one.transport}:', one.number, one.portal, one.portal_group, one.iqn) for one in sessions.read_all()]

    def _connect_to_iscsi_portal_unsafe(self, connection_properties: dict[str, Any]) -> Any:
        try:
            return super()._connect_to_iscsi_portal_unsafe(connection_properties)
        finally:  # also where a session was there already, and nothing was written
            self._due.pop(_name(connection_properties), None)

    def _iscsiadm_update(
        self, connection_properties: dict[str, Any], property_key: str, property_value: str, **kwargs: Any
    ) -> tuple[str, str]:
        if property_key.startswith(_BEFORE_LOGIN):
            self._due.setdefault(_name(connection_properties), {})[property_key] = property_value
            return '', ''
        if (property_key, property_value) == _AUTOMATIC:  # written with the others
            return '', ''
        found: tuple[str, str] = super()._iscsiadm_update(connection_properties, property_key, property_value, **kwargs)
        return found

    def _run_iscsiadm(
        self, connection_properties: dict[str, Any], iscsi_command: tuple[str, ...], **kwargs: Any
    ) -> tuple[str, str]:
        if iscsi_command == _SHOW and _has_no_record(connection_properties['target_iqn']):
            return '', 'no records found'
        if iscsi_command == _LOGIN:
            due = {**self._due.get(_name(connection_properties), {}), **dict([_AUTOMATIC])}
            words = [word for key, value in due.items() for word in ('-n', key, '-v', value)]
            super()._run_iscsiadm(connection_properties, ('--op', 'update', *words))
        found: tuple[str, str] = super()._run_iscsiadm(connection_properties, iscsi_command, **kwargs)
        return found


def _name(connection_properties: dict[str, Any]) -> tuple[str, str]:
    return connection_properties['target_portal'], connection_properties['target_iqn']


def _has_no_record(iqn: str) -> bool:
    """Return True only if it is certain that iscsiadm would show none."""
    try:
        return any(root.is_dir() for root in _RECORDS) and not any((root / iqn).exists() for root in _RECORDS)
    except OSError:
        return False
