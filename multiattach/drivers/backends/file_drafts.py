# SPDX-License-Identifier: Apache-2.0
"""Files that are copies: each has another name until it is complete."""

import contextlib
import os
import pathlib
import secrets

from multiattach.drivers.backends.copying import Proceed, copy_file
from multiattach.drivers.errors import ClearAborted, CopyAborted


class Drafts:
    """Copies within one directory."""

    def __init__(self, directory: pathlib.Path) -> None:
        self._directory = directory

    def name(self, ident: str) -> pathlib.Path:
        """Return the name that a copy has while it is made."""
        return self._directory / f'draft-{ident}'

    def make(
        self,
        ident: str,
        source: pathlib.Path,
        target: pathlib.Path,
        size: int | None,
        proceed: Proceed,
        *,
        of_one_moment: bool = False,
    ) -> None:
        """Copy a file, and give the copy its name when it is complete; it may replace another one.

        :param ident: UUID of what is made.
        :param size: bytes that it has in the end; None for those of the source.
        :param of_one_moment: refuse if somebody writes to the source meanwhile.
        :raises CopyAborted: *proceed* said no, or somebody else is at it.
        """
        draft = self.name(ident)
        draft.unlink(missing_ok=True)
        with source.open('rb') as reader:
            # A file of its own: whoever made an earlier draft, and still writes, does not write here.
            try:
                handle = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            except FileExistsError as exc:
                raise CopyAborted from exc
            try:
                wanted = os.fstat(reader.fileno()).st_size if size is None else size
                copy_file(reader.fileno(), handle, wanted, proceed, of_one_moment=of_one_moment)
                if not _is_at(draft, handle):  # another worker took over
                    raise CopyAborted
            except BaseException:
                if _is_at(draft, handle):  # it may fill the file system
                    draft.unlink()
                raise
            finally:
                os.close(handle)
        draft.rename(target)
        self.sync()

    def discard(self, ident: str, *paths: pathlib.Path) -> None:
        """Make files trash of *ident*; absent ones are none."""
        for path in (*paths, self.name(ident)):
            # To replace other trash would remove it, which takes long.
            with contextlib.suppress(FileNotFoundError):
                path.rename(self._directory / f'trash-{ident}.{secrets.token_hex(4)}')
        self.sync()

    def clear(self, ident: str, proceed: Proceed) -> None:
        """Remove the trash of *ident*.

        :raises ClearAborted: *proceed* said no.
        """
        for path in self._directory.glob(f'trash-{ident}.*'):
            if not proceed():
                raise ClearAborted('the worker stops')
            path.unlink(missing_ok=True)

    def sync(self) -> None:
        """Have names outlive a loss of power."""
        handle = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _is_at(path: pathlib.Path, handle: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False
