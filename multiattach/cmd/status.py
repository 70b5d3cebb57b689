# SPDX-License-Identifier: Apache-2.0
"""multiattach-status: is this deployment ready for this release?"""

import sys

from oslo_config import cfg
from oslo_upgradecheck import upgradecheck

from multiattach import conf as configuration
from multiattach import policies
from multiattach.cmd import parts
from multiattach.db import migration
from multiattach.domain import errors


class Checks(upgradecheck.UpgradeCommands):
    """The upgrade checks."""

    def check_database(self) -> upgradecheck.Result:
        """Is the schema the one that this release needs?"""
        try:
            parts.open_database(cfg.CONF)
        except errors.ConfigurationError as exc:
            return upgradecheck.Result(upgradecheck.Code.FAILURE, exc.message)
        return upgradecheck.Result(upgradecheck.Code.SUCCESS, f'at revision {migration.head()}')

    def check_policy(self) -> upgradecheck.Result:
        """Can the policy file be used?"""
        try:
            policies.make_enforcer(cfg.CONF)
        except Exception as exc:
            return upgradecheck.Result(upgradecheck.Code.FAILURE, f'policy file: {exc}')
        return upgradecheck.Result(upgradecheck.Code.SUCCESS)

    _upgrade_checks = (('Database schema', check_database), ('Policy file', check_policy))


def main() -> int:
    """Entry point."""
    configuration.register_opts(cfg.CONF)
    configuration.set_library_defaults()
    code: int = upgradecheck.main(cfg.CONF, project=configuration.PROJECT, upgrade_command=Checks())
    return code


if __name__ == '__main__':
    sys.exit(main())
