# SPDX-License-Identifier: Apache-2.0
"""An older copy of the database is told by a file beside the targets: how far the database had come.

The database is counted first, and what it had counted the time before goes to the file: a commit that a crash
or a fail-over lost leaves no file that is ahead. A file that is missing or cannot be read tells nothing.
"""

import json
import pathlib
import threading

from oslo_log import log

from multiattach.domain.epoch import Doubt, Mark
from multiattach.steps.epochs import Epochs

LOG = log.getLogger(__name__)
_LONGEST = 4096  # bytes of a file that are read
_PATIENCE = 3.0  # s


class EpochFile:
    """The file of one backend on one machine; several workers may have it."""

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path
        self._trouble: dict[str, str] = {}

    def read(self) -> Mark | None:
        """Read the mark, None if there is none that can be read."""
        try:
            with self._path.open('rb') as file:
                found = json.loads(file.read(_LONGEST))
            self._trouble.pop('read', None)
            mark = Mark(str(found['lineage']), int(found['counter']))
            return mark if len(mark.lineage) <= 36 and 0 <= mark.counter < 2**62 else None
        except FileNotFoundError:
            return None
        except (OSError, ValueError, LookupError, TypeError) as exc:
            self._complain('read', exc)
            return None

    def write(self, mark: Mark) -> None:
        """Write the mark; if that cannot be done, the log says so."""
        new = self._path.with_suffix('.new')
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            new.write_text(json.dumps({'lineage': mark.lineage, 'counter': mark.counter}))
            new.replace(self._path)
            self._trouble.pop('written', None)
        except OSError as exc:
            self._complain('written', exc)

    def _complain(self, what: str, exc: Exception) -> None:
        if self._trouble.get(what) != str(exc):
            LOG.error(
                '%s cannot be %s, so that an older copy of the database may not be noticed: %s', self._path, what, exc
            )
        self._trouble[what] = str(exc)


class Epoch:
    """Compares the database with the file, and goes on counting."""

    def __init__(self, side: Epochs, backend: str, path: pathlib.Path) -> None:
        self._side = side
        self._backend = backend
        self._file = EpochFile(path)
        self._lock = threading.Lock()
        self._known: Mark | None = None
        self._checked = False
        self._told: Doubt | None = None
        self.is_sure = False

    def check(self) -> Doubt | None:
        """Compare, and count one further; return what is in doubt."""
        with self._lock:
            return self._check()

    def _check(self) -> Doubt | None:
        seen = self._file.read()
        # Of what this process has seen itself it needs no file to be sure.
        if self._known is not None and (
            seen is None or (seen.lineage == self._known.lineage and seen.counter < self._known.counter)
        ):
            seen = self._known
        before, doubt = self._side.count(self._backend, seen)
        if not self._checked:
            # A database that was new just now remembers nothing that could mislead.
            self.is_sure = seen is not None or before.counter == 1
            self._checked = True
        if doubt is not None:
            self._tell(doubt)
            return doubt
        if self._told is not None:
            LOG.warning('The database was accepted as that of the targets of %s, or put back', self._backend)
            self._told = None
        self._known = before
        if seen != before:
            self._file.write(before)
        return None

    def close(self) -> None:
        """Bring the file up to date at an orderly end, so that a copy of a moment ago is an older one.

        A database that is away, or hangs, holds up no end.
        """
        last = threading.Thread(target=self._count_twice, name='epoch', daemon=True)
        last.start()
        last.join(_PATIENCE)

    def _count_twice(self) -> None:
        try:
            with self._lock:
                if self._checked and self._check() is None:
                    self._check()
        except Exception as exc:
            LOG.warning('The last count of %s was not made: %s', self._backend, type(exc).__name__)

    def _tell(self, doubt: Doubt) -> None:
        if self._told is None or (doubt.since, doubt.seen) != (self._told.since, self._told.seen):
            LOG.error('%s', doubt.tell())
        self._told = doubt
