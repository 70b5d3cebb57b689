# SPDX-License-Identifier: Apache-2.0
"""Targets as Cinder's tgt driver makes them: by tgt-admin, of a file with the text of its template."""

import pathlib
import subprocess

# cinder/volume/targets/tgt.py, VOLUME_CONF of release 29; without initiator-address tgt-admin lets everybody in.
_TEXT = """
<target {iqn}>
    backing-store {path}
    driver iscsi
    incominguser {user} {secret}
    write-cache on
    scsi_sn volume-{ident}
    scsi_id volume-{ident}
</target>
"""


def make_target(
    control_port: int, folder: pathlib.Path, ident: str, device: pathlib.Path, account: tuple[str, str]
) -> pathlib.Path:
    """Export a device of a volume; return the file from which tgt-admin does."""
    folder.mkdir(exist_ok=True)
    file = folder / f'volume-{ident}'
    iqn = f'iqn.2010-10.org.openstack:volume-{ident}'
    file.write_text(_TEXT.format(iqn=iqn, path=device, ident=ident, user=account[0], secret=account[1]))
    run(control_port, file, '--update', iqn)
    return file


def restore(control_port: int, file: pathlib.Path) -> None:
    """Have tgt-admin do what it does when tgtd starts."""
    run(control_port, file, '--execute')


def run(control_port: int, file: pathlib.Path, *words: str) -> None:
    done = subprocess.run(
        ['tgt-admin', '-C', str(control_port), '-c', file, *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
