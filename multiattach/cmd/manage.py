# SPDX-License-Identifier: Apache-2.0
"""multiattach-manage: what an operator does beside the API."""

import argparse
import datetime
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from oslo_config import cfg

from multiattach import conf as configuration
from multiattach.cmd import checks, cinder, doctor, parts, run, services, volumes
from multiattach.db import gateways as db_gateways, history, migration, models, services as db_services
from multiattach.domain import errors, idents, timeline
from multiattach.domain.services import is_up
from multiattach.osc.terminal import Terminal
from multiattach.steps.epochs import Epochs

_Call = Callable[[cfg.ConfigOpts], int | None]
_Places: TypeAlias = 'argparse._SubParsersAction[argparse.ArgumentParser]'

_EPILOG = (
    'Use COMMAND --help for the verbs of a command. Example: multiattach-manage --config-file '
    '/etc/multiattach/multiattach.conf config check --connect'
)


def _sync(conf: cfg.ConfigOpts) -> None:
    db = parts.open_database(conf, check=False)  # a new deployment's may be on its way
    before = migration.current(db)
    migration.sync(db, conf.command.revision)
    print(f'Database at revision {migration.current(db)} (was {before or "empty"}).')


def _version(conf: cfg.ConfigOpts) -> None:
    db = parts.ask_database(conf, check=False)
    print(f'Database: {migration.current(db) or "empty"}; this release: {migration.head()}')


def _check_database(conf: cfg.ConfigOpts) -> None:
    parts.ask_database(conf)
    print(f'The database answers and is at revision {migration.head()}, as this release needs it.')


def _accept(conf: cfg.ConfigOpts) -> int:
    epochs, backend = Epochs(parts.ask_database(conf)), conf.command.backend
    if backend is not None:
        epochs.accept(backend)
        print(
            f'The database is that of the targets of {backend} from now on. Its worker takes up its work '
            'within seconds; see then: multiattach-manage doctor'
        )
        return 0
    doubts = epochs.list_doubts()
    for doubt in doubts:
        print(doubt.tell())
    if not doubts:
        print('The database is the newest one, as far as any worker can tell.')
    return 1 if doubts else 0


def _purge(conf: cfg.ConfigOpts) -> None:
    db = parts.ask_database(conf)
    before = models.now() - datetime.timedelta(days=conf.command.days)
    for table, number in history.purge(db, before).items():
        print(f'{table}: {number} rows purged')


def _list_services(conf: cfg.ConfigOpts) -> None:
    db = parts.ask_database(conf)
    with db.reader() as session:
        rows = db_services.list_all(session)
    if conf.command.format == 'json':
        print(
            json.dumps(
                [
                    {
                        'binary': row.binary,
                        'host': row.host,
                        'zone': row.availability_zone,
                        'status': 'disabled' if row.disabled else 'enabled',
                        'state': _tell_state(conf, row),
                        'heartbeat_at': row.heartbeat_at.isoformat() if row.heartbeat_at else None,
                    }
                    for row in rows
                ]
            )
        )
        return
    for row in rows:
        status = 'disabled' if row.disabled else 'enabled'
        print(
            f'{row.binary:<20} {row.host:<40} {row.availability_zone:<12} {status:<9} '
            f'{_tell_state(conf, row):<5} {row.heartbeat_at}'
        )


def _tell_state(conf: cfg.ConfigOpts, service: models.Service) -> str:
    return 'up' if is_up(service.heartbeat_at, models.now(), conf.service_down_time) else 'down'


def _remove_service(conf: cfg.ConfigOpts) -> None:
    db = parts.ask_database(conf)
    binary, host = conf.command.binary, conf.command.service_host
    with db.writer() as session:
        if _tell_state(conf, db_services.get(session, binary, host)) == 'up':
            raise errors.Conflict(
                f'{binary} on {host} is alive: stop it first. One that is up would come back with its next heartbeat.'
            )
        if not conf.command.force:
            services.check_unused(session, binary, host)
        db_services.remove(session, binary, host)
        db_gateways.remove(session, host)
    print(f'{binary} on {host} is removed.')


def _check_configuration(conf: cfg.ConfigOpts) -> int:
    wrong = checks.check_files(conf)
    if not wrong:
        wrong += checks.check_policy(conf)
        if conf.command.connect:
            wrong += checks.check_servers(conf) + checks.check_storage(conf)[1]
    return _report(wrong, 'The configuration can be used.')


def _check_policy(conf: cfg.ConfigOpts) -> int:
    path = checks.find_policy_file(conf)
    return _report(
        checks.check_policy(conf), f'{path} can be used.' if path else 'There is no policy file; the defaults hold.'
    )


def _report(wrong: Iterable[str], well: str) -> int:
    found = list(wrong)
    for text in found:
        print(text, file=sys.stderr)
    if not found:
        print(well)
    return 1 if found else 0


def _explain(conf: cfg.ConfigOpts) -> None:
    db = parts.ask_database(conf)
    for entry in timeline.read(history.timeline(db, idents.normalise(conf.command.attachment))):
        if 'dropped' in entry:
            print(f'… {entry["dropped"]} steps are no longer known')
        took = f'{entry["seconds"]:.3f} s' if 'seconds' in entry else ''
        print(
            f'{entry["at"]}  {entry["event"]:<15} → {entry["state"]:<16} {entry["by"]:<30} '
            f'{took:<10} {entry.get("request_id", "")} {entry.get("error", "")}'.rstrip()
        )


def _add(place: _Places, name: str, text: str, call: _Call) -> argparse.ArgumentParser:
    parser = place.add_parser(name, help=text, description=text)
    parser.set_defaults(call=call)
    return parser


def _add_noun(place: _Places, name: str, text: str) -> _Places:
    return place.add_parser(name, help=text, description=text[0].upper() + text[1:] + '.').add_subparsers(
        dest='verb', required=True, metavar='VERB'
    )


def _add_commands(subparsers: _Places) -> None:
    db = _add_noun(subparsers, 'db', 'manage the database')
    _add(db, 'sync', 'Create the tables, or migrate them to this release.', _sync).add_argument(
        '--revision', default='head', help='target revision (default: the newest)'
    )
    _add(db, 'version', 'Show the revision of the database and of this release.', _version)
    _add(
        db,
        'check',
        'Check that the database is available and at the revision of this release; exits with status 2 if not.',
        _check_database,
    )
    _add(db, 'purge', 'Purge rows that were soft-deleted a number of days ago.', _purge).add_argument(
        '--days', type=int, default=90, help='age in days (default: 90)'
    )
    _add(
        db,
        'accept',
        "Accept this database as the current one for a backend's targets, after an older copy "
        'was restored on purpose. Without a backend, show the backends in doubt.',
        _accept,
    ).add_argument('backend', nargs='?', help='backend, as "service list" shows it, or cluster@backend')
    service = _add_noun(subparsers, 'service', 'manage the records of workers and agents')
    _add(service, 'list', 'List workers and agents with their state.', _list_services).add_argument(
        '-f', '--format', choices=['table', 'json'], default='table', help='default: table'
    )
    remove = _add(
        service,
        'remove',
        'Remove the record of a worker or agent that was decommissioned. Refuses (status 1) while '
        'volumes or attachments depend on it alone.',
        _remove_service,
    )
    remove.add_argument('binary', help='program, as "service list" shows it')
    # Not "host", which is an option of every program.
    remove.add_argument('service_host', metavar='host', help='host, as "service list" shows it')
    remove.add_argument('--force', action='store_true', help='even if volumes or attachments depend on it alone')
    _add_volume_commands(_add_noun(subparsers, 'volume', 'manage volumes whose backend was renamed or lost'))
    _add_cinder_commands(_add_noun(subparsers, 'cinder', 'take over from Cinder'))
    config = _add_noun(subparsers, 'config', 'manage the configuration files')
    _add(
        config,
        'check',
        'Check the configuration files and the policy file for invalid values and unknown names, '
        'and suggest similar ones; exits with status 1 if a problem is found.',
        _check_configuration,
    ).add_argument('--connect', action='store_true', help='also connect to the database and the message broker')
    policy = _add_noun(subparsers, 'policy', 'manage the policy file')
    _add(policy, 'check', 'Check that the policy file is valid and contains no unknown rules.', _check_policy)
    examine = _add(
        subparsers,
        'doctor',
        'Have all workers and agents compare the database with targets, hosts and Nova; '
        'exits with status 1 if drift remains or one of them did not respond.',
        doctor.examine,
    )
    examine.add_argument('--fix', action='store_true', help='repair what can be repaired')
    examine.add_argument(
        '--release',
        action='append',
        default=[],
        metavar='SEAL',
        help='with --fix: also make the repairs that wait for an operator under this seal; repeatable',
    )
    examine.add_argument('--url', help='use this API instead of the message broker, for multiattach-standalone')
    examine.add_argument('-f', '--format', choices=['table', 'json'], default='table', help='default: table')
    attachment = _add_noun(subparsers, 'attachment', 'inspect attachments')
    _add(attachment, 'explain', 'Show the timeline of an attachment, even if it is deleted.', _explain).add_argument(
        'attachment', help='ID of the attachment'
    )


def _add_volume_commands(volume: _Places) -> None:
    update = _add(
        volume,
        'update-host',
        'Change the backend of all volumes of a backend, after its storage host was renamed or another host took over '
        'the storage. No data is moved: the new backend must have the same files or logical volumes. Refused '
        '(status 1) while a worker of the old backend reports, or unless a worker of the new one does. Can be '
        'repeated if it was interrupted; fails if nothing is recorded under the old name.',
        volumes.update_host,
    )
    update.add_argument(
        '--current-host', required=True, metavar='HOST@BACKEND', help='current name, as os-vol-host-attr:host shows it'
    )
    update.add_argument(
        '--new-host', required=True, metavar='HOST@BACKEND', help='new name, as "service list" shows it'
    )
    update.add_argument('--force', action='store_true', help='proceed even if no worker of the new backend reports')
    remove = _add(
        volume,
        'remove',
        'Remove a volume whose backend is lost. Its records are deleted as by a delete request, including quota usage '
        'and notifications, without contacting a worker; what may remain on the storage is reported. Refused (status '
        '1) while a worker of the backend reports (use "openstack volume delete"), while the volume is being cloned '
        'and, without --force, while it has attachments.',
        volumes.remove,
    )
    remove.add_argument('volume_id', metavar='VOLUME_ID', help='ID of the volume')
    remove.add_argument(
        '--force', action='store_true', help='also remove its attachments, although their hosts may still be logged in'
    )
    for each in (update, remove):
        each.add_argument('--dry-run', action='store_true', help='only report what would be done')


def _add_cinder_commands(noun: _Places) -> None:
    check = _add(
        noun,
        'check',
        "Tell what of Cinder's database could be imported, what could not, why, and what to do about it. Nothing is "
        'written, and Cinder may run. Exits with status 1 if something could not.',
        cinder.check,
    )
    bring = _add(
        noun,
        'import',
        'Import volumes, attachments, types, QoS specs and quotas of Cinder, in one transaction. Volumes stay where '
        'they are, and hosts stay logged in. Cinder must be stopped. Can be repeated: it brings what is new, or '
        'changed in Cinder. Refused (status 1) while something cannot be imported, without --partial.',
        cinder.bring,
    )
    bring.add_argument('--partial', action='store_true', help='import what can be, and leave the rest in Cinder')
    bring.add_argument(
        '--force', action='store_true', help='even if Cinder runs, or no worker of a backend ever reported'
    )
    for each in (check, bring):
        each.add_argument(
            '--cinder-config', metavar='FILE', help='cinder.conf: the database, drivers and names of volumes are in it'
        )
        each.add_argument(
            '--cinder-connection-file',
            metavar='FILE',
            help="file that holds nothing but the SQLAlchemy URL of Cinder's database; or set the environment variable "
            f'{cinder.VARIABLE}',
        )
        each.add_argument(
            '--backend',
            action='append',
            default=[],
            metavar='HOST@BACKEND#POOL=HOST@BACKEND',
            help='which backend here has the volumes of a backend, or pool, of Cinder; repeatable. One of the same '
            'name needs none.',
        )
    undo = _add(
        noun,
        'undo',
        'Forget what was imported: the way back to Cinder. Storage, targets and sessions are not touched. The volume '
        'workers must be stopped. Refused (status 1) if something was changed here since, without --force.',
        cinder.undo,
    )
    undo.add_argument('--force', action='store_true', help='even if something was changed here since it was imported')
    finish = _add(
        noun,
        'finish',
        'End the way back: from then on targets admit only hosts that are known. This cannot be undone.',
        cinder.finish,
    )
    for each in (bring, undo, finish):
        each.add_argument('--dry-run', action='store_true', help='only report what would be done')
    for each in (check, bring, undo, finish):
        each.add_argument('-f', '--format', choices=['table', 'json'], default='table', help='default: table')


def manage(args: Sequence[str]) -> int | None:
    # Standard output is for what was asked for: a script reads JSON there.
    conf = configuration.load(
        args,
        program='multiattach-manage',
        description='Administer a multiattach deployment.',
        defaults={('DEFAULT', 'use_stderr'): True},
        cli_opts=[cfg.SubCommandOpt('command', title='commands', handler=_add_commands, help='command to run')],
        check=False,
        epilog=_EPILOG,
    )
    call: _Call = conf.command.call
    if call is not _check_configuration:  # which tells of all that is wrong, not of the first
        configuration.verify(conf)
    with Terminal(sys.stderr).waiting('the database, workers and agents'):
        return call(conf)


def main() -> int:
    return run.run_program(manage)


if __name__ == '__main__':
    sys.exit(main())
