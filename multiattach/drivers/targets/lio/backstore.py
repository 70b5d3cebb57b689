# SPDX-License-Identifier: Apache-2.0
"""The kernel's storage objects: one for each volume, over its file or its block device."""

import contextlib
import os
import re
import stat
import time
from collections.abc import Callable
from pathlib import Path

from oslo_log import log

from multiattach.drivers.errors import DriverError, TargetBusy, TargetError, TargetRequestInvalid
from multiattach.drivers.targets.lio import adopted, identity, kernel_image
from multiattach.drivers.targets.lio.configfs import Configfs
from multiattach.drivers.targets.lio.kernel_image import KernelImages

LOG = log.getLogger(__name__)

FILE, BLOCK = 'fileio', 'iblock'
# Number of the folder that has all of this driver's; other tools count up from 0.
_FOLDER = 7810
_SERIAL = 'T10 VPD Unit Serial Number: '
_ATTRIBUTES = {
    'emulate_pr': '1',
    # As if each initiator asked to keep its registration over a loss of power (APTPL).
    'force_pr_aptpl': '1',
    # A registration that was given back without a session's identifier is that of each session of its initiator.
    'enforce_pr_isids': '0',
    # No copies by command: one that is granted a volume reads and writes it itself.
    'emulate_3pc': '0',
}
# Punching holes: a block device may not be able to, and then the kernel refuses it.
_UNMAP = {'emulate_tpu': '1', 'emulate_tpws': '1'}
_SIZE = re.compile(r' Size: (\d+)')
_SECTOR = 512


class Backstores:
    """Storage objects of this driver, and of Cinder.

    :param name_target: names a volume's target.
    :param write_cache: False makes the kernel write a file through before it answers.
    """

    def __init__(self, configfs: Configfs, name_target: Callable[[str], str], *, write_cache: bool = True) -> None:
        self._configfs = configfs
        self._name_target = name_target
        self._write_cache = write_cache
        self._images = KernelImages()

    @property
    def _core(self) -> Path:
        return self._configfs.root / 'core'

    def _folders(self) -> list[Path]:
        return [self._core / f'{kind}_{_FOLDER}' for kind in (FILE, BLOCK)]

    def find(self, volume_id: str) -> Path | None:
        """Find the folder of a volume's storage object."""
        own = self._list_own(volume_id)
        return own[0] if own else adopted.find_place(self._configfs, self._name_target(volume_id))

    def _list_own(self, volume_id: str) -> list[Path]:
        return [place for folder in self._folders() if (place := folder / _name(volume_id)).is_dir()]

    def is_own(self, place: Path) -> bool:
        """Whether it is not one of Cinder."""
        return place.parent in self._folders()

    def read_device(self, place: Path) -> str:
        return self._configfs.read(place / 'udev_path')

    def read_serial(self, place: Path) -> str:
        return self._configfs.read(place / 'wwn' / 'vpd_unit_serial').removeprefix(_SERIAL)

    def is_ready(self, place: Path) -> bool:
        """Whether it was made to the end: the serial number is set last of all."""
        return self._configfs.read(place / 'enable') == '1' and bool(self.read_serial(place))

    def check_images(self) -> None:
        self._images.check()

    def look(self, device: str) -> tuple[str, int]:
        """Tell how a device is opened, and its size in bytes.

        :raises TargetError: it cannot be exported.
        :raises TargetUnavailable: its disk does not answer.
        """
        return self._configfs.keep('open', Path(device), lambda _is_late: _look(device))

    def make(self, volume_id: str, device: str) -> Path:
        """Make it, without registrations.

        :raises TargetError: the kernel refuses the device.
        """
        kind, size = self.look(device)
        folder = self._core / f'{kind}_{_FOLDER}'
        self._configfs.make(folder)
        place = folder / _name(volume_id)
        self._configfs.make(place)
        self._configfs.write(place / 'udev_path', device)  # first: it tells what is to be unmapped
        if kind == FILE:
            cache = ',fd_buffered_io=1' if self._write_cache else ''
            self._configfs.write(place / 'control', f'fd_dev_name={device},fd_dev_size={size}{cache}')
        else:
            is_image = kernel_image.is_image(device)
            opened = self._images.open(device, self._configfs.find_deadline()) if is_image else device
            self._configfs.write(place / 'control', f'udev_path={opened}')
        self._configfs.write(place / 'enable', '1')
        self._describe(place, volume_id)
        return place

    def _describe(self, place: Path, volume_id: str) -> None:
        for name, value in _ATTRIBUTES.items():
            self._configfs.settle(place / 'attrib' / name, value)
        for name, value in _UNMAP.items():
            try:
                self._configfs.settle(place / 'attrib' / name, value)
            except TargetError as exc:
                LOG.debug('Volume %s: %s', volume_id, exc)
        # Who may read and write a logical unit is not for one of its initiators to say to the others.
        self._configfs.write(place / 'alua' / 'default_tg_pt_gp' / 'alua_access_type', '0')
        wwn = place / 'wwn'
        self._configfs.write(wwn / 'vendor_id', identity.VENDOR)
        self._configfs.write(wwn / 'product_id', identity.PRODUCT)
        self._configfs.write(wwn / 'revision', identity.REVISION)
        self._configfs.write(wwn / 'company_id', identity.make_company(volume_id))
        self._configfs.write(wwn / 'vpd_unit_serial', identity.make_serial(volume_id))

    def remove(self, volume_id: str, keep: str = '') -> None:
        """Remove it; absent is success. Nothing may use it any more.

        :param keep: the device that is to be exported again at once: if it is an image, it stays mapped.
        """
        # By name, wherever they are: Cinder's tool writes this driver's down, too, and restores them elsewhere.
        names = _name(volume_id), self._name_target(volume_id)
        places = [place for name in names for place in adopted.list_places(self._configfs, name)]
        # Without one it may be mapped by a worker that died in between.
        mapped = self._images.find_name(_name(volume_id)) if not places and not keep else ''
        for place in places:
            device = self.read_device(place)
            if kernel_image.is_image(device) and device != keep:
                mapped = self._images.find(kernel_image.split(device)[0])
            self._configfs.remove(place)
            if not self.is_own(place):
                with contextlib.suppress(TargetBusy):  # rtslib gives each a folder of its own
                    self._configfs.remove(place.parent)
        if mapped:
            self._unmap(mapped)

    def _unmap(self, mapped: str) -> None:
        """Unmap an image that nothing here uses; one that somebody else has open keeps no fence from its end.

        It is unmapped when the target is removed the next time: the deletion of its volume waits for that.
        """
        now = time.monotonic()
        try:
            self._images.close(mapped, now + (self._configfs.find_deadline() - now) / 2)  # more is done after it
        except DriverError as exc:
            LOG.warning('An image of Ceph stays mapped: %s', exc)

    def grow(self, place: Path, device: str) -> None:
        """Take on the size of a device that has grown."""
        kind, size = self.look(device)
        if kernel_image.is_image(device):
            # It asks Ceph, which may not answer.
            self._configfs.keep('refresh', Path(device), lambda _is_late: self._images.refresh(device))
        if kind == FILE:  # of a block device the kernel asks the device
            self._configfs.write(place / 'control', f'fd_dev_size={size}')
            shown = _SIZE.search(self._configfs.read(place / 'info'))
            if shown is None or int(shown[1]) != size:
                raise TargetError(f'the kernel shows {shown and shown[1]} bytes of {device}, which has {size}')


def _name(volume_id: str) -> str:
    identity.make_serial(volume_id)  # one spelling only: it is a folder's name
    return f'volume-{volume_id}'


def _look(device: str) -> tuple[str, int]:
    if kernel_image.is_image(device):
        kernel_image.split(device)
        return BLOCK, 0
    if ',' in device or not device.startswith('/'):
        raise TargetRequestInvalid(f'the kernel can have no storage object over {device!r}')
    try:
        found = os.stat(device)
    except OSError as exc:
        raise TargetError(f'{device} cannot be exported: {exc.strerror}') from exc
    if stat.S_ISBLK(found.st_mode):
        return BLOCK, 0
    if not stat.S_ISREG(found.st_mode) or found.st_size < _SECTOR:
        raise TargetError(f'{device} cannot be exported: it is no block device, and no file with a size')
    return FILE, found.st_size - found.st_size % _SECTOR
