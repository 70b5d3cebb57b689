# SPDX-License-Identifier: Apache-2.0
"""Moves of many attachments in one transaction."""

import contextlib
from collections.abc import Callable, Iterable
from typing import Any

from multiattach.db import locks, transitions
from multiattach.db.commits import Work
from multiattach.domain import errors


def move_each(
    work: Work,
    rows: Iterable[locks.LockedAttachment],
    event: str,
    actor: transitions.Actor,
    values: Callable[[str], dict[str, Any]] = lambda _ident: {},
    *,
    ended: bool = False,
    lenient: bool = False,
) -> None:
    """Move attachments, and write the status of each of their volumes once.

    :param rows: as they were read under the locks of their volumes.
    :param values: returns what :func:`multiattach.db.transitions.move` is told of an attachment.
    :param lenient: those that went elsewhere meanwhile stay as they are.
    :raises InvalidTransition: one is in no state for that.
    """
    skipped: tuple[type[Exception], ...] = (errors.InvalidTransition,) if lenient else ()
    by_volume: dict[str, list[locks.LockedAttachment]] = {}
    for row in rows:
        by_volume.setdefault(row.volume_id, []).append(row)
    for volume_id, some in by_volume.items():
        if len(some) == 1:
            with contextlib.suppress(*skipped):
                transitions.move(work, some[0], event, actor, ended=ended, **values(some[0].id))
            continue
        for row in some:
            with contextlib.suppress(*skipped):
                transitions.move_attachment(work, row.id, event, actor, row=row, **values(row.id))
        # The marks that os-begin_detaching left go with one attachment each.
        for left in [row.id for row in some] if ended and some[0].volume.claim else [None]:
            transitions.derive_volume(work, volume_id, left=left)
