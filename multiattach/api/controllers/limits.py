# SPDX-License-Identifier: Apache-2.0
"""Limits (contract 10.5)."""

from typing import Any

from multiattach.api.request import Request
from multiattach.api.routing import Controller, route

_LIMITS = {
    'maxTotalVolumes': 'volumes',
    'maxTotalVolumeGigabytes': 'gigabytes',
    'maxTotalSnapshots': 'snapshots',
    'maxTotalBackups': 'backups',
    'maxTotalBackupGigabytes': 'backup_gigabytes',
}
_USES = {
    'totalVolumesUsed': 'volumes',
    'totalGigabytesUsed': 'gigabytes',
    'totalSnapshotsUsed': 'snapshots',
    'totalBackupsUsed': 'backups',
    'totalBackupGigabytesUsed': 'backup_gigabytes',
}
_OTHER_PROJECT = 39
_USED = 'limits_extension:used_limits'


class LimitsController(Controller):
    """``/limits``."""

    @route('GET', '/limits')
    def show(self, req: Request) -> dict[str, Any]:
        """Show the limits of a project, for all but admins the own one, and what of them is used."""
        other = req.query.get('project_id') or None
        if other is not None and req.minor >= _OTHER_PROJECT and req.ctx.is_admin:
            quotas = self.engine.quotas.show(req.ctx, other)
        else:
            quotas = self.engine.quotas.show_own(req.ctx)
        absolute = {name: quotas.limits[resource] for name, resource in _LIMITS.items()}
        if self.engine.policy.allows(req.ctx, _USED, None):
            absolute |= {name: quotas.in_use[resource] for name, resource in _USES.items()}
        return {'limits': {'rate': [], 'absolute': absolute}}
