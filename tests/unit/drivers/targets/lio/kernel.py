# SPDX-License-Identifier: Apache-2.0
"""A folder that behaves as the kernel's target does, as far as registrations and entries go; nobody logs in."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

from multiattach.drivers.targets.lio.configfs import Configfs


class Killed(BaseException):
    """The process ends here."""


class Kernel(Configfs):
    """:param root: takes the target's tree, and what the kernel writes."""

    def __init__(self, root: Path) -> None:
        super().__init__(root / 'target')
        (self.root / 'core').mkdir(parents=True)
        (self.root / 'iscsi').mkdir()
        (self.root / 'dbroot').write_text(str(root / 'var'))
        #: what ends the process as soon as it is made, removed or set: a verb and the end of a path
        self.kill_at: tuple[str, str] | None = None
        self._loaded: dict[str, list[tuple[Path, dict[str, str]]]] = {}

    def _reach(self, verb: str, path: Path) -> None:
        if self.kill_at is not None and self.kill_at[0] == verb and str(path).endswith(self.kill_at[1]):
            self.kill_at = None
            raise Killed

    def make(self, folder: Path) -> bool:
        made = not folder.exists()
        folder.mkdir(exist_ok=True)
        if made:
            self._fill(folder)
        self._reach('make', folder)
        return made

    def _fill(self, folder: Path) -> None:
        if folder.parent.parent.name == 'core':
            names = ['pr', 'wwn', 'attrib', 'alua/default_tg_pt_gp']
        elif folder.name == 'tpgt_1':
            names = ['acls', 'attrib', 'lun', 'np']
        else:
            names = ['auth'] if folder.parent.name == 'acls' else []
        for name in names:
            (folder / name).mkdir(parents=True)

    def remove(self, folder: Path, hurry: Callable[[], None] | None = None) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        if folder.parent.parent.name == 'core':
            self._loaded.clear()
        if folder.parent.name == 'acls':
            self._forget(folder.name)
        self._reach('remove', folder)

    def _forget(self, initiator: str) -> None:
        """Unregister whoever has no entry any more; the file stays as it was."""
        for shown in self.root.glob('core/*/*/pr/res_pr_registered_i_pts'):
            lines = shown.read_text().splitlines(keepends=True)
            its = re.compile(rf' {re.escape(initiator)}[,\s]')
            shown.write_text(''.join(one for one in lines if not its.search(one)))
            holder = shown.with_name('res_holder')
            if holder.exists() and its.search(holder.read_text()):
                holder.unlink()

    def write(self, path: Path, text: str) -> None:
        if path.name == 'res_aptpl_metadata':
            values = dict(one.split('=', 1) for one in text.split(','))
            self._loaded.setdefault(values['initiator_node'], []).append((path.parent, values))
        path.write_text(text)
        self._reach('set', path)

    def link(self, path: Path, folder: Path) -> None:
        super().link(path, folder)
        if path.parent.parent.parent.name == 'acls':  # what was loaded is in force now
            for one in self._loaded.pop(path.parent.parent.name, []):
                self._register(*one)

    def _register(self, folder: Path, values: dict[str, str]) -> None:
        session = f',i,0x{values["initiator_sid"]}' if 'initiator_sid' in values else ''
        node = f'{values["initiator_node"]}{session}'
        with (folder / 'res_pr_registered_i_pts').open('a') as file:
            file.write(f'iSCSI Node: {node} Key: 0x{int(values["sa_res_key"]):016x} PRgen: 0x00000000\n')
        if values['res_holder'] == '1':
            (folder / 'res_holder').write_text(f'SPC-3 Reservation: iSCSI Initiator: {node}\n')
            (folder / 'res_pr_type').write_text('SPC-3 Reservation Type: Write Exclusive Access, Registrants Only\n')
