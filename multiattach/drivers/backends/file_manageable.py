# SPDX-License-Identifier: Apache-2.0
"""Files in the folder of a file backend that may become volumes or snapshots. Only names are taken, never paths."""

import contextlib
import errno
import fcntl
import os
import pathlib
import signal
import stat
from collections.abc import Callable

from multiattach.drivers.backends.manageable import (
    Found,
    FoundSnapshot,
    check_obstacle,
    check_size,
    check_snapshot_size,
    is_passing,
    missing,
)
from multiattach.drivers.errors import StorageError

_IN_USE = (errno.EAGAIN, errno.EACCES, errno.ETXTBSY)
_SNAPSHOT = 'snapshot-'


class _Files:
    """Entries of a folder whose names may be had."""

    def __init__(self, directory: pathlib.Path, may_be_had: Callable[[str], bool]) -> None:
        self._directory = directory
        self._may_be_had = may_be_had

    def _list(self) -> list[Found]:
        try:
            with os.scandir(self._directory) as entries:
                found = [self._look(entry.name) for entry in entries if self._may_be_had(entry.name)]
        except OSError as exc:
            raise StorageError(f'{self._directory} cannot be read: {exc.strerror}.') from exc
        return [one for one in found if one is not None]

    def _find(self, name: str) -> Found:
        found = self._look(name) if self._may_be_had(name) else None
        if found is None:
            raise missing(name, "the backend's folder")
        return found

    def _rename(self, name: str, new: str, find: Callable[[], Found]) -> None:
        if not self._may_be_had(name):
            raise missing(name, "the backend's folder")
        source, target = self._directory / name, self._directory / new
        try:
            if os.path.lexists(target):
                self._end(source, target)
                return
            check_obstacle(find())
            os.link(source, target, follow_symlinks=False)  # which replaces nothing
            self._end(source, target)
        except OSError as exc:
            raise StorageError(f'The file {name} cannot be renamed: {exc.strerror}.') from exc

    def _end(self, source: pathlib.Path, target: pathlib.Path) -> None:
        """Take the first of two names away, if both are of one file."""
        with contextlib.suppress(FileNotFoundError):
            if not os.path.samestat(source.lstat(), target.lstat()):
                raise StorageError(f'There is a file {target.name} already, which is not {source.name}.')
            source.unlink()
        target.chmod(0o600)
        handle = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def _look(self, name: str) -> Found | None:
        """Look at an entry of the folder; None if it is gone, or neither a file nor a link."""
        path = self._directory / name
        try:
            status = path.lstat()
        except OSError:
            return None
        if stat.S_ISLNK(status.st_mode):
            return Found(name, 0, 'it is a symbolic link')
        if not stat.S_ISREG(status.st_mode):
            return None
        if status.st_nlink > 1:
            return Found(name, status.st_size, 'it has more names than this one (hard links)')
        return Found(name, status.st_size, check_size(status.st_size) or _find_user(path))


class ManageableFiles(_Files):
    def __init__(self, directory: pathlib.Path) -> None:
        super().__init__(directory, _may_be_volume)

    def list(self) -> list[Found]:
        return self._list()

    def find(self, name: str) -> Found:
        return self._find(name)

    def take(self, volume_id: str, name: str) -> None:
        self._rename(name, f'volume-{volume_id}', lambda: self.find(name))


class ManageableSnapshotFiles(_Files):
    """Files ``snapshot-…``; nothing in one tells of which volume it is."""

    def __init__(self, directory: pathlib.Path) -> None:
        super().__init__(directory, _may_be_snapshot)

    def list(self) -> list[FoundSnapshot]:
        return [FoundSnapshot(one.name, one.size, one.obstacle) for one in self._list()]

    def find(self, volume_id: str, name: str) -> FoundSnapshot:
        found = self._find(name)
        try:
            size = (self._directory / f'volume-{volume_id}').stat().st_size
        except OSError as exc:
            raise StorageError(f'The file of volume {volume_id} cannot be read: {exc.strerror}.') from exc
        return FoundSnapshot(name, found.size, found.obstacle or check_snapshot_size(found.size, size))

    def take(self, snapshot_id: str, volume_id: str, name: str) -> None:
        self._rename(name, f'{_SNAPSHOT}{snapshot_id}', lambda: self.find(volume_id, name))


def _is_entry(name: str) -> bool:
    """Tell whether a text is the name of an entry, never a path."""
    return (
        name.isprintable()  # what is no UTF-8 no request can name, and a line of a log is to stay one
        and 0 < len(name.encode()) <= 255
        and '/' not in name
        and '\0' not in name
        and not name.startswith('.')
    )


def _may_be_volume(name: str) -> bool:
    """Tell whether a text is the name of an entry that the service did not make for a while."""
    return _is_entry(name) and not is_passing(name)


def _may_be_snapshot(name: str) -> bool:
    return _is_entry(name) and name.startswith(_SNAPSHOT)


def _find_user(path: pathlib.Path) -> str:
    """Say that somebody has a file open, as far as the file system can tell; empty if nobody has."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as exc:
        return 'it is in use' if exc.errno in _IN_USE else f'it cannot be opened: {exc.strerror}'
    try:
        # A lease for writing is granted to who alone has it open. Who opens the file meanwhile waits, and this process
        # is told by a signal: by one that does nothing unless somebody asks for it, as SIGIO would end the process.
        fcntl.fcntl(handle, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as exc:
        if exc.errno == errno.EAGAIN:
            return 'it is in use: a process has it open'
    finally:
        os.close(handle)
    return ''
