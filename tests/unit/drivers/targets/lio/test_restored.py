# SPDX-License-Identifier: Apache-2.0
"""Targets of this driver that rtslib has restored: Cinder's rtstool writes down all that the kernel has."""

from pathlib import Path

import pytest

from .test_interrupted import HOLDER, PEER, VOLUME, Bench


class Restored(Bench):
    """After a boot: the storage object has its name, and a folder that rtslib numbers."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.admit(HOLDER)
        own = self.target._stores.find(VOLUME)
        assert own is not None
        self.place = own.parent.with_name('fileio_0') / own.name
        self.place.parent.mkdir()
        own.rename(self.place)
        [link] = self.kernel.list_links(self.kernel.root / 'iscsi' / self.target.iqn(VOLUME) / 'tpgt_1/lun/lun_1')
        link.unlink()
        link.symlink_to(self.place)

    def list_storage(self) -> list[Path]:
        return [*self.kernel.root.glob(f'core/*/volume-{VOLUME}')]


@pytest.fixture
def restored(tmp_path: Path) -> Restored:
    return Restored(tmp_path)


def test_one_that_is_made_anew_does_not_find_its_device_open(restored: Restored) -> None:
    restored.admit(PEER)
    assert restored.list_storage() == [restored.target._stores.find(VOLUME)]
    assert not restored.place.parent.exists()
    assert restored.target.list_exports()[VOLUME].initiators == (HOLDER, PEER)


def test_one_that_is_removed_leaves_its_device_to_others(restored: Restored) -> None:
    restored.target.remove_export(VOLUME)
    assert restored.list_storage() == []
