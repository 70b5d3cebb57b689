# SPDX-License-Identifier: Apache-2.0
"""What tgtd has, read again and again: only what has changed since the last time is parsed."""

import os
import re
from pathlib import Path

from oslo_log import log

from multiattach.drivers.errors import TargetError
from multiattach.drivers.targets.base import LunState, SessionState, TargetState
from multiattach.drivers.targets.tgt.daemon import TgtDaemon
from multiattach.drivers.targets.tgt.parse import Listing, Nexus, ShownTarget, tells_of
from multiattach.drivers.targets.tgt.protocol import ErrorCode, TgtError

LOG = log.getLogger(__name__)

_FILE = re.compile(r'volume-([0-9a-f-]{36})')


class ExportReader:
    """Reads the targets of one driver. Safe for several threads.

    :param volumes_dir: where the files for ``tgt-admin -e`` are, None for no files.
    """

    def __init__(self, daemon: TgtDaemon, iqn_prefix: str, volumes_dir: Path | None) -> None:
        self._daemon = daemon
        self._volumes_dir = volumes_dir
        self._pattern = re.compile(re.escape(f'{iqn_prefix}volume-') + r'([0-9a-f-]{36})')
        # What was read last, by target name: the text, and what it says.
        self._known: dict[str, tuple[str, TargetState]] = {}

    def list_exports(self) -> dict[str, TargetState]:
        listing = self._daemon.show_targets()
        known, kept, read = self._known, {}, {}
        for iqn, text in listing.texts().items():
            match = self._pattern.fullmatch(iqn)
            if match is None:
                continue
            before = known.get(iqn)
            if before is not None and before[0] == text:
                kept[iqn] = before
                read[match[1]] = before[1]
                continue
            try:
                found = self._read(listing, iqn, match[1])
            except TargetError as error:  # the others are none the worse for it
                LOG.error('Target %s cannot be read: %s', iqn, error)
                continue
            if found is None:
                continue
            state, is_plain = found
            read[match[1]] = state
            if is_plain:  # else the same text may mean something else the next time
                kept[iqn] = text, state
        self._known = kept
        return read

    def _read(self, listing: Listing, iqn: str, volume_id: str) -> tuple[TargetState, bool] | None:
        """Read one target; the text of its sessions only tells whether there are any."""
        target, text = listing.find(iqn), listing.find_sessions(iqn)
        assert target is not None
        nexuses: list[Nexus] = []
        if text:
            try:
                nexuses = self._daemon.show_connections(target.tid)
            except TgtError as exc:
                if exc.code is ErrorCode.NO_TARGET:
                    return None
                raise
        return _state(volume_id, target, nexuses), tells_of(text, nexuses)

    def list_files(self) -> frozenset[str] | None:
        if self._volumes_dir is None:
            return None
        try:
            names = os.listdir(self._volumes_dir)
        except FileNotFoundError:
            names = []
        return frozenset(match[1] for name in names if (match := _FILE.fullmatch(name)))


def _state(volume_id: str, target: ShownTarget, nexuses: list[Nexus]) -> TargetState:
    return TargetState(
        volume_id=volume_id,
        iqn=target.iqn,
        tid=target.tid,
        luns=tuple(
            LunState(lun.number, lun.path, lun.online, lun.scsi_id) for lun in target.luns.values() if lun.number
        ),
        initiators=tuple(target.initiators),
        accounts=tuple(target.accounts),
        sessions=tuple(
            SessionState(nexus.initiator, next((c.address for c in nexus.connections), '')) for nexus in nexuses
        ),
        is_open=target.is_open,
        addresses=tuple(target.strangers),
    )
