# SPDX-License-Identifier: Apache-2.0
"""Logical volumes that are to become volumes."""

import contextlib
import errno
import os
import secrets
from collections.abc import Callable, Iterator
from typing import Protocol

from multiattach.drivers.errors import CopyAborted, StorageError


class Group(Protocol):
    """The volume group; all names are those of logical volumes."""

    def find_size(self, name: str) -> int | None: ...

    def make(self, name: str, size_gb: int) -> None: ...

    def rename(self, name: str, new: str) -> None: ...

    def find_device(self, name: str) -> str: ...

    def check_alone(self, name: str) -> None: ...

    def clear(self, volume_id: str, proceed: Callable[[], bool]) -> None: ...


class LvmDraft:
    def __init__(self, group: Group, volume_id: str, handle: int) -> None:
        self._group = group
        self._volume_id = volume_id
        self._handle = handle
        self.path = group.find_device(f'draft-{volume_id}')

    def adopt(self) -> None:
        try:
            os.fsync(self._handle)
        except OSError as exc:
            raise StorageError(f'The logical volume of {self._volume_id} cannot be made: {exc.strerror}.') from exc
        name = f'volume-{self._volume_id}'
        if self._group.find_size(name) is not None:
            self._group.check_alone(name)
            discard(self._group, self._volume_id, name)
        self._group.rename(f'draft-{self._volume_id}', name)


class LvmImports:
    """Logical volumes ``draft-UUID``."""

    def __init__(self, group: Group) -> None:
        self._group = group

    @contextlib.contextmanager
    def open(self, volume_id: str, size_gb: int, proceed: Callable[[], bool]) -> Iterator[LvmDraft]:
        name = f'draft-{volume_id}'
        self._drop(volume_id, name, proceed)
        self._group.make(name, size_gb)
        handle = self._claim(name)
        try:
            yield LvmDraft(self._group, volume_id, handle)
        finally:
            os.close(handle)
            if self._group.find_size(name) is not None:  # what was adopted has another name
                discard(self._group, volume_id, name)

    def _drop(self, volume_id: str, name: str, proceed: Callable[[], bool]) -> None:
        if self._group.find_size(name) is not None:
            os.close(self._claim(name))
            discard(self._group, volume_id, name)
            self._group.clear(volume_id, proceed)

    def _claim(self, name: str) -> int:
        """Open a device as nobody else can while it is open: no other worker on this host is at it then.

        :raises CopyAborted: one is.
        """
        try:
            return os.open(self._group.find_device(name), os.O_RDWR | os.O_EXCL | os.O_CLOEXEC)
        except OSError as exc:
            if exc.errno == errno.EBUSY:
                raise CopyAborted from exc
            raise StorageError(f'The logical volume {name} cannot be opened: {exc.strerror}.') from exc


def discard(group: Group, volume_id: str, name: str) -> None:
    """Take a logical volume away from its name."""
    group.rename(name, f'trash-{volume_id}.{secrets.token_hex(4)}')
