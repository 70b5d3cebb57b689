# SPDX-License-Identifier: Apache-2.0
"""Which targets tgtd has, whatever initiators say in its list.

Every target is in the list under a heading, and between the headings initiators may have written
more of them (:mod:`multiattach.drivers.targets.tgt.parse`). What tells them apart:

- a number that tgtd does not know is nobody's heading; it is asked once for each new number,
- a number that stands in the list once is that target's: the real heading is always there,
- of several with one number it is the one whose name was known before.

What is left, a copy of a heading down to its name, or a number claimed twice before any was known,
cannot be told apart. The sessions that may have written it are named, to be ended.
"""

import threading
from collections.abc import Callable, Sequence

from oslo_log import log

from multiattach.drivers.targets.tgt.parse import Head, find_heads

LOG = log.getLogger(__name__)


class Roster:
    """The targets that are known of one tgtd process. Safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pid = 0
        self._names: dict[int, str] = {}
        self._told: set[tuple[int, str]] = set()

    def put(self, pid: int, tid: int, iqn: str | None) -> None:
        """Remember that a target was made, or (*iqn* is None) deleted."""
        with self._lock:
            self._turn_to(pid)
            if iqn is None:
                self._names.pop(tid, None)
            else:
                self._names[tid] = iqn

    def resolve(self, text: str, pid: int, exists: Callable[[int], bool]) -> tuple[list[Head], set[int]]:
        """Tell which headings of a list are tgtd's own.

        :param exists: asks tgtd whether it has a target of a number.
        :returns: the headings; and numbers of targets with sessions that have to be ended before it can be
            told, empty if it can.
        """
        heads = find_heads(text)
        with self._lock:
            self._turn_to(pid)
            names = dict(self._names)
        claims: dict[int, list[Head]] = {}
        for head in heads:
            claims.setdefault(head.tid, []).append(head)
        real, doubted = set(), set()
        for tid, its in claims.items():
            # Something else under a number that was known before: whether it is still there is asked.
            named = [head for head in its if head.iqn == names.get(tid)]
            if not named and not exists(tid):
                continue
            choice = named or its
            if len(choice) == 1:
                real.add(choice[0])
            else:
                doubted.add(tid)
        self._tell(heads, real, doubted)
        if doubted:
            return [], _find_writers(heads, real, doubted)
        found = [head for head in heads if head in real]
        with self._lock:
            self._turn_to(pid)
            # A number that was not in this list may have been taken after it was read.
            self._names |= {head.tid: head.iqn for head in found}
        return found, set()

    def _turn_to(self, pid: int) -> None:
        if pid != self._pid:
            self._pid = pid
            self._names.clear()
            self._told.clear()

    def _tell(self, heads: Sequence[Head], real: set[Head], doubted: set[int]) -> None:
        """Warn once of each heading that an initiator wrote."""
        before: Head | None = None
        for head in heads:
            if head in real:
                before = head
            elif head.tid not in doubted and (head.tid, head.iqn) not in self._told:
                if len(self._told) < 1000:
                    self._told.add((head.tid, head.iqn))
                LOG.warning(
                    'An initiator that is logged in at target %s has an alias that imitates a target of '
                    'number %s: look who it is (tgtadm --op show --mode conn), and fence it',
                    before.iqn if before else '?',
                    head.tid,
                )


def _find_writers(heads: Sequence[Head], real: set[Head], doubted: set[int]) -> set[int]:
    """Find the targets whose sessions can have written headings of these numbers."""
    found = set(doubted)
    before: int | None = None  # the last one that surely is a target's own
    for head in heads:
        if head in real:
            before = head.tid
        elif head.tid in doubted and before is not None:
            found.add(before)
    return found
