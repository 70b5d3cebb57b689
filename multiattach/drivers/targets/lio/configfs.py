# SPDX-License-Identifier: Apache-2.0
"""The kernel's target as a tree of folders: each change is one system call, and waited for no longer than it may take.

Some of them wait in the kernel for what initiators have begun, without a limit of their own; one that hangs keeps its
thread, and a folder, until the kernel lets it go. So do files on a disk that does not answer.
"""

import contextlib
import errno
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from oslo_log import log

from multiattach import concurrency
from multiattach.drivers.errors import DriverError, TargetBusy, TargetError, TargetUnavailable

LOG = log.getLogger(__name__)

threading: Any = concurrency.native('threading')
R = TypeVar('R')

ROOT = Path('/sys/kernel/config/target')
DEFAULT_TIMEOUT = 30.0
_MOST_OVERDUE = 16
_PATIENCE = 1.0  # s that the kernel may wait until something is done about it
_BUSY = (errno.EBUSY, errno.ENOTEMPTY)


class _Call:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.ended = threading.Event()
        self.result: Any = None
        self.error: BaseException | None = None


class Configfs:
    """Safe for several threads, as long as each folder is with one of them.

    :param root: where the kernel shows its target.
    :param timeout: how long one change may take, seconds.
    """

    def __init__(self, root: Path = ROOT, timeout: float = DEFAULT_TIMEOUT) -> None:
        self.root = root
        self._timeout = timeout
        self._limits = threading.local()
        self._lock = threading.Lock()
        self._running: set[_Call] = set()
        self._overdue: set[_Call] = set()

    @contextlib.contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Wait no longer than that for all that this thread changes while the block lasts."""
        before = getattr(self._limits, 'until', None)
        self._limits.until = min(time.monotonic() + seconds, before or float('inf'))
        try:
            yield
        finally:
            self._limits.until = before

    def find_deadline(self) -> float:
        """Tell until when, on the monotonic clock, this thread waits for something that it begins now."""
        until = getattr(self._limits, 'until', None)
        return min(time.monotonic() + self._timeout, until or float('inf'))

    def is_stuck(self, folder: Path) -> bool:
        """Tell whether an earlier change beneath a folder has not come back: to read there may hang, too."""
        with self._lock:
            return _touches(self._overdue, folder)

    def is_changing(self, folder: Path) -> bool:
        """Tell whether something beneath a folder is being changed just now: to read there waits for that."""
        with self._lock:
            return _touches(self._running, folder)

    # Changing ---------------------------------------------------------------------------

    def make(self, folder: Path) -> bool:
        """Make a folder; tell whether it was not there."""
        try:
            with self._refusing('make', folder):
                self._run('make', folder, lambda: os.mkdir(folder))
        except FileExistsError:
            return False
        return True

    def remove(self, folder: Path, hurry: Callable[[], None] | None = None) -> None:
        """Remove a folder; absent is success.

        :param hurry: called again and again as long as the kernel waits; it does something about that.
        """
        with contextlib.suppress(FileNotFoundError):
            self._run('remove', folder, lambda: os.rmdir(folder), hurry)

    def link(self, path: Path, folder: Path) -> None:
        with contextlib.suppress(FileExistsError), self._refusing('link', path):
            self._run('link', path, lambda: os.symlink(folder, path))

    def unlink(self, path: Path) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._run('unlink', path, lambda: os.unlink(path))

    def write(self, path: Path, text: str) -> None:
        """Set an attribute; its value stands in no message."""
        with self._refusing('set', path):
            self._run('set', path, lambda: _write(path, text))

    def settle(self, path: Path, text: str) -> None:
        """Set an attribute if it has another value."""
        if self.read(path) != text:
            self.write(path, text)

    @contextlib.contextmanager
    def _refusing(self, verb: str, path: Path) -> Iterator[None]:
        """Take it for a refusal if the folder is not there, or the kernel knows no such attribute."""
        try:
            yield
        except FileNotFoundError as exc:
            raise TargetError(f'{self.tell(verb, path)}: {exc.strerror}') from exc

    def _run(self, verb: str, path: Path, act: Callable[[], R], hurry: Callable[[], None] | None = None) -> R:
        """Do one thing in a thread of its own.

        :raises FileExistsError: it is there; and FileNotFoundError, it is not.
        :raises TargetError: the kernel refused.
        :raises TargetUnavailable: the kernel has not ended it in time, and may go on.
        """
        try:
            return self._wait(verb, path, act, hurry)
        except OSError as exc:
            raise self._translate(verb, path, exc) from None

    def keep(self, verb: str, path: Path, act: Callable[[Callable[[], bool]], R]) -> R:
        """Do something with files, of which no more is begun in the same folder as long as it has not come back.

        :param act: is told how to ask whether nobody waits for it any more: others may be at it then.
        :raises OSError: as it raises it.
        :raises TargetUnavailable: the disk has not ended it in time, and may go on.
        """
        late = threading.Event()
        try:
            return self._wait(verb, path, lambda: act(late.is_set))
        except TargetUnavailable:
            late.set()
            raise

    def _wait(self, verb: str, path: Path, act: Callable[[], R], hurry: Callable[[], None] | None = None) -> R:
        limit = self._find_limit(verb, path)
        mine = _Call(path)
        with self._lock:
            self._running = {call for call in self._running if not call.ended.is_set()} | {mine}
        threading.Thread(target=_work, args=(mine, act), name=f'lio: {verb}', daemon=True).start()
        ends = time.monotonic() + limit
        while not concurrency.wait(mine.ended, min(limit, _PATIENCE) if hurry is not None else limit):
            if time.monotonic() >= ends:
                self._abandon(mine, verb, limit)
                break
            if hurry is not None:
                self._hurry(verb, path, hurry)
        if mine.error is not None:
            raise mine.error
        return mine.result  # type: ignore[no-any-return]

    def _hurry(self, verb: str, path: Path, hurry: Callable[[], None]) -> None:
        """Do something about what the kernel waits for; if that fails, its limit ends the wait as ever."""
        try:
            hurry()
        except (DriverError, OSError) as exc:
            LOG.warning('%s, and nothing can be done about it: %s', self.tell(verb, path), exc)

    def _find_limit(self, verb: str, path: Path) -> float:
        with self._lock:
            self._overdue = {call for call in self._overdue if not call.ended.is_set()}
            overdue = len(self._overdue)
            # The kernel keeps the folder locked in which something is made or removed.
            is_locked = any(path.is_relative_to(call.path.parent) for call in self._overdue)
        if overdue >= _MOST_OVERDUE or is_locked:
            raise TargetUnavailable(
                f'{self.tell(verb, path)}: {overdue} earlier changes have not come back from the kernel',
                delivered=False,
            )
        until = getattr(self._limits, 'until', None)
        return self._timeout if until is None else max(min(self._timeout, until - time.monotonic()), 0.001)

    def _abandon(self, mine: _Call, verb: str, limit: float) -> None:
        """Give up waiting; one that has ended just now is none the worse for it."""
        with self._lock:
            if mine.ended.is_set():
                return
            self._overdue.add(mine)
        raise TargetUnavailable(f'{self.tell(verb, mine.path)}: the kernel has not ended it in {limit:.3g} s')

    def _translate(self, verb: str, path: Path, exc: OSError) -> Exception:
        if isinstance(exc, FileExistsError | FileNotFoundError):
            return exc
        kind = TargetBusy if exc.errno in _BUSY else TargetError
        return kind(f'{self.tell(verb, path)}: {exc.strerror}')

    def tell(self, verb: str, path: Path) -> str:
        shown = path.relative_to(self.root) if path.is_relative_to(self.root) else path
        return f'the kernel cannot {verb} {shown}'

    # Reading ----------------------------------------------------------------------------

    def read(self, path: Path) -> str:
        """Read an attribute, without the end of its line; "" if it is not there."""
        try:
            with open(path, encoding='utf-8', errors='replace') as file:
                return file.read().rstrip('\n\0')
        except (FileNotFoundError, NotADirectoryError):
            return ''
        except OSError as exc:
            raise TargetError(f'{self.tell("read", path)}: {exc.strerror}') from exc

    def look(self, folder: Path, act: Callable[[], R]) -> R:
        """Read something beneath a folder that others may be changing: the kernel may keep readers waiting, too."""
        with self._refusing('read', folder):
            return self._run('read', folder / '*', act)

    def list_names(self, folder: Path) -> list[str]:
        """List a folder; one that is not there is empty."""
        try:
            return sorted(os.listdir(folder))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as exc:
            raise TargetError(f'{self.tell("list", folder)}: {exc.strerror}') from exc

    def list_links(self, folder: Path) -> list[Path]:
        return [folder / name for name in self.list_names(folder) if (folder / name).is_symlink()]


def _touches(calls: Iterable[_Call], folder: Path) -> bool:
    return any(call.path.is_relative_to(folder) for call in calls if not call.ended.is_set())


def _work(mine: _Call, act: Callable[[], Any]) -> None:
    try:
        mine.result = act()
    except BaseException as exc:  # it is the caller's
        mine.error = exc
    finally:
        mine.ended.set()


def _write(path: Path, text: str) -> None:
    # At once: the kernel takes each write as a whole value.
    handle = os.open(path, os.O_WRONLY)
    try:
        os.write(handle, text.encode())
    finally:
        os.close(handle)
