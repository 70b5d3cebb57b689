# SPDX-License-Identifier: Apache-2.0
"""multiattach-status: is this deployment ready for this release?"""

import datetime
import sys

from oslo_config import cfg
from oslo_upgradecheck import common_checks, upgradecheck

from multiattach import conf as configuration
from multiattach.cmd import checks, parts
from multiattach.db import counts, imports, migration, models, services as db_services
from multiattach.db.database import Database
from multiattach.domain import errors, release
from multiattach.osc.terminal import Terminal

SUCCESS, WARNING, FAILURE = upgradecheck.Code.SUCCESS, upgradecheck.Code.WARNING, upgradecheck.Code.FAILURE
# A service that has been silent for so long is not about to come back by itself.
_FORGOTTEN = datetime.timedelta(days=1)


class Checks(upgradecheck.UpgradeCommands):
    """The upgrade checks."""

    def _open(self) -> Database | None:
        """Open the database; None if the first check says already why it cannot be used."""
        try:
            return parts.ask_database(cfg.CONF)
        except errors.ConfigurationError:
            return None

    def check_database(self) -> upgradecheck.Result:
        """Is the schema the one that this release needs?"""
        try:
            parts.ask_database(cfg.CONF).close()
        except errors.ConfigurationError as exc:
            return upgradecheck.Result(FAILURE, exc.message)
        return upgradecheck.Result(SUCCESS, f'at revision {migration.head()}')

    def check_policy(self) -> upgradecheck.Result:
        """Can the policy file be used, and is each of its rules asked?"""
        wrong = checks.check_policy(cfg.CONF)
        return (
            upgradecheck.Result(FAILURE if any('Option' in text for text in wrong) else WARNING, ' '.join(wrong))
            if wrong
            else upgradecheck.Result(SUCCESS)
        )

    def check_policy_json(self) -> upgradecheck.Result:
        """Is the policy file YAML? JSON is deprecated since oslo.policy 3.7."""
        result: upgradecheck.Result = common_checks.check_policy_json(self, cfg.CONF)
        return result

    def check_transport(self) -> upgradecheck.Result:
        """Does the broker take a connection?"""
        if (cfg.CONF.transport_url or '').startswith('inproc:'):
            return upgradecheck.Result(
                WARNING, 'Option transport_url in [DEFAULT]: inproc:// serves multiattach-standalone only.'
            )
        try:
            parts.open_transport(cfg.CONF).cleanup()
        except errors.ConfigurationError as exc:
            return upgradecheck.Result(FAILURE, exc.message)
        return upgradecheck.Result(SUCCESS)

    def check_storage(self) -> upgradecheck.Result:
        """Does the storage answer that backends of this host have elsewhere?"""
        asked, wrong = checks.check_storage(cfg.CONF)
        if wrong:
            return upgradecheck.Result(FAILURE, ' '.join(wrong))
        return upgradecheck.Result(SUCCESS, f'it answers: {", ".join(asked)}' if asked else 'none is elsewhere')

    def check_services(self) -> upgradecheck.Result:
        """Does every worker and agent live, and run this release?"""
        db = self._open()
        if db is None:
            return upgradecheck.Result(WARNING, 'not checked: see the database')
        with db.reader() as session:
            found = db_services.list_all(session)
        gone = [row for row in found if not row.heartbeat_at or row.heartbeat_at < models.now() - _FORGOTTEN]
        older = [row for row in found if row not in gone and _release_of(row) != release.version()]
        texts = []
        if gone:
            texts.append(
                f'Silent for more than a day: {_name(gone)}. Start them, or forget them with '
                '"multiattach-manage service remove".'
            )
        if older:
            texts.append(
                f'Of another release than {release.version()}: {_name(older)}. Restart them with '
                'this one: workers first, then agents.'
            )
        return upgradecheck.Result(WARNING, ' '.join(texts)) if texts else upgradecheck.Result(SUCCESS)

    def check_states(self) -> upgradecheck.Result:
        """Is every row in a state that this release knows?"""
        db = self._open()
        if db is None:
            return upgradecheck.Result(WARNING, 'not checked: see the database')
        with db.reader() as session:
            unknown = [
                f'{number} in {name!r} of table {table}' for table, name, number in counts.count_unknown(session)
            ]
        if unknown:
            return upgradecheck.Result(
                FAILURE,
                f'Rows in states that this release does not know: '
                f'{"; ".join(unknown)}. Was a newer release at work here? If an administrator set a status that '
                'is no more: openstack volume set --state available VOLUME',
            )
        return upgradecheck.Result(SUCCESS)

    def check_sqlite(self) -> upgradecheck.Result:
        """Does more than one host use an SQLite file?"""
        db = self._open()
        if db is None or db.engine.dialect.name != 'sqlite':
            return upgradecheck.Result(SUCCESS)
        with db.reader() as session:
            hosts = {row.host.partition('@')[0] for row in db_services.list_all(session)}
        if len(hosts) > 1:
            return upgradecheck.Result(
                FAILURE,
                f'Option connection in [database] is an SQLite file, and services of {len(hosts)} '
                'hosts use it. A file on a network is no database: use MariaDB or PostgreSQL.',
            )
        return upgradecheck.Result(SUCCESS, 'SQLite, used by one host')

    def check_imports(self) -> upgradecheck.Result:
        """Is a take-over from Cinder half-way?"""
        db = self._open()
        if db is None:
            return upgradecheck.Result(WARNING, 'not checked: see the database')
        with db.reader() as session:
            found = imports.has_any(session)
        if found:
            return upgradecheck.Result(
                WARNING,
                'There is a way back to Cinder still, and targets may admit everybody who has their account. When all '
                'is well: multiattach-manage cinder finish',
            )
        return upgradecheck.Result(SUCCESS)

    _upgrade_checks = (
        ('Database schema', check_database),
        ('Policy file', check_policy),
        ('Policy file format', check_policy_json),
        ('Message broker', check_transport),
        ('Storage', check_storage),
        ('Workers and agents', check_services),
        ('States of rows', check_states),
        ('SQLite', check_sqlite),
        ('Take-over from Cinder', check_imports),
    )


def _release_of(service: models.Service) -> str | None:
    report = service.report if isinstance(service.report, dict) else {}
    found: str | None = report.get('release')
    return found


def _name(services: list[models.Service]) -> str:
    return ', '.join(f'{row.binary} on {row.host} ({_release_of(row) or "unknown release"})' for row in services)


def main() -> int:
    if sys.argv[1:] == ['--version']:  # the library's own parser knows commands only
        print(f'multiattach-status {release.version()}')
        return 0
    configuration.register_opts(cfg.CONF)
    configuration.set_library_defaults()
    try:
        with Terminal(sys.stderr).waiting('the database and the broker'):
            code: int = upgradecheck.main(cfg.CONF, project=configuration.PROJECT, upgrade_command=Checks())
    except cfg.Error as exc:
        print(f'multiattach-status: the configuration is wrong: {exc}', file=sys.stderr)
        return 2
    return code


if __name__ == '__main__':
    sys.exit(main())
