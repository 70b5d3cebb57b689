# SPDX-License-Identifier: Apache-2.0
"""One tgt-admin configuration file per target, from which tgtd's own restart restores it.

The files are read by ``tgt-admin -e`` when tgtd's configuration has ``include DIR/*``. They
hold CHAP secrets: mode 0600. (While it restores, tgt-admin itself passes the secrets to tgtadm
in the command line.)

Each file has an ``initiator-address`` line that no initiator can have: without one, tgt-admin
adds ``ALL``, which admits everybody, because tgt takes names and addresses as alternatives.
``0.0.0.0`` would not do: tgtd compares it with four bytes of an IPv6 sender that are zero.
"""

import errno
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from multiattach.drivers.errors import TargetFull, TargetRequestInvalid
from multiattach.drivers.targets import folders
from multiattach.drivers.targets.base import Grant
from multiattach.drivers.targets.tgt.protocol import NOBODY_ADDRESS, check_value
from multiattach.drivers.targets.tgt.store import find_store

_GRANT = re.compile(
    r'^\s*initiator-name (?P<initiator>\S+)\n\s*(?:# )?incominguser (?P<user>\S+) (?P<secret>\S+)$', re.MULTILINE
)
# What Config::General would read as a comment, a quote, an escape or a block.
_SPECIAL = re.compile(r"[#\\\"'<>$\s]")


@dataclass(frozen=True)
class TargetFile:
    """What stands in the file of one target.

    :param scsi_id: identity from which the WWN is made.
    """

    iqn: str
    device: str
    lun: int
    write_cache: bool
    scsi_id: str
    scsi_sn: str
    grants: tuple[Grant, ...]


def render(target: TargetFile) -> str:
    """Write a target the way tgt-admin reads it; the text holds secrets.

    :raises TargetRequestInvalid: the path or a grant cannot be written in such a file.
    """
    store = find_store(target.device)
    if _SPECIAL.search(store.path):
        raise TargetRequestInvalid("the device's path has characters that tgt-admin cannot read")
    lines = [
        f'<target {target.iqn}>',
        '  driver iscsi',
        # tgt-admin leaves out a path that is not there, unless it reads here already that it is none.
        *([f'  bs-type {store.kind}'] if store.options else []),
        f'  initiator-address {NOBODY_ADDRESS}',
        f'  <backing-store {store.path}>',
        f'    lun {target.lun}',
        f'    bs-type {store.kind}',
        # The outer quotes are for tgt-admin, which hands the rest to a shell.
        *([f'    bsopts "\'{store.options}\'"'] if store.options else []),
        '    allow-in-use yes',
        f'    write-cache {"on" if target.write_cache else "off"}',
        f'    scsi_id {target.scsi_id}',
        f'    scsi_sn {target.scsi_sn}',
        '  </backing-store>',
    ]
    return '\n'.join(lines) + '\n' + _render_grants(target.grants) + '</target>\n'


def _render_grants(grants: Sequence[Grant]) -> str:
    """Write who may log in; an account that several have is made once, and named in a comment beside the others."""
    made: set[str] = set()
    lines = []
    for grant in grants:
        lines.append(_render_grant(grant, '# ' if grant.username in made else ''))
        made.add(grant.username)
    return ''.join(lines)


def _render_grant(grant: Grant, mark: str) -> str:
    check_value('initiator-name', grant.initiator)
    check_value('user', grant.username)
    check_value('password', grant.secret)
    if _SPECIAL.search(grant.secret):
        raise TargetRequestInvalid('the secret has characters that tgt-admin cannot read')
    return f'  initiator-name {grant.initiator}\n  {mark}incominguser {grant.username} {grant.secret}\n'


def parse_grants(text: str) -> tuple[Grant, ...]:
    """Read the grants back from a text that :func:`render` wrote, in their order."""
    return tuple(Grant(m['initiator'], m['user'], m['secret']) for m in _GRANT.finditer(text))


def with_grant(grants: Sequence[Grant], grant: Grant) -> tuple[Grant, ...]:
    """Add or replace the grant of one initiator; it comes last."""
    return (*(known for known in grants if known.initiator != grant.initiator), grant)


def without_grant(grants: Sequence[Grant], initiator: str, username: str) -> tuple[Grant, ...]:
    return tuple(g for g in grants if g.initiator != initiator and g.username != username)


def replace_grants(text: str, grants: Sequence[Grant]) -> str:
    """Change the grants in a text that :func:`render` wrote, and nothing else."""
    head, _, _ = text.partition('  </backing-store>\n')
    return head + '  </backing-store>\n' + _render_grants(grants) + '</target>\n'


def read(path: Path) -> str | None:
    try:
        return path.read_text(encoding='utf-8')
    except FileNotFoundError:
        return None


def write(path: Path, text: str) -> None:
    """Replace a target's file; a crash or a full disk leaves the old or the new one, never a part.

    :raises TargetFull: there is no room for it.
    """
    try:
        _write(path, text)
    except OSError as exc:
        if exc.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise TargetFull(f'the file of the target cannot be written: {exc.strerror}') from exc


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = _draft(path)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, 'w', encoding='utf-8') as file:
            os.fchmod(descriptor, 0o600)
            file.write(text)
            file.flush()
            os.fdatasync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    folders.sync(path.parent)


def remove(path: Path) -> None:
    """Delete a target's file; absent is success."""
    _draft(path).unlink(missing_ok=True)
    with suppress(FileNotFoundError):
        path.unlink()
        folders.sync(path.parent)


def _draft(path: Path) -> Path:
    """Name the file that becomes the target's: always the same one, so that what a killed worker
    left of it is found by the next step on the volume. "include DIR/*" does not match its dot.
    """
    return path.with_name(f'.{path.name}.new')
