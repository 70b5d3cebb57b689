# SPDX-License-Identifier: Apache-2.0
"""``multiattach-manage volume``: volumes whose backend has another name, or is gone for good."""

import contextlib
from collections.abc import Iterator

from oslo_config import cfg

from multiattach.cmd import operations, parts
from multiattach.db.transitions import Actor
from multiattach.domain import idents
from multiattach.engine.backends import Backends, Moved, Removed

ACTOR = 'manage'


def update_host(conf: cfg.ConfigOpts) -> None:
    """Write another backend into the volumes of one."""
    command = conf.command
    with _open(conf) as backends:
        moved = backends.rename(command.current_host, command.new_host, force=command.force, dry_run=command.dry_run)
    for line in _tell_moved(moved, command.current_host, command.new_host, dry_run=command.dry_run):
        print(line)


def remove(conf: cfg.ConfigOpts) -> None:
    """Remove the rows of a volume whose backend is gone for good."""
    command = conf.command
    with _open(conf) as backends:
        removed = backends.remove_volume(
            idents.normalise(command.volume_id), force=command.force, dry_run=command.dry_run
        )
    for line in _tell_removed(removed, dry_run=command.dry_run):
        print(line)


@contextlib.contextmanager
def _open(conf: cfg.ConfigOpts) -> Iterator[Backends]:
    with contextlib.ExitStack() as stack:
        db = parts.ask_database(conf)
        stack.callback(db.close)
        stack.callback(operations.start_notifications(conf, db))
        yield Backends(db, conf.service_down_time, Actor(ACTOR))


def _tell_moved(moved: Moved, old: str, new: str, *, dry_run: bool) -> Iterator[str]:
    yield (
        f'{moved.volumes} volumes with {moved.attachments} attachments '
        f'{"would be" if dry_run else "are"} moved from {old} to {new}, and {moved.history} deleted ones.'
    )
    for host in moved.services:
        yield f'The old worker {host} {"would be" if dry_run else "is"} removed from the list of services.'
    if moved.attachments and not dry_run:
        yield (
            'Run "multiattach-manage doctor" next: it says whether the new worker exports them, and which '
            'hosts were told another portal (old_portal).'
        )


def _tell_removed(removed: Removed, *, dry_run: bool) -> Iterator[str]:
    ident, backend = removed.volume_id, removed.backend
    yield (
        f'Volume {ident} ({removed.size} GiB, {removed.status}) '
        f'{"would be" if dry_run else "is"} removed, with {len(removed.attachments)} attachments.'
    )
    yield f'Nobody was asked. What is left, if the storage of {backend} still exists:'
    yield (
        f'    its data: the file or logical volume volume-{removed.name_id} of the backend '
        f'{backend.rpartition("@")[2]}, not zeroed'
    )
    yield f'    the target …:volume-{removed.name_id} of its tgtd, and the file of that name in volumes_dir'
    for one in removed.attachments:
        yield (
            f'    attachment {one.id} ({one.state}): server {one.server or "-"}, host {one.host or "-"}, '
            f'initiator {one.initiator or "-"}'
        )
    if removed.attachments:
        yield '    A host of these may hold a session and a device: detach or restart its servers.'
    yield 'If the worker comes back, it removes the target by itself (leftover); its data it never touches.'
