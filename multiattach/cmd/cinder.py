# SPDX-License-Identifier: Apache-2.0
"""``multiattach-manage cinder``: a cloud whose volumes Cinder has moves here."""

import contextlib
import json
import os
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any

from oslo_config import cfg

from multiattach.cmd import parts
from multiattach.db.transitions import Actor
from multiattach.domain import errors
from multiattach.takeover import report, settings, source
from multiattach.takeover.imports import Findings, Imports

ACTOR = 'manage'
#: may hold the URL of Cinder's database, which no argument may: others see those
VARIABLE = 'CINDER_CONNECTION'


def check(conf: cfg.ConfigOpts) -> int:
    """Tell what could be imported, what could not, and why."""
    with _open(conf) as imports:
        found = imports.check(*_read(conf))
    _print(conf, report.describe(found), report.tell(found, done=False))
    return 1 if found.obstacles else 0


def bring(conf: cfg.ConfigOpts) -> int:
    """Import what can be."""
    command = conf.command
    with _open(conf) as imports:
        asked = _read(conf)
        if command.dry_run:
            found = imports.check(*asked)
        else:
            found = imports.run(*asked, partial=command.partial, force=command.force)
    _print(conf, report.describe(found), _tell_import(found, done=not command.dry_run))
    return 1 if found.obstacles and not command.partial else 0


def _tell_import(found: Findings, *, done: bool) -> Iterator[str]:
    yield from report.tell(found, done=done)
    if done:
        yield (
            'Next: start multiattach-volume and the API, look with "multiattach-manage doctor", switch the endpoint in '
            'Keystone. "multiattach-manage cinder undo" is the way back until "multiattach-manage cinder finish".'
        )


def undo(conf: cfg.ConfigOpts) -> int:
    """Forget what was imported."""
    command = conf.command
    with _open(conf) as imports:
        found = imports.undo(force=command.force, dry_run=command.dry_run)
    _print(conf, report.describe_undo(found), _tell_undo(found.counts, found.changed, done=not command.dry_run))
    return 1 if found.changed and command.dry_run else 0


def _tell_undo(counts: dict[str, int], changed: list[Any], *, done: bool) -> Iterator[str]:
    told = ', '.join(f'{number} of {kind}' for kind, number in counts.items())
    yield f'{"Forgotten is" if done else "Forgotten would be"} what was imported: {told or "nothing is left of it"}.'
    yield 'Storage, targets and sessions were not touched.'
    yield from report.tell_obstacles('are not what was imported' if not done else 'were not what was imported', changed)
    if done:
        yield (
            "Next: point the endpoint in Keystone to Cinder's API again and start Cinder. A target that this service "
            'has changed (by an attach, a detach or a fence) admits hosts by name: while it is in use, hosts that are '
            'new to it need "tgtadm --lld iscsi --op bind --mode target --tid N --initiator-address ALL" on the '
            'storage host.'
        )


def finish(conf: cfg.ConfigOpts) -> int:
    """End the way back."""
    command = conf.command
    with _open(conf) as imports:
        found = imports.finish(dry_run=command.dry_run)
    told = ', '.join(f'{number} of {kind}' for kind, number in found.items())
    if command.dry_run:
        text = f'There would be no way back to Cinder any more for {told}.'
    else:
        text = (
            f"{told} are this service's own now; there is no way back to Cinder. Its workers let only known hosts in "
            'at the targets with their next round: see "multiattach-manage doctor". Include the files of volumes_dir '
            "in the configuration of tgtd instead of Cinder's."
        )
    _print(conf, {'finished': found}, [text])
    return 0


@contextlib.contextmanager
def _open(conf: cfg.ConfigOpts) -> Iterator[Imports]:
    db = parts.ask_database(conf)
    try:
        yield Imports(db, conf.service_down_time, Actor(ACTOR))
    finally:
        db.close()


def _read(conf: cfg.ConfigOpts) -> tuple[source.Contents, list[str], settings.CinderConf | None]:
    """Read Cinder's database, and cinder.conf if it is named."""
    command = conf.command
    theirs = settings.read_conf(command.cinder_config) if command.cinder_config else None
    url = _find_url(command.cinder_connection_file, theirs)
    return source.read(url), command.backend, theirs


def _find_url(path: str | None, theirs: settings.CinderConf | None) -> str:
    if path:
        try:
            text = pathlib.Path(path).read_text().strip()
        except (OSError, UnicodeDecodeError) as exc:
            raise errors.ConfigurationError(
                f'--cinder-connection-file: {path} cannot be read ({type(exc).__name__}).'
            ) from None
        if text:
            return text
        raise errors.ConfigurationError(f'--cinder-connection-file: {path} is empty; it is to hold the URL.')
    if url := os.environ.get(VARIABLE) or (theirs.url if theirs else None):
        return url
    raise errors.ConfigurationError(
        f"Where Cinder's database is must be said: --cinder-config /etc/cinder/cinder.conf, --cinder-connection-file "
        f'FILE, or the variable {VARIABLE} with the URL.'
    )


def _print(conf: cfg.ConfigOpts, found: dict[str, Any], lines: Iterable[str]) -> None:
    if conf.command.format == 'json':
        print(json.dumps(found, indent=1))
        return
    for line in lines:
        print(line)
