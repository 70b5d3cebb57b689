# SPDX-License-Identifier: Apache-2.0
"""One process with everything, whose targets are this machine's kernel's: in a storage machine."""

import dataclasses
import os
import pathlib
from collections.abc import Iterator

from multiattach.drivers.targets.lio.configfs import ROOT
from multiattach.drivers.targets.lio.session_text import read_sessions
from multiattach.drivers.targets.tgt.parse import Lun, ShownTarget
from tests.histories.field import PREFIX, Ground
from tests.histories.proofs import Cheat
from tests.histories.quick import Quick
from tests.initiators.wire import LoginRefused


class KernelCheat(Cheat):
    """An account opens no name but its own here: so it writes under that, and comes back again and again."""

    def _begin_cheating(self) -> None:
        try:
            self._make_writer(dataclasses.replace(self._bad.claim, initiator=self._good.claim.initiator)).start().stop()
        except LoginRefused:
            pass
        else:
            self._wrong.append("an account has opened another initiator's name")
        self._writer = self._make_writer(self._bad.claim).start()
        self._writer.await_more(1)


class KernelQuick(Quick):
    """multiattach-standalone with ``target_driver = lio``.

    :param folder: for all that is written.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        super().__init__(folder)
        for name in ('tgtd', 'slow-tgtd'):
            self.faults.pop(name)
        # Of logins that are held open half-way the kernel has one at a time: tests/functional/drivers/targets/lio.
        self.trials = {'cheat': lambda chance: KernelCheat(self, chance)}

    @property
    def target_settings(self) -> str:
        return (
            f'[volume]\nenabled_backends = file\n[file]\ndriver = file\ndirectory = {self.volumes}\n'
            f'target_driver = lio\n[lio]\nportal = 127.0.0.1:{self._program.portal}\n'
        )

    def look(self) -> Ground:
        targets = {one.name.removeprefix(PREFIX): one for one in (ROOT / 'iscsi').glob('iqn.*')}
        shown = {ident: _show(target) for ident, target in targets.items()}
        accounts = [name for target in shown.values() for name in target.accounts]
        sessions = {
            ident: [one.name for one in _list(target / 'tpgt_1' / 'acls') if read_sessions(_read(one / 'info'))]
            for ident, target in targets.items()
        }
        return Ground(shown, accounts, sessions)


def _show(target: pathlib.Path) -> ShownTarget:
    group = target / 'tpgt_1'
    entries = list(_list(group / 'acls'))
    accounts = [name for name in (_read(one / 'auth' / 'userid') for one in entries) if name not in ('', 'NULL')]
    units = [link for link in _list(group / 'lun' / 'lun_1') if link.is_symlink()]
    details = [
        {'Backing store path': _read(one / 'udev_path'), 'Online': {'1': 'Yes'}.get(_read(one / 'enable'), 'No')}
        for one in units
    ]
    luns = dict(enumerate((Lun(1, one) for one in details), 1))
    names = [entry.name for entry in entries]
    return ShownTarget(1, target.name, luns, accounts, names, is_open=_read(group / 'enable') == '1')


def _read(path: pathlib.Path) -> str:
    try:
        return path.read_text(errors='replace').strip('\0\n')
    except OSError:  # it went just now
        return ''


def _list(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    try:
        yield from (folder / name for name in sorted(os.listdir(folder)))
    except OSError:
        return
