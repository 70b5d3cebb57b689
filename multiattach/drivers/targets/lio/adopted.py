# SPDX-License-Identifier: Apache-2.0
"""Targets that Cinder made with rtslib: their logical unit is number 0, over a storage object named after the target.

Those who were let in by Cinder know the unit by that number, and by the serial number that rtslib drew by lot. So such
a target stays as it is as long as one of them has an entry; others are let in beside them, to whom the same unit is
number 1, as it is everywhere here.
"""

from pathlib import Path

from multiattach.domain.connection import LIO_LUN
from multiattach.drivers.targets.lio.configfs import Configfs

LUN = LIO_LUN
UNIT = f'lun_{LUN}'


def find_place(configfs: Configfs, iqn: str) -> Path | None:
    """Find the storage object of a target that Cinder made."""
    links = configfs.list_links(configfs.root / 'iscsi' / iqn / 'tpgt_1' / 'lun' / UNIT)
    return next((link.resolve() for link in links), None)


def list_places(configfs: Configfs, name: str) -> list[Path]:
    """Find storage objects of a name, whether a target has them or not; those of rtslib have a folder each."""
    core = configfs.root / 'core'
    return [place for folder in configfs.list_names(core) if (place := core / folder / name).is_dir()]
