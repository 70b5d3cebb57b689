# SPDX-License-Identifier: Apache-2.0
"""multiattach-manage: what an operator does beside the API."""

import argparse
import datetime
import json
import sys
from collections.abc import Callable, Sequence

from oslo_config import cfg

from multiattach import conf as configuration
from multiattach.cmd import parts, run
from multiattach.db import history, migration, models
from multiattach.db import services as db_services


def _sync(conf: cfg.ConfigOpts) -> None:
    db = parts.open_database(conf, check=False)
    before = migration.current(db)
    migration.sync(db, conf.command.revision)
    print(f'Database at revision {migration.current(db)} (was {before or "empty"}).')


def _version(conf: cfg.ConfigOpts) -> None:
    db = parts.open_database(conf, check=False)
    print(f'Database: {migration.current(db) or "empty"}; this release: {migration.head()}')


def _purge(conf: cfg.ConfigOpts) -> None:
    db = parts.open_database(conf)
    before = models.now() - datetime.timedelta(days=conf.command.days)
    for table, number in history.purge(db, before).items():
        print(f'{table}: {number} rows purged')


def _list_services(conf: cfg.ConfigOpts) -> None:
    db = parts.open_database(conf)
    with db.reader() as session:
        rows = db_services.list_all(session)
    limit = models.now() - datetime.timedelta(seconds=conf.service_down_time)
    for row in rows:
        state = 'up' if row.heartbeat_at and row.heartbeat_at >= limit else 'down'
        print(f'{row.binary:<20} {row.host:<40} {row.availability_zone:<12} '
              f'{"disabled" if row.disabled else "enabled":<9} {state:<5} {row.heartbeat_at}')


def _explain(conf: cfg.ConfigOpts) -> None:
    db = parts.open_database(conf)
    for line in history.timeline(db, conf.command.attachment).splitlines():
        entry = json.loads(line)
        took = f'{entry["seconds"]:.3f} s' if 'seconds' in entry else ''
        print(f'{entry["at"]}  {entry["event"]:<15} → {entry["state"]:<16} {entry["by"]:<30} '
              f'{took:<10} {entry.get("request_id", "")} {entry.get("error", "")}'.rstrip())


def _add_commands(subparsers: 'argparse._SubParsersAction[argparse.ArgumentParser]') -> None:
    def add(place: 'argparse._SubParsersAction[argparse.ArgumentParser]', name: str, text: str,
            call: Callable[[cfg.ConfigOpts], None]) -> argparse.ArgumentParser:
        parser = place.add_parser(name, help=text, description=text)
        parser.set_defaults(call=call)
        return parser

    db = subparsers.add_parser('db', help='the database').add_subparsers(
        dest='verb', required=True, metavar='VERB')
    add(db, 'sync', 'Make the tables, or bring them to this release.', _sync).add_argument(
        '--revision', default='head', help='revision to go to (default: the newest)')
    add(db, 'version', 'Show the revision of the database and of this release.', _version)
    add(db, 'purge', 'Delete rows that were deleted days ago.', _purge).add_argument(
        '--days', type=int, default=90, help='age in days (default: 90)')
    service = subparsers.add_parser('service', help='workers and agents').add_subparsers(
        dest='verb', required=True, metavar='VERB')
    add(service, 'list', 'List workers and agents with their state.', _list_services)
    attachment = subparsers.add_parser('attachment', help='attachments').add_subparsers(
        dest='verb', required=True, metavar='VERB')
    add(attachment, 'explain', 'Show the timeline of an attachment, of a deleted one too.',
        _explain).add_argument('attachment', help='id of the attachment')


def manage(args: Sequence[str]) -> None:
    """Run one command.

    :param args: command line.
    """
    conf = configuration.load(
        args, program='multiattach-manage', description='What an operator does beside the API.',
        cli_opts=[cfg.SubCommandOpt('command', title='commands', handler=_add_commands,
                                    help='what to do')])
    conf.command.call(conf)


def main() -> int:
    """Entry point."""
    return run.run_program(manage)


if __name__ == '__main__':
    sys.exit(main())
